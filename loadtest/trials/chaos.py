"""The command `python -m loadtest.trials.chaos SCENARIO`, also `make chaos`: the results of clients and the events of
the cluster during faults. Starts its own cluster on this machine and ends it; `--plot` draws the run.
"""

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import uvloop

from loadtest.cluster.local_cluster import LocalCluster
from loadtest.cluster.replica_decisions import Decision, Decisions, read_counts
from loadtest.cluster.scenario import BadScenario, Scenario, Step, names, read_scenario
from loadtest.load.crew import Crew
from loadtest.load.flags import parse_flags
from loadtest.load.measure import Moment
from loadtest.report.charts import Mark
from loadtest.report.cluster_events import Event, EventsUnknown, fetch_events
from loadtest.report.html import draw_run, mark_event
from loadtest.report.output import Output
from loadtest.report.summary import Summary, summarise
from loadtest.report.text import render_goodput, render_head, render_ms

POLL_S = 0.5
STEP_COLOUR = "#1a1a1a"
EVENTS_SHOWN = 24


class Record(msgspec.Struct):
    """The steps that were taken and the events of the cluster, each with its wall clock time in ms."""

    done: list[tuple[float, Step]] = []
    events: list[Event] = []
    decisions: Decisions = msgspec.field(default_factory=Decisions)
    moments: dict[int, Moment] = {}
    """Results of clients by the second of the run."""


