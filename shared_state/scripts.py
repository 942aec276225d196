"""Loads the Lua scripts: resolves `--- @include "name"`, each once and before its user, and names them by SHA-1.

Scripts are addressed by content (EVALSHA), so replicas of two versions can run side by side.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

LUA = Path(__file__).resolve().parent.parent / "lua"
_INCLUDE = re.compile(r'^--- @include "([a-z_]+)"\s*$')
_FUNCTION = re.compile(r"^local function (\w+)\((?:[^\n]* end|.*?\nend)\n", re.MULTILINE | re.DOTALL)


class IncludeError(Exception):
    """An include is missing or includes itself; the message names the chain of files."""


class Script(msgspec.Struct, frozen=True):
    name: str
    text: str
    sha: str


def assemble(name: str, folder: Path = LUA, replaced: Mapping[str, str] | None = None) -> Script:
    """One script with what it uses of its includes: a store defines every function anew at each call.
    ``replaced`` gives other texts for includes (tests replace the clock).

    Raises IncludeError.
    """
    done: list[str] = []
    texts: list[str] = []

    def add(path: Path, chain: tuple[str, ...]) -> None:
        if path.stem in chain:
            raise IncludeError(f"include cycle: {' > '.join((*chain, path.stem))}")
        lines = _read(path, chain, replaced or {}).splitlines()
        for line in lines:
            found = _INCLUDE.match(line)
            if found and found[1] not in done:
                add(folder / "include" / f"{found[1]}.lua", (*chain, path.stem))
        done.append(path.stem)
        texts.append("\n".join(line for line in lines if not _INCLUDE.match(line)))

    add(folder / f"{name}.lua", ())
    text = _used("\n".join(texts) + "\n")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _used(text: str) -> str:
    """Without the functions that nobody reaches from what is none."""
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
    """Of a piece that many scripts have; comments do not count."""
    return frozenset(re.findall(r"\w+", re.sub(r"--.*", "", text)))


def _read(path: Path, chain: tuple[str, ...], replaced: Mapping[str, str]) -> str:
    if chain and path.stem in replaced:
        return replaced[path.stem]
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise IncludeError(f"no file {path.name} (wanted by {' > '.join(chain) or 'nobody'})") from error


def names(folder: Path = LUA) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.lua")))


def assemble_all(folder: Path = LUA, replaced: Mapping[str, str] | None = None) -> dict[str, Script]:
    return {name: assemble(name, folder, replaced) for name in names(folder)}
