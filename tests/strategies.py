"""`make strategies`: the nine routing strategies on the same simulated traffic, as tables: a report, not a test. Each
run is a simulation of its own; of several seeds the medians are shown.
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import get_args

from gateway.configuration.router import RoutingStrategy
from shared_state.embedded import EmbeddedStore
from tests.support.fleet import EQUALS, FLEET, TRAFFIC, Behaviour, requests
from tests.support.simulation import Result, Simulation

STRATEGIES: tuple[str, ...] = get_args(RoutingStrategy)
SEEDS, MINUTES = 5, 10
ABOUT = f"""\
# Routing strategies compared

`make strategies` writes this. The product's own Lua scripts decide, on a real store whose clock is set from event to
event; arrivals, service times and failures are drawn beforehand, the same for every strategy.

Traffic: {TRAFFIC.per_s:g} requests a second as they come (Poisson), {TRAFFIC.burst_times:g} times as many for \
{TRAFFIC.burst_for_s:g} s about every {TRAFFIC.burst_every_s:g} s. Service times are
lognormal, and longer where more calls are under way than a deployment has capacity for. Breakers, retries (3 attempts)
and the rest have their defaults. A request counts from its arrival until it is answered at last; **failed calls** are
those that another deployment made good, or nobody: then the request is among the **errors**.
"""
CHOICE = """
## Which to choose

* **adaptive**, the default, unless something below says better: well ahead of round-robin and random at p99, and what
  is slow or failing keeps a little traffic, so that its recovery is seen.
* **latency-based** where latency is all that counts: lowest at p99 among deployments that differ, at the price of the
  fast one.
* **least-busy** for deployments that are alike, such as servers of your own.
* **weighted** and **usage-based** to use capacity and rate limits that are paid for anyway.
* **cost-based** where the price counts and waiting does not, **priority** where one deployment has to come first: both
  fill their favourite until it is slow, and pay for that at p99.
* **round-robin** and **random** know nothing of all this: for comparison, and for tests.

Errors are rare with any of them: breakers and further attempts see to that, not the strategy.
"""


def simulated(strategy: str, fleet: Sequence[Behaviour], seed: int, seconds: float) -> Result:
    store = EmbeddedStore()
    asyncio.run(store.start())
    try:
        return Simulation(store, strategy, fleet, seed, seconds).run(requests(TRAFFIC, seed, seconds))
    finally:
        store.stop()


def fleet_lines(fleet: Sequence[Behaviour]) -> list[str]:
    lines = [
        "| deployment | median | capacity | price | weight | priority | trouble |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in fleet:
        trouble = each.trouble
        words = [f"{each.error_rate:.0%} errors"] if each.error_rate else []
        if trouble:
            kind = f"{trouble.error_rate:.0%} errors" if trouble.error_rate else f"{trouble.slower:g} times slower"
            words.append(f"about every {trouble.every_s:g} s {kind} for {trouble.for_s:g} s")
        facts = f"{each.median_ms:g} ms | {each.capacity} | {each.price:g} | {each.weight:g} | {each.priority}"
        lines.append(f"| {each.id} | {facts} | {'; '.join(words)} |")
    return lines


def result_lines(results: dict[str, list[Result]], fleet: Sequence[Behaviour]) -> list[str]:
    names = [each.id for each in fleet]
    head = ["strategy", "p50", "p95", "p99", "errors", "failed calls", "cost of 1,000", *names]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for strategy, runs in sorted(results.items(), key=lambda item: _median(item[1], 0.99)):
        cells = [f"`{strategy}`", *(f"{_median(runs, share):,.0f} ms" for share in (0.5, 0.95, 0.99))]
        cells.append(f"{median(run.error_rate for run in runs):.2%}")
        cells.append(f"{median(run.failed_calls / run.attempts for run in runs):.1%}")
        cells.append(f"{median(1000 * run.cost / len(run.latencies_ms) for run in runs):.2f}")
        cells += [f"{median(run.calls[name] / run.attempts for run in runs):.0%}" for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _median(runs: Sequence[Result], share: float) -> float:
    return median(run.percentile(share) for run in runs)


def report(seeds: int, seconds: float) -> str:
    parts = [ABOUT, f"{seeds} seeds of {seconds / 60:g} minutes each, medians.\n"]
    fleets = {"Different deployments": FLEET, "Equal deployments": EQUALS}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = {
            (title, strategy, seed): pool.submit(simulated, strategy, fleet, seed, seconds)
            for title, fleet in fleets.items()
            for strategy in STRATEGIES
            for seed in range(1, seeds + 1)
        }
        for title, fleet in fleets.items():
            results = {s: [runs[title, s, seed].result() for seed in range(1, seeds + 1)] for s in STRATEGIES}
            parts.append("\n".join([f"## {title}", "", *result_lines(results, fleet), "", *fleet_lines(fleet), ""]))
    return "\n".join(parts) + CHOICE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.strategies")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--out", type=Path, help="write it to this file as well")
    options = parser.parse_args()
    text = report(options.seeds, 60 * options.minutes)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
