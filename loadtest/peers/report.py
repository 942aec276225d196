"""Renders the report of `make bench-peers` as Markdown. Every figure and sentence about one comes from the run."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from loadtest.peers import measures
from loadtest.peers.figures import Closed, Outage, Plain, Results, median
from loadtest.peers.gateways import NOT_MEASURABLE, OURS, Peer
from loadtest.peers.recipes import ATTEMPT_S, SLOW_S

MISSING = "–"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances of the figures."""

    command: str
    date: str
    machine: str
    turns: int
    seconds: float
    replicas: Sequence[int]
    is_interrupted: bool = False


def render(run: Run, peers: Sequence[Peer], results: Results) -> str:
    return "\n".join(_lines(run, peers, results)) + "\n"


def _lines(run: Run, peers: Sequence[Peer], results: Results) -> Iterator[str]:
    yield "# Beside other gateways\n"
    ending = " It was interrupted: what it had not come to is missing." if run.is_interrupted else ""
    yield f"`{run.command}` on {run.date}; {run.machine}.{ending}"
    if results.plain or results.streams:
        yield from _one_core(run, peers, results)
    if results.closed:
        yield from _closed(run, peers, results)
    for kind in measures.OUTAGES:
        if any(kind == each for _, each, _ in results.outages):
            yield from _outage(run, peers, results, kind)
    if not (results.plain or results.streams or results.closed or results.outages):
        yield "\nNothing was measured."
    yield from _given(peers)
    if results.troubles:
        yield "\n## Without a figure\n"
        yield from (f"* {trouble.what}: {trouble.why}" for trouble in results.troubles)


def _one_core(run: Run, peers: Sequence[Peer], results: Results) -> Iterator[str]:
    yield "\n## On one core\n"
    yield (
        f"One process of each gateway on core 0; provider, store and load on core 1. Every gateway once in a turn, "
        f"medians of {run.turns} turns with {run.seconds:g} s for each measure. Throughput: 32 connections, a provider "
        f"that answers at once. Added latency: an open loop at half of the gateway's own throughput (at "
        f"{measures.RATE_MOST:,.0f}/s at most), less what the provider itself takes at that rate. Streams: "
        f"{measures.STREAMS} at once, 20 chunks/s each, all that the gateway does for them.\n"
    )
    heads = ("gateway", "release", "requests/s", "of ours", "added p50", "added p99", "at")
    yield from _table([*heads, "CPU per chunk", "streams whole", "RSS after"], [_core_row(p, results) for p in peers])
    faster = [peer.title for peer in peers if not peer.is_ours and (_ratio(peer, results) or 0) > 1]
    if faster:
        yield f"\nFaster than {OURS.title}: {', '.join(faster)}."
    late = [peer.title for peer in peers if _is_of_the_load(results.plain.get(peer.name, []))]
    if late:
        names = ", ".join(late)
        yield f"\nLess than how late the load test itself was, so that it may be the load's: added p99 of {names}."
    for title, of, field in _COSTS:
        lower = [peer.title for peer in peers if _is_lower(peer, getattr(results, of), field)]
        if lower:
            yield f"\n{title} than {OURS.title}: {', '.join(lower)}."


# Figures of which less is better. Latencies are each at the gateway's own rate.
_COSTS = (
    ("Less added latency at the median", "plain", "added_p50_ms"),
    ("Less added latency at p99", "plain", "added_p99_ms"),
    ("Less CPU for a chunk", "streams", "cpu_us"),
    ("Less memory", "plain", "rss_mib"),
)


def _is_of_the_load(plain: Sequence[Plain]) -> bool:
    """Returns whether the added latency may come from the load test itself: if it sends late, it also reads late."""
    added, late = median(plain, "added_p99_ms"), median(plain, "late_p99_ms")
    return added is not None and late is not None and added < late


def _is_lower(peer: Peer, figures: Mapping[str, Sequence[msgspec.Struct]], field: str) -> bool:
    theirs, ours = (median(figures.get(name, []), field) for name in (peer.name, OURS.name))
    return not peer.is_ours and theirs is not None and ours is not None and theirs < ours


def _ratio(peer: Peer, results: Results) -> float | None:
    """Returns the median of the ratios turn by turn, because a slow moment of the machine affects both gateways; the
    ratio of medians where a turn has no figure.
    """
    ours, theirs = (results.plain.get(name, []) for name in (OURS.name, peer.name))
    if not ours or not theirs:
        return None
    if len(ours) != len(theirs):
        return statistics.median(each.per_s for each in theirs) / statistics.median(own.per_s for own in ours)
    return statistics.median(each.per_s / own.per_s for each, own in zip(theirs, ours, strict=True))


def _core_row(peer: Peer, results: Results) -> list[str]:
    plain, streams = results.plain.get(peer.name, []), results.streams.get(peer.name, [])
    return [
        peer.title,
        peer.release,
        _shown(median(plain, "per_s"), "{:,.0f}"),
        _shown(_ratio(peer, results), "{:.2f} ×"),
        _shown(median(plain, "added_p50_ms"), "{:.2f} ms"),
        _shown(median(plain, "added_p99_ms"), "{:.2f} ms"),
        _shown(median(plain, "rate"), "{:,.0f}/s"),
        _shown(median(streams, "cpu_us"), "{:.0f} µs"),
        _shown(median(streams, "whole_ratio"), "{:.0%}"),
        _shown(median(plain, "rss_mib"), "{:.0f} MiB"),
    ]


