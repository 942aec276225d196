"""Reports the fate of each key of another gateway's configuration. It holds paths and our own text, never a value: that
may be a secret in the wrong place.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

import msgspec

from gateway.cli.tables import clean
from gateway.configuration.yaml_source import item_path, key_path

Verdict = Literal["taken over", "approximated", "not taken over", "added"]
UNKNOWN = "not a known key"
_PATH_WIDTH = 60


class Unusable(Exception):
    """A value that cannot be taken over; the message gives the reason, without the value."""


class Row(msgspec.Struct, frozen=True):
    """One line of the report."""

    path: str  # in their file; in ours for an added key
    verdict: Verdict
    text: str


class Report:
    """Collects rows by path. A later row replaces an earlier one. A path without a row gets the row of its holder."""

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
        """Reports a path as not taken over with all of its parts, whatever their own rows."""
        self._dropped[path] = Row(path, "not taken over", why)

    def added(self, path: str, text: str) -> None:
        self._added.append(Row(path, "added", text))

    def has(self, path: str) -> bool:
        return path in self._rows

    def rows(self, document: object, explain: Callable[[tuple[str, ...]], str]) -> list[Row]:
        """Returns a row for every key of the document with a value, in its order, then the added ones. ``explain``
        gives the reason for a key without a row, from the keys that lead to it.
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
    """Yields the path, then its holder, and so on."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def _leaves(value: object, path: str, keys: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields path and keys of each leaf. A list of plain values is one leaf."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _leaves(child, key_path(path, key), (*keys, str(key)))
    elif isinstance(value, list) and any(isinstance(child, dict | list) for child in value):
        for index, child in enumerate(value):
            yield from _leaves(child, item_path(path, index), keys)
    elif path:
        yield path, keys


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yields a line for each row, then the number of rows by verdict."""
    rows = list(rows)
    width = min(max((len(clean(row.path)) for row in rows), default=0), _PATH_WIDTH)
    for row in rows:
        yield f"{row.verdict:<14}  {clean(row.path):<{width}}  {clean(row.text)}"
    counts = Counter(row.verdict for row in rows)
    yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict))
