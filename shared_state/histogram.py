"""Counts durations by upper bound, as Prometheus does, in plain numbers, so that counting costs a request only an
increment and a bisection.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence


class Histogram:
    """A histogram. ``bounds``: in seconds, ascending; ``counts`` has one more entry, for values above all bounds."""

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds


def together(parts: Sequence[Mapping[str, Histogram]]) -> Mapping[str, Histogram]:
    """Adds up histograms by name. All of them have the same names and bounds."""
    first, *others = parts
    if not others:
        return first
    return {name: _added([each[name] for each in parts]) for name in first}


def _added(parts: Sequence[Histogram]) -> Histogram:
    whole = Histogram(parts[0].bounds)
    whole.counts = [sum(column) for column in zip(*(each.counts for each in parts), strict=True)]
    whole.total_s = sum(each.total_s for each in parts)
    return whole
