"""Metrics as text, rendered piece by piece.

Hundreds of deployments make tens of thousands of lines, and no other response may wait until all of them are written.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, cast

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as TEXT_TYPE
from prometheus_client.exposition import generate_latest as text
from prometheus_client.openmetrics.exposition import ALLOWUTF8, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPEN_METRICS_TYPE
from prometheus_client.registry import Collector

TEXT, OPEN_METRICS = TEXT_TYPE, OPEN_METRICS_TYPE
PIECE = 20  # deployments: with a histogram's 16 lines for each, one to two ms
_END = b"# EOF\n"
_open_metrics = cast(Callable[..., bytes], generate_latest)

_Item = TypeVar("_Item")


class _Piece(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def pieces(items: Iterable[_Item]) -> Iterator[Sequence[_Item]]:
    """Yields a copy of ``items``, a few at a time. An empty input gives one empty piece, because a metric without
    series still has its HELP and TYPE lines.
    """
    copied = list(items)
    for start in range(0, len(copied) or 1, PIECE):
        yield copied[start : start + PIECE]


def content_type(accept: str) -> str:
    """Returns OpenMetrics, the only format with exemplars, where the Accept header names it; else the older text."""
    return OPEN_METRICS if "application/openmetrics-text" in accept else TEXT


async def exposition(metrics: Iterable[Metric], kind: str) -> bytes:
    """Returns the text of all metrics. A metric with the name of the one before it continues that one. ``kind``:
    TEXT or OPEN_METRICS.
    """
    written, name = [], ""
    for metric in metrics:
        rendered = _rendered(metric, kind)
        written.append(rendered.split(b"\n", 2)[2] if metric.name == name else rendered)
        name = metric.name
        await asyncio.sleep(0)
    return b"".join(written) + (_END if kind == OPEN_METRICS else b"")


def _rendered(metric: Metric, kind: str) -> bytes:
    if kind == OPEN_METRICS:
        # Our names need no escaping, and the search for names that do costs as much as all the rest.
        return _open_metrics(_Piece(metric), escaping=ALLOWUTF8).removesuffix(_END)
    return text(_Piece(metric))
