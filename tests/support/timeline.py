"""Events in virtual time."""

import heapq
import itertools
from collections.abc import Iterator
from typing import Any


class Timeline:
    """Yields its events in the order of their times in ms; those of one moment as they were added. Events may be added
    meanwhile.
    """

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Any]] = []
        self._numbers = itertools.count()

    def add(self, at_ms: float, event: Any) -> None:
        heapq.heappush(self._events, (at_ms, next(self._numbers), event))

    def __iter__(self) -> Iterator[tuple[float, Any]]:
        while self._events:
            at_ms, _, event = heapq.heappop(self._events)
            yield at_ms, event
