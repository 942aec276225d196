"""What became of each key of a foreign configuration. It holds paths and our own words, never a value of theirs: that
may be a secret in the wrong place.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

import msgspec

from gateway.cli.tables import clean
from gateway.configuration.yaml_source import item_path, key_path

Verdict = Literal["taken over", "approximated", "not taken over", "added"]
UNKNOWN = "no key that is known here"
_PATH_WIDTH = 60


class Unusable(Exception):
    """A value that cannot be taken over; the message says why, without the value."""


class Row(msgspec.Struct, frozen=True):
    """``path``: theirs, of something added ours."""

    path: str
    verdict: Verdict
    text: str


class Report:
    """The last word about a path counts. What nothing was said of gets the word of what holds it."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._dropped: dict[str, Row] = {}
        self._added: list[Row] = []

    def taken(self, path: str, text: str) -> None:
        self._rows[path] = Row(path, "taken over", text)

    def approximated(self, path: str, text: str) -> None:
        self._rows[path] = Row(path, "approximated", text)

    def ignored(self, path: str, why: str) -> None:
        self._rows[path] = Row(path, "not taken over", why)

    def ignored_with_all(self, path: str, why: str) -> None:
        """Also what was said of its parts no longer counts."""
        self._dropped[path] = Row(path, "not taken over", why)

    def added(self, path: str, text: str) -> None:
        self._added.append(Row(path, "added", text))

    def has(self, path: str) -> bool:
        return path in self._rows

    def rows(self, document: object, explain: Callable[[tuple[str, ...]], str]) -> list[Row]:
        """One for every key of the document that holds a value, in its order; then what was added. ``explain``: why
        nothing was said of it, by the keys that lead to it.
        """
        return [*(self._row(path, keys, explain) for path, keys in _leaves(document, "", ())), *self._added]

    def _row(self, path: str, keys: tuple[str, ...], explain: Callable[[tuple[str, ...]], str]) -> Row:
        holders = list(_holders(path))
        for rows in (self._dropped, self._rows):
            for holder in holders:
                if row := rows.get(holder):
                    return Row(path, row.verdict, row.text)
        return Row(path, "not taken over", explain(keys))


def _holders(path: str) -> Iterator[str]:
    """The path itself, then what holds it, and so on."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def _leaves(value: object, path: str, keys: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A list of plain values is one leaf."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _leaves(child, key_path(path, key), (*keys, str(key)))
    elif isinstance(value, list) and any(isinstance(child, dict | list) for child in value):
        for index, child in enumerate(value):
            yield from _leaves(child, item_path(path, index), keys)
    elif path:
        yield path, keys


def lines(rows: Iterable[Row]) -> Iterator[str]:
    rows = list(rows)
    width = min(max((len(clean(row.path)) for row in rows), default=0), _PATH_WIDTH)
    for row in rows:
        yield f"{row.verdict:<14}  {clean(row.path):<{width}}  {clean(row.text)}"
    counts = Counter(row.verdict for row in rows)
    yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict))
