"""Reads YAML into plain values: refuses duplicate keys, replaces `${VAR}`, and reports every problem with its path.

Variables are replaced after parsing and in values only, so their text can fill a value but never add a key, a list item
or a comment.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import msgspec
import yaml
from yaml.constructor import SafeConstructor

# `${NAME}` or `${NAME:-default}`; any other `${` matches without a name and is refused.
_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")

# PyYAML quotes tags and aliases of the text in its messages, and an unquoted secret may look like one.
_QUOTED_TEXT = re.compile(r"""(['"])(?!<)\S{2,}?\1""")

# The configuration needs six levels; many more would exhaust the stack.
_DEEPEST = 32
_BYTES_MOST = 4 << 20  # four times the size of ten thousand deployments
_NODES_MOST = 100_000  # ten thousand deployments; a few lines of anchors can stand for billions

# Characters that libyaml and PyYAML's own parser read differently.
_READ_DIFFERENTLY = re.compile("[\t!?\x85\u2028\u2029\ufeff]|[|>][-+0-9]*#")

_MERGE_TAG = "tag:yaml.org,2002:merge"


class Problem(msgspec.Struct, frozen=True):
    """One mistake of a configuration."""

    path: str  # of the setting; empty for the whole text
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Source(msgspec.Struct, frozen=True):
    """A parsed text and its problems."""

    document: object  # of dicts, lists and scalars; None if the text is empty or could not be parsed
    problems: tuple[Problem, ...]


def key_path(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def item_path(path: str, index: int) -> str:
    return f"{path}[{index}]"


def text_of(path: Path) -> str | Problem:
    """Returns the text of a file, byte for byte."""
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MOST + 1)
        if len(data) > _BYTES_MOST:
            return Problem(str(path), f"is longer than {_BYTES_MOST >> 20} MiB")
        return data.decode("utf-8")
    except OSError as error:
        return Problem(str(path), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Problem(str(path), "is not UTF-8 text")


def read(text: str, environment: Mapping[str, str]) -> Source:
    """Reads one of our configurations."""
    problems: list[Problem] = []
    document = _parse(text, problems)
    return Source(_resolve(document, "", environment, problems), tuple(problems))


def plain(text: str) -> Source:
    """Reads the configuration of another program: its variables are not replaced."""
    problems: list[Problem] = []
    document = _parse(text, problems)
    return Source(document, tuple(problems))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: object) -> bool:
        return True


def written(document: object) -> str:
    """Returns YAML in ASCII, without anchors, with its keys in order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110)


def _parse(text: str, problems: list[Problem]) -> object:
    try:
        node = _root(text)
        if node is None:
            return None
        if _size(node, {}) > _NODES_MOST:
            problems.append(Problem("", f"more than {_NODES_MOST} values once its anchors are written out"))
            return None
        if not _is_tree(node, "", (), problems):
            return None
        return SafeConstructor().construct_document(node)
    except yaml.MarkedYAMLError as error:
        problems.append(Problem(_position(error), f"not valid YAML: {_complaint(error)}"))
    except RecursionError:
        problems.append(Problem("", "not valid YAML: nested too deeply"))
    # PyYAML's constructors raise any of these for a tag such as !!int on text that is not a number.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError):
        problems.append(Problem("", "not valid YAML: a character or a value that YAML does not allow"))
    return None


def _root(text: str) -> yaml.Node | None:
    """Parses with libyaml if PyYAML was built with it: much faster, so that a reload delays no request. It nests calls
    without a bound, so the depth is checked first. A text that it refuses is parsed again for PyYAML's message.
    """
    fast = getattr(yaml, "CSafeLoader", None)
    if fast is not None and not _READ_DIFFERENTLY.search(text):
        with contextlib.suppress(yaml.YAMLError):
            if _is_shallow(fast(text)):
                return cast(yaml.Node | None, fast(text).get_single_node())
    return yaml.SafeLoader(text).get_single_node()


def _is_shallow(loader: yaml.SafeLoader) -> bool:
    depth = 0
    while depth <= _DEEPEST and loader.check_event():
        event = loader.get_event()  # type: ignore[no-untyped-call]
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
    return depth == 0


def _position(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _complaint(error: yaml.MarkedYAMLError) -> str:
    """Returns PyYAML's message without the source line, which may hold a secret."""
    return _QUOTED_TEXT.sub("…", str(error.problem or error.context))


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Counts the values of the document as if every alias were written out."""
    if id(node) not in sizes:
        sizes[id(node)] = 1  # an anchor inside itself counts once here, and is refused afterwards
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [child for _, child in node.value]
        sizes[id(node)] = 1 + sum(_size(child, sizes) for child in children)
    return sizes[id(node)]


def _is_tree(node: yaml.Node, path: str, ancestors: tuple[int, ...], problems: list[Problem]) -> bool:
    """Returns False if an anchor contains itself. Also reports duplicate keys, which PyYAML accepts."""
    if id(node) in ancestors or len(ancestors) > _DEEPEST:
        problems.append(Problem(path, "nested too deeply, or an anchor that contains itself"))
        return False
    children: list[tuple[str, yaml.Node]] = []
    if isinstance(node, yaml.SequenceNode):
        children = [(item_path(path, index), child) for index, child in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        children = _pairs(node, path, problems)
    ancestors = (*ancestors, id(node))
    verdicts = [_is_tree(child, child_path, ancestors, problems) for child_path, child in children]
    return all(verdicts)


def _pairs(node: yaml.MappingNode, path: str, problems: list[Problem]) -> list[tuple[str, yaml.Node]]:
    """Returns the children with their paths; a merged mapping has the path of its holder and may be overridden."""
    lines: dict[str, int] = {}
    pairs = []
    for key, child in node.value:
        if key.tag == _MERGE_TAG:
            pairs.append((path, child))
            continue
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        child_path = key_path(path, name)
        line = key.start_mark.line + 1
        if name in lines:
            problems.append(Problem(child_path, f"given twice, on line {lines[name]} and on line {line}"))
        lines[name] = line
        pairs.append((child_path, child))
    return pairs


def _resolve(value: object, path: str, environment: Mapping[str, str], problems: list[Problem]) -> object:
    if isinstance(value, str):
        return _resolve_text(value, path, environment, problems)
    if isinstance(value, list):
        items = enumerate(value)
        return [_resolve(child, item_path(path, index), environment, problems) for index, child in items]
    if isinstance(value, dict):
        pairs = value.items()
        return {key: _resolve(child, key_path(path, key), environment, problems) for key, child in pairs}
    return value


def _resolve_text(text: str, path: str, environment: Mapping[str, str], problems: list[Problem]) -> str:
    """Replaces variables. As in a shell, `:-` also replaces a variable that is set but empty."""

    def replacement(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if name is None:
            problems.append(Problem(path, "${ must be part of ${VAR} or ${VAR:-default}"))
            return ""
        if default is not None:
            return environment.get(name) or default
        if name not in environment:
            problems.append(Problem(path, f"the environment variable {name} is not set"))
        return environment.get(name, "")

    return _VARIABLE.sub(replacement, text)