def _closed(run: Run, peers: Sequence[Peer], results: Results) -> Iterator[str]:
    yield "\n## With a fixed number of callers\n"
    yield (
        f"The load of the public ai-gateway-bench: each caller sends its next call when it has its answer, and the "
        f"provider takes {measures.PROVIDER_MS} ms. Requests/s / added p50 / added p99 on one core, medians of "
        f"{run.turns} turns; added to what the same callers get from the provider itself.\n"
    )
    heads = ["gateway", *(f"{callers} caller{'s' if callers > 1 else ''}" for callers in measures.CALLERS)]
    measured = [peer for peer in peers if any(name == peer.name for name, _ in results.closed)]
    cells = (
        [_closed_cell(results.closed.get((peer.name, callers), [])) for callers in measures.CALLERS]
        for peer in measured
    )
    yield from _table(heads, [[peer.title, *row] for peer, row in zip(measured, cells, strict=True)])


def _closed_cell(turns: Sequence[Closed]) -> str:
    forms = {"per_s": "{:,.0f}/s", "added_p50_ms": "{:.2f}", "added_p99_ms": "{:.2f} ms"}
    return " / ".join(_shown(median(turns, field), form) for field, form in forms.items())


def _outage(run: Run, peers: Sequence[Peer], results: Results, kind: str) -> Iterator[str]:
    yield f"\n## A provider {kind}\n"
    lasts_s = measures.OUTAGES[kind].lasts_s
    yield (
        f"The first of two providers, which take {measures.HEALTHY_MS} ms, {kind} for {lasts_s:g} s; the second "
        f"is well. {measures.OUTAGE_RATE} calls/s, in turns over all replicas; an attempt may take {ATTEMPT_S} s. "
        f"**Failed** calls are errors of the client's, **slow** ones good answers after more than {SLOW_S:g} s, "
        f"**paid** those that went to the provider although it was out.\n"
    )
    heads = ["gateway", *(f"{_counted(count)}: failed / slow / paid" for count in run.replicas)]
    measured = {name for name, what, _ in results.outages if what == kind}
    shown = [peer for peer in peers if peer.name in measured]
    rows = [
        [peer.title, *(_cell(results.outages.get((peer.name, kind, count))) for count in run.replicas)]
        for peer in shown
    ]
    yield from _table(
        [*heads, "calls", "p99 just before"],
        [[*row, *_setting(peer, kind, results)] for peer, row in zip(shown, rows, strict=True)],
    )
    early = [
        peer.title for peer in shown if any(each.healthy_p99_ms > 1000 * SLOW_S for _, each in _of(peer, kind, results))
    ]
    if early:
        yield f"\nSlow already before, so that its slow answers say nothing of the outage: {', '.join(early)}."
    for peer in shown:
        errors = [f"{_failures(outage)} ({count})" for count, outage in _of(peer, kind, results) if outage.failed]
        if errors:
            yield f"\nErrors that clients of {peer.title} got, by replicas: {'; '.join(errors)}."
    for what, count_of in _BAD.items():
        better = [peer.title for peer in shown if _is_better(peer, kind, run, results, count_of)]
        if better:
            yield f"\nFewer {what} than {OURS.title} with {_counted(max(run.replicas))}: {', '.join(better)}."


_BAD: dict[str, Callable[[Outage], int]] = {
    "failed calls": lambda outage: outage.failed,
    "slow answers": lambda outage: outage.slow,
    "calls to the provider that is out": lambda outage: outage.paid,
}


def _is_better(peer: Peer, kind: str, run: Run, results: Results, count_of: Callable[[Outage], int]) -> bool:
    theirs, ours = (results.outages.get((name, kind, max(run.replicas))) for name in (peer.name, OURS.name))
    return theirs is not None and ours is not None and count_of(theirs) < count_of(ours)


def _counted(replicas: int) -> str:
    return f"{replicas} replica{'s' if replicas > 1 else ''}"


def _of(peer: Peer, kind: str, results: Results) -> Iterator[tuple[int, Outage]]:
    for (name, what, count), outage in results.outages.items():
        if (name, what) == (peer.name, kind):
            yield count, outage


def _failures(outage: Outage) -> str:
    return ", ".join(f"{count} × {failure}" for failure, count in outage.failures.items())


def _cell(outage: Outage | None) -> str:
    return MISSING if outage is None else f"{outage.failed} / {outage.slow} / {outage.paid}"


def _setting(peer: Peer, kind: str, results: Results) -> Sequence[str]:
    """Returns the number of calls, and the worst p99 with healthy providers, which is high if the machine was busy."""
    outages = [outage for _, outage in _of(peer, kind, results)]
    return [str(max(each.calls for each in outages)), f"{max(each.healthy_p99_ms for each in outages):.0f} ms"]


def _given(peers: Sequence[Peer]) -> Iterator[str]:
    yield "\n## What each is given against an outage\n"
    yield from _table(["gateway", "release", "given"], [[peer.title, peer.release, peer.given] for peer in peers])
    yield "\n## Releases\n"
    yield from (f"* {peer.title}: {peer.remark}" for peer in peers if peer.remark)
    yield f"* {NOT_MEASURABLE}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _shown(value: float | None, form: str) -> str:
    return MISSING if value is None else form.format(value)
