"""`make affinity`: what soft affinity gains and costs, simulated and over the wire, as tables: a report, not a test."""

import argparse
import asyncio
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from shared_state.embedded import EmbeddedStore
from tests import affinity_wire
from tests.support.conversations import PINNED, Conversations, Result, Scenario, turns_of

MODES = {
    "off": "`off` (adaptive alone)",
    "session": "`session`",
    "first-reads": "`session`, if first turns read every pin",
    "prefix": "`prefix`",
    "hash": "consistent hash",
    "round-robin": "round robin",
}
SCENARIOS = (
    Scenario(title="Steady"),
    Scenario(title="One of four out for a minute", out=(200, 260)),
    Scenario(title="From three to four deployments", joins_ms=240_000),
    Scenario(title="Skewed sessions (Zipf)", zipf=0.8),
    Scenario(title="Identical single requests", singles_per_s=6),
    Scenario(title="Conversations that begin alike", beginnings=100),
)
PARTS = ("simulated", "wire")
BEGIN, END = "<!-- make affinity writes {} from here -->", "<!-- to here -->"
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


def modes_of(scenario: Scenario) -> list[str]:
    return [mode for mode in MODES if mode != "first-reads" or scenario.has_beginnings]


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
        f"{max(run.fled for run in runs)} times" if mode in PINNED else "",
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
            for mode in modes_of(scenario)
            for seed in range(1, seeds + 1)
        }
        for scenario in SCENARIOS:
            lines = [f"#### {scenario.title}", "", f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
            for mode in modes_of(scenario):
                found = [runs[scenario.title, mode, seed].result() for seed in range(1, seeds + 1)]
                lines.append(line(mode, found))
            parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def write(page: Path, part: str, tables: str) -> None:
    begin = BEGIN.format(part)
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found:
        raise SystemExit(f"{page} has no line {begin}")
    page.write_text(f"{before}{begin}\n\n{tables}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.affinity", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, help="the simulation, or the run over the wire")
    parser.add_argument("--out", type=Path, help="write the tables into this page as well")
    options = parser.parse_args()
    for part in (options.only,) if options.only else PARTS:
        tables = report(options.seeds) if part == "simulated" else affinity_wire.report()
        print(tables, flush=True)
        if options.out:
            write(options.out, part, tables)


if __name__ == "__main__":
    main()
