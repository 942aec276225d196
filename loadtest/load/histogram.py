"""Durations counted in buckets, so that those of several processes can be added and no call takes memory of its own.

Each power of two has STEPS even buckets (log-linear, as in HDR histograms). A percentile is the middle of its bucket,
so its relative error is at most MOST_ERROR; the smallest and largest values are exact. Adding is exact: the sum of two
histograms equals the histogram of all values.
"""

import math
from collections.abc import Sequence

import msgspec

STEPS = 1024
MOST_ERROR = 1 / (2 * STEPS)


class Percentiles(msgspec.Struct, frozen=True):
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class Histogram(msgspec.Struct):
    """Milliseconds of many calls."""

    buckets: dict[int, int] = {}
    count: int = 0
    least_ms: float = math.inf
    most_ms: float = 0.0

    def add(self, value_ms: float | None) -> None:
        if value_ms is None:
            return
        bucket = _bucket(value_ms)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        if value_ms < self.least_ms:
            self.least_ms = value_ms
        if value_ms > self.most_ms:
            self.most_ms = value_ms

    def merge(self, other: "Histogram") -> None:
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.least_ms = min(self.least_ms, other.least_ms)
        self.most_ms = max(self.most_ms, other.most_ms)

    def percentiles(self) -> Percentiles | None:
        if not self.count:
            return None
        p50_ms, p90_ms, p99_ms, p999_ms = self._at((0.5, 0.9, 0.99, 0.999))
        return Percentiles(p50_ms, p90_ms, p99_ms, p999_ms, self.most_ms)

    def at(self, ratio: float) -> float:
        """Returns the percentile at ``ratio`` (0 to 1), 0 without values."""
        return self._at((ratio,))[0] if self.count else 0.0

    def _at(self, ratios: Sequence[float]) -> list[float]:
        """Returns the percentiles at `ratios`, which must be in rising order."""
        values: list[float] = []
        buckets, reached, middle = iter(sorted(self.buckets.items())), 0, 0.0
        for ratio in ratios:
            while reached < rank(self.count, ratio):
                bucket, count = next(buckets)
                reached, middle = reached + count, _middle(bucket)
            values.append(min(max(middle, self.least_ms), self.most_ms))
        return values


def _bucket(value_ms: float) -> int:
    """Returns the bucket of a value. The mantissa of a float is from a half up to one: that range has STEPS buckets."""
    mantissa, exponent = math.frexp(value_ms)
    return exponent * STEPS + int((mantissa - 0.5) * 2 * STEPS) if value_ms > 0 else -(2**31)


def _middle(bucket: int) -> float:
    exponent, step = divmod(bucket, STEPS)
    return 0.0 if bucket == -(2**31) else math.ldexp(0.5 + (step + 0.5) / (2 * STEPS), exponent)


def rank(count: int, ratio: float) -> int:
    """Returns the nearest rank: the rank of the smallest value that at least `ratio` of all values do not exceed."""
    # Rounded first: 0.07 * 100 is a little more than 7 and would give the eighth value.
    return max(math.ceil(round(ratio * count, 9)), 1)


def percentile(ordered: Sequence[float], ratio: float) -> float:
    """Returns the exact percentile of values in rising order."""
    return ordered[rank(len(ordered), ratio) - 1]
