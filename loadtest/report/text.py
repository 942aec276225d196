"""Renders the summary of a run as text for a terminal."""

from collections.abc import Iterator, Sequence

import msgspec

from loadtest.load.client import UNREACHABLE
from loadtest.load.requests import Target
from loadtest.load.runner import Load
from loadtest.report.summary import GroupSummary, Summary

# Above these limits, the load generator itself may be the bottleneck.
BUSY_CPU_RATIO = 0.85
BUSY_S = 0.5  # a shorter run consists of its start only
LATE_MS = 50.0
FAILURES_SHOWN = 20


def render_plan(target: Target, load: Load) -> str:
    """Returns the plan of a run before it begins."""
    if load.rate is None:
        mode = f"closed loop, {load.concurrent} callers"
    else:
        mode = f"open loop, {_render_rate(load.rate, load)}, at most {load.concurrent} at once"
    limits = []
    if load.requests is not None:
        limits.append(f"{load.requests:,} requests")
    if load.duration_s is not None:
        limits.append(f"{load.duration_s:g} s")
    kind = "streams" if target.is_stream else "plain answers"
    if target.give_up_ratio:
        kind += f", {target.give_up_ratio:.0%} of them given up"
    return f"POST {' '.join(target.urls)}\n{target.model}, {kind}; {mode}; {' or '.join(limits)}"


def _render_rate(rate: float, load: Load) -> str:
    shape = load.shape
    match load.arrivals:
        case "ramp":
            return f"ramp from {shape.ramp_from:g} to {rate:g}/s in {shape.ramp_s:g} s"
        case "spike":
            within = f"{rate * shape.spike_times:g}/s for {shape.spike_s:g} s"
            return f"{rate:g}/s constant, a spike of {within} from {shape.spike_at_s:g} s"
        case _:
            return f"{rate:g}/s {load.arrivals}"


def render_table(summary: Summary) -> str:
    return "\n".join(_render_lines(summary))


def _render_lines(summary: Summary) -> Iterator[str]:
    yield from render_head(summary)
    yield from render_goodput(summary)
    yield from _render_latencies(summary)
    if summary.failures:
        yield ""
        yield f"{'failures':<44}{'count':>9}{'share':>9}"
        for failure, count in list(summary.failures.items())[:FAILURES_SHOWN]:
            yield f"{failure[:43]:<44}{count:>9,}{count / summary.requests:>9.2%}"
    for dimension, groups in summary.groups.items():
        yield from _render_groups(dimension, groups)
    yield from render_doubts(summary)


def render_head(summary: Summary) -> Iterator[str]:
    """Yields the counts and the rates."""
    ending = "; interrupted" if summary.is_interrupted else ""
    given_up = f", {summary.given_up:,} given up" if summary.given_up else ""
    left = f", {summary.unfinished:,} unfinished" if summary.unfinished else ""
    yield (
        f"{summary.requests:,} requests in {summary.elapsed_s:.2f} s{ending}: "
        f"{summary.ok:,} ok, {summary.failed:,} failed ({summary.failure_ratio:.2%}){given_up}{left}"
    )
    yield (
        f"{summary.requests_per_s:,.1f} requests/s, {summary.ok_per_s:,.1f} ok/s, {summary.tokens_per_s:,.0f} tokens/s"
    )


def render_goodput(summary: Summary) -> Iterator[str]:
    if summary.goodput is not None:
        good = summary.goodput
        rate = f"{good.kept_per_s:,.1f} requests/s kept {good.slo.render()}"
        yield f"{rate}: {good.kept:,}, {good.kept_ratio:.2%} of all"


def render_doubts(summary: Summary) -> Iterator[str]:
    """Yields warnings when the figures do not describe a server: none was there, or the load generator was too slow."""
    if not summary.requests and not summary.is_interrupted:
        yield ""
        yield "No call was made: the first was due after the end."
    if summary.missing_processes and summary.requests:
        yield ""
        yield f"{summary.missing_processes} of the load generator's processes did not report their measurements."
    if summary.failed and set(summary.failures) == {UNREACHABLE}:
        yield ""
        yield f"Nothing listens at {', '.join(summary.urls)}."
    if summary.cpu_ratio > BUSY_CPU_RATIO and summary.elapsed_s > BUSY_S:
        cores = f"{summary.cpu_ratio:.0%} of a core" + (" in each process" if summary.processes > 1 else "")
        yield ""
        yield f"The load generator used {cores}: it may have measured itself. Use more -processes."
    if summary.late is not None and summary.late.p99_ms > LATE_MS:
        yield ""
        yield (
            f"The load generator was late (p99 {render_ms(summary.late.p99_ms)}): "
            "it was the bottleneck, or had too little CPU."
        )


def latency_rows(summary: Summary) -> Iterator[tuple[str, Sequence[float]]]:
    """Yields each measured series with its p50, p90, p99, p99.9 and maximum in ms."""
    rows = {
        "latency": summary.latency,
        "first byte": summary.first_byte,
        "first token": summary.first_token,
        "between tokens": summary.gap,
        "latency once sent": summary.sent,
        "client queue": summary.queue,
        "gateway overhead": summary.overhead,
        "gateway decision": summary.decision,
        "failed calls": summary.failed_latency,
    }
    for title, percentiles in rows.items():
        if percentiles is not None:
            yield title, msgspec.structs.astuple(percentiles)


def _render_latencies(summary: Summary) -> Iterator[str]:
    yield ""
    yield f"{'':<26}{'p50':>12}{'p90':>12}{'p99':>12}{'p99.9':>12}{'max':>12}"
    for title, values in latency_rows(summary):
        yield f"{title:<26}" + "".join(f"{render_ms(value):>12}" for value in values)


def _render_groups(dimension: str, groups: dict[str, GroupSummary]) -> Iterator[str]:
    yield ""
    yield f"{dimension:<44}{'requests':>9}{'ok':>9}{'failed':>9}{'p50':>12}{'p99':>12}"
    for name, group in groups.items():
        p50 = p99 = "-"
        if group.latency is not None:
            p50, p99 = render_ms(group.latency.p50_ms), render_ms(group.latency.p99_ms)
        yield f"{name[:43]:<44}{group.requests:>9,}{group.ok:>9,}{group.failed:>9,}{p50:>12}{p99:>12}"


def render_ms(value_ms: float) -> str:
    if value_ms < 10:
        return f"{value_ms:.2f} ms"
    if value_ms < 1000:
        return f"{value_ms:.1f} ms"
    return f"{value_ms / 1000:.2f} s"
