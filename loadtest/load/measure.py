"""Collects the measurements of all calls. They can be encoded, sent to another process and added to others."""

from collections.abc import Mapping, Sequence

import msgspec

from loadtest.load.histogram import Histogram
from loadtest.load.slo import Slo

NAMES_MOST = 200  # distinct names in each list; a server that invents a name for each answer must not fill the memory
OTHERS = "(others)"
DIMENSIONS = ("deployment", "replica", "fallback", "url", "model", "tenant", "priority")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One finished call. Times start when the call was due, so they include waiting to be sent."""

    url: str
    failure: str | None
    total_ms: float
    queue_ms: float
    """From due to sent: the load generator's own share of `total_ms`."""
    is_given_up: bool = False
    """A stream that the client left midway on purpose (-cancel): neither good nor failed."""
    first_byte_ms: float | None = None
    first_token_ms: float | None = None
    gaps_ms: Sequence[float] = ()
    """Between arrivals of content in a stream."""
    tokens: int = 0
    overhead_ms: float | None = None
    decision_ms: float | None = None
    deployment: str | None = None
    replica: str | None = None
    fallback: str | None = None
    model: str | None = None
    tenant: str | None = None
    priority: str | None = None


class Group(msgspec.Struct):
    """Calls that share a deployment, a replica or another dimension."""

    ok: int = 0
    failed: int = 0
    given_up: int = 0
    ok_total: Histogram = msgspec.field(default_factory=Histogram)

    def count(self, sample: Sample) -> None:
        if sample.failure is not None:
            self.failed += 1
        elif sample.is_given_up:
            self.given_up += 1
        else:
            self.ok += 1
            self.ok_total.add(sample.total_ms)

    def merge_group(self, other: "Group") -> None:
        self.ok += other.ok
        self.failed += other.failed
        self.given_up += other.given_up
        self.ok_total.merge(other.ok_total)

    @property
    def requests(self) -> int:
        return self.ok + self.failed + self.given_up


class Moment(Group):
    """Calls that ended within one second of the run, with the deployments and replicas that served them."""

    served: dict[str, dict[str, int]] = {}
    failures: dict[str, int] = {}

    def add(self, sample: Sample) -> None:
        self.count(sample)
        if sample.failure is not None:
            _count(self.failures, sample.failure)
        for dimension, name in (("deployment", sample.deployment), ("replica", sample.replica)):
            if name is not None:
                _count(self.served.setdefault(dimension, {}), name)

    def merge(self, other: "Moment") -> None:
        self.merge_group(other)
        _merge_counts(self.failures, other.failures)
        for dimension, counts in other.served.items():
            _merge_counts(self.served.setdefault(dimension, {}), counts)


class Measurement(Group):
    """All calls of a run."""

    slo: Slo | None = None
    kept: int = 0
    """Good answers that kept the objectives."""
    failures: dict[str, int] = {}
    tokens: int = 0
    failed_total: Histogram = msgspec.field(default_factory=Histogram)
    first_byte: Histogram = msgspec.field(default_factory=Histogram)
    first_token: Histogram = msgspec.field(default_factory=Histogram)
    gap: Histogram = msgspec.field(default_factory=Histogram)
    sent: Histogram = msgspec.field(default_factory=Histogram)
    queue: Histogram = msgspec.field(default_factory=Histogram)
    late: Histogram = msgspec.field(default_factory=Histogram)
    """Open loop: from due to when the load generator began the call."""
    overhead: Histogram = msgspec.field(default_factory=Histogram)
    decision: Histogram = msgspec.field(default_factory=Histogram)
    groups: dict[str, dict[str, Group]] = msgspec.field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    moments: dict[int, Moment] = {}
    """By the second of the run, from 0."""

    def add(self, sample: Sample, ended_s: float = 0.0) -> None:
        """`ended_s`: from the start of the run."""
        self.count(sample)
        self.tokens += sample.tokens if sample.failure is None else 0
        if sample.failure is not None:
            _count(self.failures, sample.failure)
            self.failed_total.add(sample.total_ms)
        else:
            self.first_byte.add(sample.first_byte_ms)
            self.first_token.add(sample.first_token_ms)
            for gap_ms in sample.gaps_ms:
                self.gap.add(gap_ms)
            if not sample.is_given_up:
                self.sent.add(sample.total_ms - sample.queue_ms)
                self.kept += self.slo is not None and is_kept(self.slo, sample)
        self.queue.add(sample.queue_ms)
        self.overhead.add(sample.overhead_ms)
        self.decision.add(sample.decision_ms)
        for dimension in DIMENSIONS:
            name = getattr(sample, dimension)
            if name is not None:
                _entry(self.groups[dimension], name).count(sample)
        second = int(ended_s)
        moment = self.moments.get(second)
        if moment is None:
            moment = self.moments[second] = Moment()
        moment.add(sample)

    def merge(self, other: "Measurement") -> None:
        self.merge_group(other)
        self.kept += other.kept
        self.tokens += other.tokens
        _merge_counts(self.failures, other.failures)
        for series in ("failed_total", "first_byte", "first_token", "gap", "sent", "queue", "late"):
            getattr(self, series).merge(getattr(other, series))
        self.overhead.merge(other.overhead)
        self.decision.merge(other.decision)
        for dimension, groups in other.groups.items():
            for name, group in groups.items():
                _entry(self.groups[dimension], name).merge_group(group)
        for second, moment in other.moments.items():
            self.moments.setdefault(second, Moment()).merge(moment)

    @property
    def failure_ratio(self) -> float:
        return self.failed / self.requests if self.requests else 0.0


def is_kept(slo: Slo, sample: Sample) -> bool:
    """Returns whether a call kept the objectives. The first token of a plain answer arrives with the answer."""
    first_ms = sample.total_ms if sample.first_token_ms is None else sample.first_token_ms
    return slo.is_kept(first_ms, max(sample.gaps_ms, default=0.0), sample.total_ms)


def _entry(groups: dict[str, Group], name: str) -> Group:
    name = _known(groups, name)
    group = groups.get(name)
    if group is None:
        group = groups[name] = Group()
    return group


def _count(counts: dict[str, int], name: str, amount: int = 1) -> None:
    name = _known(counts, name)
    counts[name] = counts.get(name, 0) + amount


def _known(names: Mapping[str, object], name: str) -> str:
    return name if name in names or len(names) < NAMES_MOST else OTHERS


def _merge_counts(into: dict[str, int], other: dict[str, int]) -> None:
    for name, count in other.items():
        _count(into, name, count)