async def run(scenario: Scenario, cluster: LocalCluster) -> tuple[Summary, Record]:
    """Runs a scenario. Ctrl-C ends the load early and keeps what was measured."""
    options = parse_flags(["-url", ",".join(cluster.urls), "-failover", *shlex.split(scenario.load)])
    record, crew, is_interrupted = Record(), Crew(options), False
    running = asyncio.create_task(crew.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    stepping = asyncio.create_task(_take_steps(scenario, cluster, crew, record))
    meanwhile = [stepping, asyncio.create_task(_watch(cluster, record))]
    running.add_done_callback(lambda _: stepping.cancel())
    try:
        await asyncio.wait([running, stepping], return_when=asyncio.FIRST_EXCEPTION)
        is_interrupted = running.cancelled()
        for each in (running, stepping):
            if each.done() and not each.cancelled():
                each.result()  # raises its exception
    finally:
        for task in (running, *meanwhile):
            task.cancel()
        await asyncio.wait([running, *meanwhile])
    await asyncio.to_thread(_read, cluster, record)
    result = crew.result()
    record.moments = result.measurement.moments
    return summarise(options.target, options.load, result, is_interrupted=is_interrupted), record


async def _take_steps(scenario: Scenario, cluster: LocalCluster, crew: Crew, record: Record) -> None:
    began_s = await crew.began_s
    for step in sorted(scenario.steps, key=lambda step: step.at_s):
        await asyncio.sleep(max(began_s + step.at_s - time.monotonic(), 0.0))
        record.done.append((1000 * time.time(), step))
        print(f"  {step.at}: {step.says}", file=sys.stderr, flush=True)
        await asyncio.to_thread(_take, step, cluster)


def _take(step: Step, cluster: LocalCluster) -> None:
    if step.provider is not None:
        cluster.change(step.provider, step.behaviour)
    if step.kill is not None:
        cluster.kill(step.kill)
    if step.start is not None:
        cluster.start(step.start)


async def _watch(cluster: LocalCluster, record: Record) -> None:
    """Reads repeatedly, because events end with their store and counts with their replica."""
    while True:
        await asyncio.to_thread(_read, cluster, record)
        await asyncio.sleep(POLL_S)


def _read(cluster: LocalCluster, record: Record) -> None:
    for url in cluster.urls:
        with contextlib.suppress(EventsUnknown):
            events = fetch_events([url], None, 0, sys.maxsize)
            record.events += [event for event in events if event not in record.events]
        counts = read_counts(url)
        if counts is not None:
            record.decisions.see(url, counts, 1000 * time.time())


def render(scenario: Scenario, summary: Summary, record: Record) -> Iterator[str]:
    """Yields two Markdown tables: the results of clients in each part of the run, and what the cluster did."""
    began_ms = summary.began_at_ms
    yield f"## {scenario.title}\n"
    yield f"`python -m loadtest {scenario.load}`, {scenario.replicas} replicas. {next(render_head(summary))}."
    yield "".join(f"{line}.\n" for line in render_goodput(summary))
    yield "| from | what happens | answers | failed | p50 | worst second's p99 | served by |"
    yield "|---|---|---|---|---|---|---|"
    begins = [(0.0, "no fault"), *(((at_ms - began_ms) / 1000, step.says) for at_ms, step in record.done)]
    for (begin_s, says), (end_s, _) in zip(begins, [*begins[1:], (float("inf"), "")], strict=True):
        moments = [moment for at_s, moment in sorted(record.moments.items()) if begin_s <= at_s + 0.5 < end_s]
        yield f"| {begin_s:.1f} s | {_escape(says)} | {' | '.join(_cells(moments))} |"
    if summary.failures:
        failures = ", ".join(f"{count} × {name}" for name, count in summary.failures.items())
        yield f"\nWhat failed: {failures}."
    for name, group in summary.groups.get("priority", {}).items():
        yield f"\nOf priority {name}: {group.ok:,} answers, {group.failed:,} failed."
    yield "\n| after | what the cluster did |\n|---|---|"
    acts = sorted([*_shown_events(summary, record), *_shown_decisions(summary, record)])
    for at_s, text in acts[:EVENTS_SHOWN]:
        yield f"| {at_s:.1f} s | {_escape(text)} |"
    if len(acts) > EVENTS_SHOWN:
        yield f"| | and {len(acts) - EVENTS_SHOWN} more |"
    if not acts:
        yield "| | nothing: no breaker moved, no request was shed or queued, and no provider call failed |"
    if scenario.note:
        yield f"\n{scenario.note}"


def _cells(moments: Sequence[Moment]) -> Iterator[str]:
    whole = Moment()
    for moment in moments:
        whole.merge(moment)
    yield f"{whole.ok:,}"
    yield f"{whole.failed:,}"
    yield render_ms(whole.ok_total.at(0.5)) if whole.ok else "–"
    yield render_ms(max(moment.ok_total.at(0.99) for moment in moments)) if whole.ok else "–"
    served = whole.served.get("deployment", {})
    yield ", ".join(f"{name} {count / sum(served.values()):.0%}" for name, count in sorted(served.items())) or "–"


def _escape(text: str) -> str:
    """Escapes text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _events(summary: Summary, record: Record) -> list[Event]:
    began_ms, ends_ms = summary.began_at_ms, summary.began_at_ms + 1000 * summary.elapsed_s
    return [event for event in record.events if began_ms <= event.at_ms <= ends_ms]


def _decisions(summary: Summary, record: Record) -> list[Decision]:
    # The effects of the last calls are in the read after them.
    return record.decisions.between(summary.began_at_ms, summary.began_at_ms + 1000 * (summary.elapsed_s + 2 * POLL_S))


def _shown_events(summary: Summary, record: Record) -> Iterator[tuple[float, str]]:
    for event in _events(summary, record):
        yield (event.at_ms - summary.began_at_ms) / 1000, event.render()


def _shown_decisions(summary: Summary, record: Record) -> Iterator[tuple[float, str]]:
    for decision in _decisions(summary, record):
        first_s, last_s = (
            round((at_ms - summary.began_at_ms) / 1000, 1) for at_ms in (decision.first_ms, decision.last_ms)
        )
        yield first_s, f"{decision.render()}, until {last_s:.1f} s" if last_s > first_s else decision.render()


def draw(scenario: Scenario, summary: Summary, record: Record) -> str:
    began_ms = summary.began_at_ms
    marks = [Mark((at_ms - began_ms) / 1000, step.says, STEP_COLOUR) for at_ms, step in record.done]
    marks += [mark_event(event, began_ms) for event in _events(summary, record)]
    marks += [Mark(at_s, text) for at_s, text in _shown_decisions(summary, record)]
    return draw_run(scenario.title, summary, sorted(marks, key=lambda mark: mark.at_s))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.trials.chaos", description=__doc__)
    parser.add_argument("scenario", nargs="+", help=f"a file, or of: all, {', '.join(names())}")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="draws chaos-SCENARIO.svg there")
    options = parser.parse_args(arguments)
    chosen = names() if options.scenario == ["all"] else options.scenario
    try:
        scenarios = {Path(name).stem: read_scenario(name) for name in chosen}
        if len(scenarios) < len(chosen):
            parser.error("two scenarios have the same name, so their pictures would overwrite each other")
    except BadScenario as error:
        parser.error(str(error))
    if options.plot is not None and not os.access(options.plot, os.W_OK | os.X_OK):
        parser.error(f"--plot: {options.plot} is not a writable folder")
    for scenario in scenarios.values():
        parse_flags(shlex.split(scenario.load))  # exits if a flag is wrong, before any cluster starts
    output, code = Output(), 0
    for name, scenario in scenarios.items():
        with tempfile.TemporaryDirectory() as folder, LocalCluster(scenario, Path(folder)) as cluster:
            summary, record = uvloop.run(run(scenario, cluster))
        output.print("\n".join(render(scenario, summary, record)))
        if options.plot is not None:
            code = max(
                code, _plot(options.plot / f"chaos-{name}.svg", scenario.title, draw(scenario, summary, record), output)
            )
        output.print("")
        if summary.is_interrupted or output.is_lost:
            return 128 + signal.SIGINT
    return code


def _plot(file: Path, title: str, picture: str, output: Output) -> int:
    """Writes a picture. Returns the exit code: printed tables are kept, and further scenarios may succeed."""
    try:
        file.write_text(picture, encoding="utf-8")
    except OSError as error:
        print(f"The picture could not be written: {error}", file=sys.stderr)
        return 1
    output.print(f"\n![{title}]({file.name})")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # while a cluster starts or ends
        sys.exit(128 + signal.SIGINT)
