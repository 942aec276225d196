"""Turns the result of a run into the figures of the report, which are also its JSON."""

from collections.abc import Sequence

import msgspec

from loadtest.load.histogram import Percentiles
from loadtest.load.measure import Group, Measurement, Moment
from loadtest.load.requests import Target
from loadtest.load.runner import Load, Result
from loadtest.load.slo import Slo


class GroupSummary(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    ok: int
    failed: int
    given_up: int
    latency: Percentiles | None


class MomentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One second: calls that ended in it."""

    at_s: int
    ok: int
    failed: int
    given_up: int
    p50_ms: float
    p99_ms: float
    failures: dict[str, int]
    served: dict[str, dict[str, int]]


class Goodput(msgspec.Struct, frozen=True, kw_only=True):
    slo: Slo
    kept: int
    kept_ratio: float
    """Share of all calls except those given up."""
    kept_per_s: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    urls: Sequence[str]
    model: str
    is_stream: bool
    load: Load
    is_interrupted: bool
    began_at_ms: float
    """Wall clock, since 1970."""
    elapsed_s: float
    requests: int
    ok: int
    failed: int
    given_up: int
    unfinished: int
    failure_ratio: float
    requests_per_s: float
    """Arrivals, answered or not."""
    ok_per_s: float
    """Over the time in which calls began or good answers arrived, without waiting for calls that time out."""
    tokens_per_s: float
    goodput: Goodput | None
    processes: int
    missing_processes: int
    """Processes whose measurements are missing here."""
    cpu_ratio: float
    """Share of one core that each process of the load generator used."""
    latency: Percentiles | None
    failed_latency: Percentiles | None
    first_byte: Percentiles | None
    first_token: Percentiles | None
    gap: Percentiles | None
    """Between arrivals of content in a stream."""
    sent: Percentiles | None
    """Open loop: from sent to the end, which a closed loop would call latency."""
    queue: Percentiles | None
    late: Percentiles | None
    """Open loop: how much later than planned the load generator began a call."""
    overhead: Percentiles | None
    decision: Percentiles | None
    failures: dict[str, int]
    groups: dict[str, dict[str, GroupSummary]]
    timeline: Sequence[MomentSummary]


def summarise(target: Target, load: Load, result: Result, *, is_interrupted: bool) -> Summary:
    measured = result.measurement
    is_open = load.rate is not None
    begun_s = _begun_s(load, result, is_interrupted)
    # If answers stop while calls continue, the time still counts: the missing answers are the fault under test.
    good_s = max(result.ok_s, begun_s)
    return Summary(
        urls=target.urls,
        model=target.model,
        is_stream=target.is_stream,
        load=load,
        is_interrupted=is_interrupted,
        began_at_ms=result.began_at_ms,
        elapsed_s=result.elapsed_s,
        requests=measured.requests,
        ok=measured.ok,
        failed=measured.failed,
        given_up=measured.given_up,
        unfinished=result.unfinished,
        failure_ratio=measured.failure_ratio,
        requests_per_s=_ratio(result.started, begun_s if is_open else result.elapsed_s),
        ok_per_s=_ratio(measured.ok, good_s),
        tokens_per_s=_ratio(measured.tokens, good_s),
        goodput=_goodput(measured, good_s),
        processes=result.processes,
        missing_processes=result.missing,
        cpu_ratio=_ratio(result.cpu_s, result.elapsed_s) / result.processes,
        latency=measured.ok_total.percentiles(),
        failed_latency=measured.failed_total.percentiles(),
        first_byte=measured.first_byte.percentiles(),
        first_token=measured.first_token.percentiles(),
        gap=measured.gap.percentiles(),
        sent=measured.sent.percentiles() if is_open else None,
        queue=measured.queue.percentiles() if is_open else None,
        late=measured.late.percentiles() if is_open else None,
        overhead=measured.overhead.percentiles(),
        decision=measured.decision.percentiles(),
        failures=dict(sorted(measured.failures.items(), key=lambda each: -each[1])),
        groups={
            dimension: {name: _summarise_group(group) for name, group in sorted(groups.items())}
            for dimension, groups in measured.groups.items()
            if groups and (dimension != "url" or len(target.urls) > 1)
        },
        timeline=[_summarise_moment(at_s, moment) for at_s, moment in sorted(measured.moments.items())],
    )


def _begun_s(load: Load, result: Result, is_interrupted: bool) -> float:
    """Returns for how long calls began, however long their answers took after that."""
    if load.rate is None:
        return result.due_s
    is_cut = is_interrupted or (load.requests is not None and result.started >= load.requests)
    if load.duration_s is not None and not is_cut:
        return load.duration_s
    # Includes a gap after the last call: n evenly spaced calls have only n - 1 gaps between them.
    return result.due_s * _ratio(result.started, result.started - 1)


def _goodput(measured: Measurement, good_s: float) -> Goodput | None:
    if measured.slo is None:
        return None
    return Goodput(
        slo=measured.slo,
        kept=measured.kept,
        kept_ratio=_ratio(measured.kept, measured.ok + measured.failed),
        kept_per_s=_ratio(measured.kept, good_s),
    )


def _ratio(amount: float, whole: float) -> float:
    return amount / whole if whole > 0 else 0.0


def _summarise_group(group: Group) -> GroupSummary:
    return GroupSummary(
        requests=group.requests,
        ok=group.ok,
        failed=group.failed,
        given_up=group.given_up,
        latency=group.ok_total.percentiles(),
    )


def _summarise_moment(at_s: int, moment: Moment) -> MomentSummary:
    return MomentSummary(
        at_s=at_s,
        ok=moment.ok,
        failed=moment.failed,
        given_up=moment.given_up,
        p50_ms=moment.ok_total.at(0.5),
        p99_ms=moment.ok_total.at(0.99),
        failures=moment.failures,
        served=moment.served,
    )
