"""The results of `make bench-peers` for each gateway."""

import statistics
from collections.abc import Sequence

import msgspec


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a gateway on one core."""

    per_s: float
    rate: float
    """Requests per second of the latencies: half of ``per_s``, or the maximum of the load test."""
    added_p50_ms: float
    added_p99_ms: float
    """Added to the provider's own latency at that rate."""
    rss_mib: float
    """After these measurements."""
    late_p99_ms: float = 0.0
    """How much later than planned the load test sent."""


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    cpu_us: float
    """CPU time of the gateway for each chunk that arrived."""
    late_p99_ms: float
    whole_ratio: float
    """Share of the chunks that arrived, or of the streams that were complete, whichever is less."""


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a closed loop with some callers, before a provider that takes the same time for each call."""

    per_s: float
    added_p50_ms: float
    """Added to what the same callers get from the provider itself."""
    added_p99_ms: float


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """Results of the calls while the first of two providers was out."""

    calls: int
    failed: int
    slow: int
    """Good answers that took longer than SLOW_S."""
    paid: int
    """Calls that the failing provider still received."""
    healthy_p99_ms: float
    """Just before the outage."""
    failures: dict[str, int] = {}
    """Errors that clients got, with their counts."""


class Trouble(msgspec.Struct, frozen=True):
    what: str
    why: str


class Results(msgspec.Struct, kw_only=True):
    plain: dict[str, list[Plain]] = {}
    streams: dict[str, list[Streams]] = {}
    closed: dict[tuple[str, int], list[Closed]] = {}
    """By gateway and number of callers."""
    outages: dict[tuple[str, str, int], Outage] = {}
    """By gateway, what the provider does, and number of replicas."""
    troubles: list[Trouble] = []


def median(of: Sequence[msgspec.Struct], field: str) -> float | None:
    """Returns the median of a field, None without measurements."""
    return statistics.median(getattr(each, field) for each in of) if of else None
