"""Loads the Lua scripts: resolves `--- @include "folder/name"`, each once and before its user, and names each script by
its SHA-1.

Scripts are addressed by content (EVALSHA), so replicas of two versions can run side by side.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

LUA = Path(__file__).resolve().parent.parent / "lua"
_INCLUDE = re.compile(r'^--- @include "([a-z_/]+)"\s*$')
_FUNCTION = re.compile(r"^local function (\w+)\((?:[^\n]* end|.*?\nend)\n", re.MULTILINE | re.DOTALL)


class IncludeError(Exception):
    """An include is missing or includes itself; the message names the chain of files."""


class Script(msgspec.Struct, frozen=True):
    name: str
    text: str
    sha: str


def assemble(name: str, folder: Path = LUA, replaced: Mapping[str, str] | None = None) -> Script:
    """Returns one script with those functions of its includes that it uses, because a store defines every function anew
    at each call. ``replaced`` gives other texts for includes (tests replace `store/clock`).

    Raises IncludeError.
    """
    done: list[str] = []
    texts: list[str] = []

    def add(name: str, path: Path, chain: tuple[str, ...]) -> None:
        if name in chain:
            raise IncludeError(f"include cycle: {' > '.join((*chain, name))}")
        lines = _read(name, path, chain, replaced or {}).splitlines()
        for line in lines:
            found = _INCLUDE.match(line)
            if found and found[1] not in done:
                add(found[1], folder / "include" / f"{found[1]}.lua", (*chain, name))
        done.append(name)
        texts.append("\n".join(line for line in lines if not _INCLUDE.match(line)))

    add(name, folder / f"{name}.lua", ())
    text = _used("\n".join(texts) + "\n")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _used(text: str) -> str:
    """Drops every function that no other code of the script reaches."""
    functions = {found[1]: found[0] for found in _FUNCTION.finditer(text)}
    reached: set[str] = set()
    pieces = [_FUNCTION.sub("", text)]
    while pieces:
        new = (_words(pieces.pop()) & functions.keys()) - reached
        reached |= new
        pieces += (functions[name] for name in new)
    return _FUNCTION.sub(lambda found: found[0] if found[1] in reached else "", text)


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


def assemble_all(folder: Path = LUA, replaced: Mapping[str, str] | None = None) -> dict[str, Script]:
    return {name: assemble(name, folder, replaced) for name in names(folder)}
