"""Counts of durations by upper bound, as Prometheus has them. Plain numbers, because a request must not pay for being
counted: an increment and a bisection.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence


class Histogram:
    """``bounds`` in seconds, ascending; ``counts`` has one more, for what is above all of them."""

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds


def together(parts: Sequence[Mapping[str, Histogram]]) -> Mapping[str, Histogram]:
    """By name, what all of them have counted. Their names and bounds are the same."""
    first, *others = parts
    if not others:
        return first
    return {name: _added([each[name] for each in parts]) for name in first}


def _added(parts: Sequence[Histogram]) -> Histogram:
    whole = Histogram(parts[0].bounds)
    whole.counts = [sum(column) for column in zip(*(each.counts for each in parts), strict=True)]
    whole.total_s = sum(each.total_s for each in parts)
    return whole
