"""Collects what every call took and computes percentiles from it.

Plain arrays of doubles, sorted once at the end: exact, and eight bytes a call and series, which is
small against what the calls themselves cost.
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One finished call. Times start when the call was due, so waiting to be sent is part of them."""

    url: str
    failure: str | None
    total_ms: float
    queue_ms: float
    """From due to sent: the load generator's own share of `total_ms`."""
    first_byte_ms: float | None = None
    tokens: int = 0
    overhead_ms: float | None = None
    decision_ms: float | None = None
    deployment: str | None = None
    replica: str | None = None
    fallback: str | None = None


class Percentiles(msgspec.Struct, frozen=True):
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class Series:
    """Milliseconds of many calls."""

    def __init__(self) -> None:
        self._values = array("d")

    def add(self, value_ms: float | None) -> None:
        if value_ms is not None:
            self._values.append(value_ms)

    def percentiles(self) -> Percentiles | None:
        if not self._values:
            return None
        ordered = sorted(self._values)
        return Percentiles(
            p50_ms=percentile(ordered, 0.5),
            p90_ms=percentile(ordered, 0.9),
            p99_ms=percentile(ordered, 0.99),
            max_ms=ordered[-1],
        )


def percentile(ordered: Sequence[float], ratio: float) -> float:
    """Nearest rank: the smallest value that at least `ratio` of all values do not exceed."""
    # Rounded first: 0.07 * 100 is a little more than 7 and would reach for the eighth value.
    rank = math.ceil(round(ratio * len(ordered), 9))
    return ordered[max(rank, 1) - 1]


class Group:
    """Calls that share a deployment, a replica or the like."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.ok_total = Series()

    def add(self, sample: Sample) -> None:
        if sample.failure is None:
            self.ok += 1
            self.ok_total.add(sample.total_ms)
        else:
            self.failed += 1


class Measurement(Group):
    """All calls of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: Counter[str] = Counter()
        self.tokens = 0
        self.failed_total = Series()
        self.first_byte = Series()
        self.sent = Series()
        self.queue = Series()
        self.overhead = Series()
        self.decision = Series()
        self.groups: dict[str, dict[str, Group]] = {
            "deployment": {},
            "replica": {},
            "fallback": {},
            "url": {},
        }

    def add(self, sample: Sample) -> None:
        super().add(sample)
        if sample.failure is None:
            self.tokens += sample.tokens
            self.first_byte.add(sample.first_byte_ms)
            self.sent.add(sample.total_ms - sample.queue_ms)
        else:
            self.failures[sample.failure] += 1
            self.failed_total.add(sample.total_ms)
        self.queue.add(sample.queue_ms)
        self.overhead.add(sample.overhead_ms)
        self.decision.add(sample.decision_ms)
        for dimension, groups in self.groups.items():
            name = getattr(sample, dimension)
            if name is not None:
                groups.setdefault(name, Group()).add(sample)

    @property
    def requests(self) -> int:
        return self.ok + self.failed

    @property
    def failure_ratio(self) -> float:
        return self.failed / self.requests if self.requests else 0.0
