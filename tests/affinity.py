"""`make affinity`: what soft affinity gains and costs, simulated, as tables: a report, not a test."""

import argparse
import asyncio
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from shared_state.embedded import EmbeddedStore
from tests.support.conversations import Conversations, Result, Scenario, turns_of

MODES = {
    "off": "`off` (adaptive alone)",
    "session": "`session`",
    "prefix": "`prefix`",
    "hash": "consistent hash",
    "round-robin": "round robin",
}
SCENARIOS = (
    Scenario(title="Steady"),
    Scenario(title="One of four out for a minute", out=(200, 260)),
    Scenario(title="From three to four deployments", joins_ms=240_000),
    Scenario(title="Skewed sessions (Zipf)", zipf=0.8),
)
BEGIN, END = "<!-- make affinity writes from here -->", "<!-- to here -->"
HEAD = [
    "",
    "cached",
    "stayed",
    "pin fled, at most",
    "first token p50",
    "p99",
    "hottest / mean",
    "cost of 1,000",
    "refused",
]


def simulated(mode: str, scenario: Scenario, seed: int) -> Result:
    store = EmbeddedStore()
    asyncio.run(store.start())
    try:
        return Conversations(store, mode, scenario, seed).run(turns_of(scenario, seed))
    finally:
        store.stop()


def line(mode: str, runs: list[Result]) -> str:
    cells = [
        MODES[mode],
        f"{median(run.cached for run in runs):.0%}",
        f"{median(run.stayed for run in runs):.1%}",
        f"{max(run.fled for run in runs)} times" if mode in ("session", "prefix") else "",
        f"{median(run.percentile(0.5) for run in runs):,.0f} ms",
        f"{median(run.percentile(0.99) for run in runs):,.0f} ms",
        f"{median(run.hottest for run in runs):.2f}",
        f"{median(run.cost for run in runs):.2f}",
        f"{sum(run.refused for run in runs)}",
    ]
    return f"| {' | '.join(cells)} |"


def report(seeds: int) -> str:
    parts = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = {
            (scenario.title, mode, seed): pool.submit(simulated, mode, scenario, seed)
            for scenario in SCENARIOS
            for mode in MODES
            for seed in range(1, seeds + 1)
        }
        for scenario in SCENARIOS:
            lines = [f"### {scenario.title}", "", f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
            for mode in MODES:
                found = [runs[scenario.title, mode, seed].result() for seed in range(1, seeds + 1)]
                lines.append(line(mode, found))
            parts.append("\n".join([*lines, ""]))
            print(parts[-1], flush=True)
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.affinity", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the tables into this page as well")
    options = parser.parse_args()
    tables = report(options.seeds)
    if options.out:
        before, _, rest = options.out.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.out.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
