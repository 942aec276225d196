"""Loads the Lua scripts: resolves `--- @include "folder/name"`, each once and before its user, and makes from the same
files two forms of each script: a text for EVALSHA, and a function of a library for FCALL.

Both are named by their content, so replicas of two versions can run side by side. A store defines the functions of a
text anew at each call, those of a library once. Scripts with the same `--- @library "name"` share one library, and with
it what `lua/include/store/kept.lua` keeps between calls. `--- @flag "name"` declares a flag of the function.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import msgspec

LUA = Path(__file__).resolve().parent.parent / "lua"
LIBRARY_PREFIX = "pllm_"  # of the name of each library
COUNTER = "_calls"  # the suffix of the function that returns how often a library was used since it was loaded
_REMEMBERED = "store/remembered"  # the include that a library replaces
_REMEMBERED_BY_ALL = "local remembered, outlives = remembered_by_all, true\n"
# The body is a function of its own, because a function has at most 200 local variables and the includes need most.
_TEXT = "{}local function run(KEYS, ARGV)\n{}end\nreturn run(KEYS, ARGV)\n"
_DIRECTIVE = re.compile(r'^--- @(include|library|flag) "([a-z_/-]+)"\s*$')
_FUNCTION = re.compile(r"^local function (\w+)\((?:[^\n]* end|.*?\nend)\n", re.MULTILINE | re.DOTALL)


class IncludeError(Exception):
    """An include is missing or includes itself; the message names the chain of files."""


class Library(msgspec.Struct, frozen=True):
    """The text of FUNCTION LOAD."""

    name: str
    text: str


class Script(msgspec.Struct, frozen=True):
    """One script in both forms. ``sha``: of its text, for EVALSHA; ``function``: its name in ``library``, for FCALL."""

    name: str
    text: str
    sha: str
    function: str
    library: Library


class Source(msgspec.Struct, frozen=True):
    """A script as its files have it. ``includes``: texts by name, each after those that it includes; ``library``: the
    name that scripts of one library share.
    """

    name: str
    body: str
    includes: Mapping[str, str] = {}
    library: str = ""
    flags: tuple[str, ...] = ()


def read_source(name: str, folder: Path = LUA, replaced: Mapping[str, str] | None = None) -> Source:
    """Reads a script and its includes. ``replaced`` gives other texts for includes (tests replace `store/clock`).

    Raises IncludeError.
    """
    texts: dict[str, str] = {}
    own: dict[str, list[str]] = {"library": [], "flag": []}

    def add(name: str, path: Path, chain: tuple[str, ...]) -> str:
        if name in chain:
            raise IncludeError(f"include cycle: {' > '.join((*chain, name))}")
        lines = _read(name, path, chain, replaced or {}).splitlines()
        for found in filter(None, map(_DIRECTIVE.match, lines)):
            if found[1] != "include":
                own[found[1]].append(found[2])
            elif found[2] not in texts:
                text = add(found[2], folder / "include" / f"{found[2]}.lua", (*chain, name))
                texts[found[2]] = text
        return "".join(f"{line}\n" for line in lines if not _DIRECTIVE.match(line))

    body = add(name, folder / f"{name}.lua", ())
    return Source(name, body, texts, "".join(own["library"]), tuple(own["flag"]))


def bundle(sources: Iterable[Source]) -> dict[str, Script]:
    """Makes the scripts and their libraries, by the names of the scripts. Each has those functions of its includes that
    it uses.
    """
    shared: dict[str, list[Source]] = {}
    for source in sources:
        shared.setdefault(source.library or source.name, []).append(source)
    scripts = {}
    for members in shared.values():
        library = _library(members)
        for source in members:
            text = _TEXT.format(*_used(source.includes.values(), source.body))
            sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            scripts[source.name] = Script(source.name, text, sha, f"{library.name}_{source.name}", library)
    return scripts


def _library(members: list[Source]) -> Library:
    """Defines the functions of a script at its first call: while a library loads, a store offers no global but
    `redis.register_function`.
    """
    parts = ["local remembered_by_all, calls = {}, 0\n"]
    for source in members:
        includes = (_REMEMBERED_BY_ALL if name == _REMEMBERED else text for name, text in source.includes.items())
        text, body = _used(includes, source.body)
        flags = ", ".join(f"'{flag}'" for flag in source.flags)
        parts += [
            f"local {source.name}_script\nlocal function {source.name}_define()\n{text}",
            f"return function(KEYS, ARGV)\n{body}end\nend\n",
            f"redis.register_function({{ function_name = 'LIBRARY_{source.name}', flags = {{ {flags} }},\n",
            "callback = function(keys, arguments)\ncalls = calls + 1\n",
            f"if not {source.name}_script then {source.name}_script = {source.name}_define() end\n",
            f"return {source.name}_script(keys, arguments)\nend }})\n",
        ]
    parts.append(f"redis.register_function({{ function_name = 'LIBRARY{COUNTER}', flags = {{ 'no-writes' }},\n")
    # With an argument a replica of this version calls: that counts as a use.
    parts.append("callback = function(keys, arguments)\ncalls = calls + #arguments\nreturn { calls }\nend })\n")
    code = "".join(parts)
    name = LIBRARY_PREFIX + hashlib.sha1(code.encode(), usedforsecurity=False).hexdigest()
    return Library(name, f"#!lua name={name}\n" + code.replace("'LIBRARY", f"'{name}"))


def _used(includes: Iterable[str], body: str) -> tuple[str, str]:
    """Returns includes and body without the functions that no other code of them reaches."""
    before = "".join(includes)
    text = before + body
    functions = {found[1]: found[0] for found in _FUNCTION.finditer(text)}
    reached: set[str] = set()
    pieces = [_FUNCTION.sub("", text)]
    while pieces:
        new = (_words(pieces.pop()) & functions.keys()) - reached
        reached |= new
        pieces += (functions[name] for name in new)

    def kept(part: str) -> str:
        return _FUNCTION.sub(lambda found: found[0] if found[1] in reached else "", part)

    return kept(before), kept(body)


@cache
def _words(text: str) -> frozenset[str]:
    """Returns the names in a piece of code without its comments. Cached, because many scripts share their pieces."""
    return frozenset(re.findall(r"\w+", re.sub(r"--.*", "", text)))


def _read(name: str, path: Path, chain: tuple[str, ...], replaced: Mapping[str, str]) -> str:
    if chain and name in replaced:
        return replaced[name]
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise IncludeError(f"no file {path.name} (included by {' > '.join(chain) or 'no other'})") from error


def names(folder: Path = LUA) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.lua")))


def assemble(name: str, folder: Path = LUA, replaced: Mapping[str, str] | None = None) -> Script:
    """Returns one script, alone in its library. Raises IncludeError."""
    return bundle([read_source(name, folder, replaced)])[name]


def assemble_all(folder: Path = LUA, replaced: Mapping[str, str] | None = None) -> dict[str, Script]:
    """Returns all scripts by name. Raises IncludeError."""
    return bundle(read_source(name, folder, replaced) for name in names(folder))


def libraries(scripts: Iterable[Script]) -> list[Library]:
    """Returns the libraries of these scripts, each once."""
    return list({script.library.name: script.library for script in scripts}.values())
