"""Counts of durations by upper bound, as Prometheus has them. Plain numbers, because a request must not pay for being
counted: an increment and a bisection.
"""

from bisect import bisect_left


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
