"""Metrics as text, a piece at a time: hundreds of deployments make tens of thousands of lines, and no answer may wait
until all of them are written.
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
    """All of them as they are now, a few at a time; of nothing one empty piece, because a metric without series has
    its head all the same.
    """
    held = list(items)
    for start in range(0, len(held) or 1, PIECE):
        yield held[start : start + PIECE]


def content_type(accept: str) -> str:
    """OpenMetrics, which alone has exemplars, for who names it as Prometheus does; else the older text."""
    return OPEN_METRICS if "application/openmetrics-text" in accept else TEXT


async def exposition(metrics: Iterable[Metric], kind: str) -> bytes:
    """``metrics``: one that has the name of the one before continues it. ``kind``: a content type of the above."""
    written, name = [], ""
    for metric in metrics:
        told = _told(metric, kind)
        written.append(told.split(b"\n", 2)[2] if metric.name == name else told)
        name = metric.name
        await asyncio.sleep(0)
    return b"".join(written) + (_END if kind == OPEN_METRICS else b"")


def _told(metric: Metric, kind: str) -> bytes:
    if kind == OPEN_METRICS:
        # Our names need no escaping; to look for what does costs as much as all the rest.
        return _open_metrics(_Piece(metric), escaping=ALLOWUTF8).removesuffix(_END)
    return text(_Piece(metric))
