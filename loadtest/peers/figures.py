"""What `make bench-peers` has found out, gateway by gateway."""

import statistics
from collections.abc import Sequence

import msgspec


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a gateway on one core."""

    per_s: float
    rate: float
    """At which the latencies were taken: half of it, or what the load test can do."""
    added_p50_ms: float
    added_p99_ms: float
    """To what the provider takes by itself at that rate."""
    rss_mib: float
    """After all of that."""
    late_p99_ms: float = 0.0
    """How much later than planned the load test sent."""


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    cpu_us: float
    """Of the gateway, for each chunk that arrived."""
    late_p99_ms: float
    whole_ratio: float
    """Of the chunks, or of the streams that came to their end, whichever is less."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the calls while the first of two providers was out."""

    calls: int
    failed: int
    slow: int
    """Good answers that took longer than SLOW_S."""
    paid: int
    """Calls that the provider which was out received all the same."""
    healthy_p99_ms: float
    """Just before."""
    failures: dict[str, int] = {}
    """What clients were told, and how often."""


class Trouble(msgspec.Struct, frozen=True):
    what: str
    why: str


class Results(msgspec.Struct, kw_only=True):
    plain: dict[str, list[Plain]] = {}
    streams: dict[str, list[Streams]] = {}
    outages: dict[tuple[str, str, int], Outage] = {}
    """By gateway, what the provider does, and number of replicas."""
    troubles: list[Trouble] = []


def median(of: Sequence[msgspec.Struct], field: str) -> float | None:
    """None where nothing was measured."""
    return statistics.median(getattr(each, field) for each in of) if of else None
