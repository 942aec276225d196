"""What tenants used in a span of days: read from the shared store, added up by what the caller wants to see apart."""

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal

import msgspec

from shared_state.money import MICRO
from shared_state.snapshots import UsageRow
from shared_state.views import Views

Dimension = Literal["tenant", "model", "day"]
DIMENSIONS: tuple[Dimension, ...] = ("tenant", "model", "day")
DAYS_MOST = 400  # as many as the store keeps
DAYS_AT_ONCE = 8  # calls to the store that are under way together
ROWS_MOST = 100_000
_COUNTS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")


class TooManyRows(Exception):
    """The answer would be too large."""


class Total(msgspec.Struct, frozen=True):
    """The sum of some rows. ``cost``: in the currency of the prices."""

    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cost: float


class Report(msgspec.Struct, frozen=True):
    """The usage of a span of days. ``usage``: by the values of the dimensions in ``by``, sorted."""

    by: tuple[Dimension, ...]
    usage: dict[tuple[str, ...], Total]
    total: Total


async def report(views: Views, first: date, last: date, by: tuple[Dimension, ...]) -> Report:
    """Adds up the days from ``first`` to ``last``. Raises TooManyRows, StateError."""
    sums: dict[tuple[str, ...], UsageRow] = {}
    total = UsageRow()
    days = [str(first + timedelta(days=k)) for k in range((last - first).days + 1)]
    for k in range(0, len(days), DAYS_AT_ONCE):
        chunk = days[k : k + DAYS_AT_ONCE]
        for day, rows in zip(chunk, await asyncio.gather(*map(views.usage, chunk)), strict=True):
            for (tenant, model), row in rows.items():
                values = {"tenant": tenant, "model": model, "day": day}
                key = tuple(values[name] for name in by)
                if key not in sums and len(sums) >= ROWS_MOST:
                    raise TooManyRows
                _add(sums.setdefault(key, UsageRow()), row)
                _add(total, row)
            await asyncio.sleep(0)  # a day may have thousands of rows, and others wait
    return Report(by, {key: _total(sums[key]) for key in sorted(sums)}, _total(total))


def _add(total: UsageRow, row: UsageRow) -> None:
    for name in UsageRow.__struct_fields__:
        setattr(total, name, getattr(total, name) + getattr(row, name))


def _total(row: UsageRow) -> Total:
    return Total(row.requests, row.errors, row.input, row.output, row.cached, row.written, row.cost / MICRO)


def as_json(found: Report, first: date, last: date) -> bytes:
    rows = [dict(zip(found.by, key, strict=True)) | msgspec.structs.asdict(row) for key, row in found.usage.items()]
    fields = {"from": str(first), "to": str(last), "by": found.by, "usage": rows, "total": found.total}
    return msgspec.json.encode(fields)


def as_csv(found: Report) -> str:
    """Returns a head and a line for each row, without the total, so that the lines can be added up."""
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow((*found.by, *_COUNTS, "cost"))
    for key, row in found.usage.items():
        lines.writerow((*key, *_counts(row), f"{row.cost:.6f}"))
    return text.getvalue()


def _counts(row: Total) -> Sequence[int]:
    return [getattr(row, name) for name in _COUNTS]
