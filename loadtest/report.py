"""Turns a run into a summary, and the summary into a table or JSON."""

from collections.abc import Iterator, Sequence

import msgspec

from loadtest.client import Target
from loadtest.drive import Load, Run
from loadtest.measure import Group, Percentiles

# Above this the load generator itself may be what was measured.
BUSY_CPU_RATIO = 0.85
FAILURES_SHOWN = 20


class GroupSummary(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    ok: int
    failed: int
    latency: Percentiles | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    urls: Sequence[str]
    model: str
    is_stream: bool
    load: Load
    is_interrupted: bool
    elapsed_s: float
    requests: int
    ok: int
    failed: int
    unfinished: int
    failure_ratio: float
    requests_per_s: float
    """As they arrived, answered or not."""
    ok_per_s: float
    tokens_per_s: float
    cpu_ratio: float
    """Share of one core that the load generator used."""
    latency: Percentiles | None
    failed_latency: Percentiles | None
    first_byte: Percentiles | None
    sent: Percentiles | None
    """Open loop: from sent to the end, what a closed loop would call latency."""
    queue: Percentiles | None
    overhead: Percentiles | None
    decision: Percentiles | None
    failures: dict[str, int]
    groups: dict[str, dict[str, GroupSummary]]


def summarise(target: Target, load: Load, run: Run, *, is_interrupted: bool) -> Summary:
    measured = run.measurement
    # In an open loop calls arrive until the last is due, however long the answers take after that.
    arriving_s = run.elapsed_s if load.rate is None else run.due_s
    return Summary(
        urls=target.urls,
        model=target.model,
        is_stream=target.is_stream,
        load=load,
        is_interrupted=is_interrupted,
        elapsed_s=run.elapsed_s,
        requests=measured.requests,
        ok=measured.ok,
        failed=measured.failed,
        unfinished=run.unfinished,
        failure_ratio=measured.failure_ratio,
        requests_per_s=_ratio(run.started, arriving_s),
        ok_per_s=_ratio(measured.ok, run.ok_s),
        tokens_per_s=_ratio(measured.tokens, run.ok_s),
        cpu_ratio=_ratio(run.cpu_s, run.elapsed_s),
        latency=measured.ok_total.percentiles(),
        failed_latency=measured.failed_total.percentiles(),
        first_byte=measured.first_byte.percentiles(),
        sent=measured.sent.percentiles() if load.rate is not None else None,
        queue=measured.queue.percentiles() if load.rate is not None else None,
        overhead=measured.overhead.percentiles(),
        decision=measured.decision.percentiles(),
        failures=dict(measured.failures.most_common()),
        groups={
            dimension: {name: _summarise_group(group) for name, group in sorted(groups.items())}
            for dimension, groups in measured.groups.items()
            if groups and (dimension != "url" or len(target.urls) > 1)
        },
    )


def _ratio(amount: float, seconds: float) -> float:
    return amount / seconds if seconds else 0.0


def _summarise_group(group: Group) -> GroupSummary:
    return GroupSummary(
        requests=group.ok + group.failed,
        ok=group.ok,
        failed=group.failed,
        latency=group.ok_total.percentiles(),
    )


def render_plan(target: Target, load: Load) -> str:
    """One line that says what is about to happen."""
    if load.rate is None:
        mode = f"closed loop, {load.concurrent} callers"
    else:
        mode = f"open loop, {load.rate:g}/s {load.arrivals}, at most {load.concurrent} at once"
    limits = []
    if load.requests is not None:
        limits.append(f"{load.requests:,} requests")
    if load.duration_s is not None:
        limits.append(f"{load.duration_s:g} s")
    kind = "streams" if target.is_stream else "plain answers"
    return f"POST {' '.join(target.urls)}\n{target.model}, {kind}; {mode}; {' or '.join(limits)}"


def render_table(summary: Summary) -> str:
    return "\n".join(_render_lines(summary))


def _render_lines(summary: Summary) -> Iterator[str]:
    ending = "; interrupted" if summary.is_interrupted else ""
    left = f", {summary.unfinished:,} unfinished" if summary.unfinished else ""
    yield (
        f"{summary.requests:,} requests in {summary.elapsed_s:.2f} s{ending}: "
        f"{summary.ok:,} ok, {summary.failed:,} failed ({summary.failure_ratio:.2%}){left}"
    )
    yield (
        f"{summary.requests_per_s:,.1f} requests/s, {summary.ok_per_s:,.1f} ok/s, {summary.tokens_per_s:,.0f} tokens/s"
    )
    yield from _render_latencies(summary)
    if summary.failures:
        yield ""
        yield f"{'failures':<44}{'count':>9}{'share':>9}"
        for failure, count in list(summary.failures.items())[:FAILURES_SHOWN]:
            yield f"{failure[:43]:<44}{count:>9,}{count / summary.requests:>9.2%}"
    for dimension, groups in summary.groups.items():
        yield from _render_groups(dimension, groups)
    if summary.cpu_ratio > BUSY_CPU_RATIO:
        yield ""
        yield f"The load generator used {summary.cpu_ratio:.0%} of a core: it may have measured itself."


def _render_latencies(summary: Summary) -> Iterator[str]:
    rows = {
        "latency": summary.latency,
        "first byte": summary.first_byte,
        "latency once sent": summary.sent,
        "client queue": summary.queue,
        "gateway overhead": summary.overhead,
        "gateway decision": summary.decision,
        "failed calls": summary.failed_latency,
    }
    yield ""
    yield f"{'':<26}{'p50':>12}{'p90':>12}{'p99':>12}{'max':>12}"
    for title, percentiles in rows.items():
        if percentiles is not None:
            values = msgspec.structs.astuple(percentiles)
            yield f"{title:<26}" + "".join(f"{_render_ms(value):>12}" for value in values)


def _render_groups(dimension: str, groups: dict[str, GroupSummary]) -> Iterator[str]:
    yield ""
    yield f"{dimension:<44}{'requests':>9}{'ok':>9}{'failed':>9}{'p50':>12}{'p99':>12}"
    for name, group in groups.items():
        p50 = p99 = "-"
        if group.latency is not None:
            p50, p99 = _render_ms(group.latency.p50_ms), _render_ms(group.latency.p99_ms)
        yield f"{name[:43]:<44}{group.requests:>9,}{group.ok:>9,}{group.failed:>9,}{p50:>12}{p99:>12}"


def _render_ms(value_ms: float) -> str:
    if value_ms < 10:
        return f"{value_ms:.2f} ms"
    if value_ms < 1000:
        return f"{value_ms:.1f} ms"
    return f"{value_ms / 1000:.2f} s"
