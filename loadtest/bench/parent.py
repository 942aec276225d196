"""Measures another checkout of the gateway in turns with this one: the cost of a change, even on a noisy machine."""

import statistics
from pathlib import Path

from loadtest.bench.rig import RATE, Bench


def bench_parent(bench: Bench, parent: Path, turns: int, seconds: float) -> None:
    """Prints the comparison. ``parent``: the root of the other checkout, which runs with the packages of this one."""
    sources: tuple[Path | None, ...] = (parent, None)
    rates: list[list[float]] = [[], []]
    decisions: list[list[dict[str, float]]] = [[], []]
    for turn in range(turns):
        for k in (0, 1) if turn % 2 == 0 else (1, 0):
            with bench.gateway(source=sources[k]) as (url, _):
                bench.throughput(url, 2)
                rates[k].append(bench.throughput(url, seconds))
                decisions[k].append(bench.at_rate(url, "constant", 2 * seconds)["decision"])
    print("\n| figure | parent | this | this / parent, median of the turns |\n|---|---|---|---|")
    _row("requests/s", rates[0], rates[1], "{:.0f}")
    for share in ("p50_ms", "p99_ms"):
        before, after = ([each[share] for each in side] for side in decisions)
        _row(f"decision {share[:3]} at {RATE} requests/s, ms", before, after, "{:.2f}")


def _row(name: str, before: list[float], after: list[float], form: str) -> None:
    shown = (form.format(statistics.median(side)) for side in (before, after))
    ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
    print(f"| {name} | {' | '.join(shown)} | {ratio:.3f} |", flush=True)
