"""The command `python -m loadtest.trials.chaos SCENARIO`, also `make chaos`: what clients see and what the cluster does
while something goes wrong. Starts its own cluster on this machine and ends it; `--plot` draws the run.
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

from loadtest.cluster.local_cluster import SmallCluster
from loadtest.cluster.replica_decisions import Deed, Deeds, read_counts
from loadtest.cluster.scenario import BadScenario, Scenario, Step, names, read_scenario
from loadtest.load.crew import Crew
from loadtest.load.flags import parse_flags
from loadtest.load.measure import Moment
from loadtest.report.charts import Mark
from loadtest.report.cluster_events import Event, EventsUnknown, fetch_events
from loadtest.report.html import draw_run, mark_event
from loadtest.report.output import Paper
from loadtest.report.summary import Summary, summarise
from loadtest.report.text import render_goodput, render_head, render_ms

POLL_S = 0.5
STEP_COLOUR = "#1a1a1a"
EVENTS_SHOWN = 24


class Course(msgspec.Struct):
    """What was done and what the cluster told of itself, each with the time on the wall in ms."""

    done: list[tuple[float, Step]] = []
    events: list[Event] = []
    deeds: Deeds = msgspec.field(default_factory=Deeds)
    moments: dict[int, Moment] = {}
    """What clients saw, by the second of the run."""


async def run(scenario: Scenario, cluster: SmallCluster) -> tuple[Summary, Course]:
    """Ctrl-C ends the load early; what was measured until then is reported."""
    options = parse_flags(["-url", ",".join(cluster.urls), "-failover", *shlex.split(scenario.load)])
    course, crew, is_interrupted = Course(), Crew(options), False
    driving = asyncio.create_task(crew.drive())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, driving.cancel)
    stepping = asyncio.create_task(_take_steps(scenario, cluster, crew, course))
    meanwhile = [stepping, asyncio.create_task(_watch(cluster, course))]
    driving.add_done_callback(lambda _: stepping.cancel())
    try:
        await asyncio.wait([driving, stepping], return_when=asyncio.FIRST_EXCEPTION)
        is_interrupted = driving.cancelled()
        for each in (driving, stepping):
            if each.done() and not each.cancelled():
                each.result()  # raises what went wrong
    finally:
        for task in (driving, *meanwhile):
            task.cancel()
        await asyncio.wait([driving, *meanwhile])
    await asyncio.to_thread(_look, cluster, course)
    result = crew.result()
    course.moments = result.measurement.moments
    return summarise(options.target, options.load, result, is_interrupted=is_interrupted), course


async def _take_steps(scenario: Scenario, cluster: SmallCluster, crew: Crew, course: Course) -> None:
    began_s = await crew.began_s
    for step in sorted(scenario.steps, key=lambda step: step.at_s):
        await asyncio.sleep(max(began_s + step.at_s - time.monotonic(), 0.0))
        course.done.append((1000 * time.time(), step))
        print(f"  {step.at}: {step.says}", file=sys.stderr, flush=True)
        await asyncio.to_thread(_take, step, cluster)


def _take(step: Step, cluster: SmallCluster) -> None:
    if step.provider is not None:
        cluster.change(step.provider, step.behaviour)
    if step.kill is not None:
        cluster.kill(step.kill)
    if step.start is not None:
        cluster.start(step.start)


async def _watch(cluster: SmallCluster, course: Course) -> None:
    """Again and again: a store that dies takes its events with it, a replica its counts."""
    while True:
        await asyncio.to_thread(_look, cluster, course)
        await asyncio.sleep(POLL_S)


def _look(cluster: SmallCluster, course: Course) -> None:
    for url in cluster.urls:
        with contextlib.suppress(EventsUnknown):
            found = fetch_events([url], None, 0, sys.maxsize)
            course.events += [event for event in found if event not in course.events]
        counts = read_counts(url)
        if counts is not None:
            course.deeds.see(url, counts, 1000 * time.time())


def render(scenario: Scenario, summary: Summary, course: Course) -> Iterator[str]:
    """Two tables in Markdown: what the clients saw in each part of the run, what the cluster did."""
    began_ms = summary.began_at_ms
    yield f"## {scenario.title}\n"
    yield f"`python -m loadtest {scenario.load}`, {scenario.replicas} replicas. {next(render_head(summary))}."
    yield "".join(f"{line}.\n" for line in render_goodput(summary))
    yield "| from | what happens | answers | failed | p50 | worst second's p99 | served by |"
    yield "|---|---|---|---|---|---|---|"
    begins = [(0.0, "all is well"), *(((at_ms - began_ms) / 1000, step.says) for at_ms, step in course.done)]
    for (begin_s, says), (end_s, _) in zip(begins, [*begins[1:], (float("inf"), "")], strict=True):
        moments = [moment for at_s, moment in sorted(course.moments.items()) if begin_s <= at_s + 0.5 < end_s]
        yield f"| {begin_s:.1f} s | {_escape(says)} | {' | '.join(_cells(moments))} |"
    if summary.failures:
        told = ", ".join(f"{count} × {name}" for name, count in summary.failures.items())
        yield f"\nWhat failed: {told}."
    for name, group in summary.groups.get("priority", {}).items():
        yield f"\nOf priority {name}: {group.ok:,} answers, {group.failed:,} failed."
    yield "\n| after | what the cluster did |\n|---|---|"
    acts = sorted([*_events_told(summary, course), *_deeds_told(summary, course)])
    for at_s, text in acts[:EVENTS_SHOWN]:
        yield f"| {at_s:.1f} s | {_escape(text)} |"
    if len(acts) > EVENTS_SHOWN:
        yield f"| | and {len(acts) - EVENTS_SHOWN} more |"
    if not acts:
        yield "| | nothing: no breaker moved, nobody was shed or had to wait, and no provider's call failed |"
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
    """As a cell of a table in Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")


def _events(summary: Summary, course: Course) -> list[Event]:
    began_ms, ends_ms = summary.began_at_ms, summary.began_at_ms + 1000 * summary.elapsed_s
    return [event for event in course.events if began_ms <= event.at_ms <= ends_ms]


def _deeds(summary: Summary, course: Course) -> list[Deed]:
    # What the last calls led to is counted by the look after them.
    return course.deeds.between(summary.began_at_ms, summary.began_at_ms + 1000 * (summary.elapsed_s + 2 * POLL_S))


def _events_told(summary: Summary, course: Course) -> Iterator[tuple[float, str]]:
    for event in _events(summary, course):
        yield (event.at_ms - summary.began_at_ms) / 1000, event.render()


def _deeds_told(summary: Summary, course: Course) -> Iterator[tuple[float, str]]:
    for deed in _deeds(summary, course):
        first_s, last_s = (round((at_ms - summary.began_at_ms) / 1000, 1) for at_ms in (deed.first_ms, deed.last_ms))
        yield first_s, f"{deed.render()}, until {last_s:.1f} s" if last_s > first_s else deed.render()


def draw(scenario: Scenario, summary: Summary, course: Course) -> str:
    began_ms = summary.began_at_ms
    marks = [Mark((at_ms - began_ms) / 1000, step.says, STEP_COLOUR) for at_ms, step in course.done]
    marks += [mark_event(event, began_ms) for event in _events(summary, course)]
    marks += [Mark(at_s, text) for at_s, text in _deeds_told(summary, course)]
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
            parser.error("two scenarios have one name, and would have one picture")
    except BadScenario as error:
        parser.error(str(error))
    if options.plot is not None and not os.access(options.plot, os.W_OK | os.X_OK):
        parser.error(f"--plot: nothing can be written in {options.plot}")
    for scenario in scenarios.values():
        parse_flags(shlex.split(scenario.load))  # ends here if one is wrong, before anything is started
    paper, code = Paper(), 0
    for name, scenario in scenarios.items():
        with tempfile.TemporaryDirectory() as folder, SmallCluster(scenario, Path(folder)) as cluster:
            summary, course = uvloop.run(run(scenario, cluster))
        paper.print("\n".join(render(scenario, summary, course)))
        if options.plot is not None:
            code = max(
                code, _plot(options.plot / f"chaos-{name}.svg", scenario.title, draw(scenario, summary, course), paper)
            )
        paper.print("")
        if summary.is_interrupted or paper.is_lost:
            return 128 + signal.SIGINT
    return code


def _plot(file: Path, title: str, picture: str, paper: Paper) -> int:
    """The exit code: what has been printed stands, and further scenarios may have room."""
    try:
        file.write_text(picture, encoding="utf-8")
    except OSError as error:
        print(f"The picture could not be written: {error}", file=sys.stderr)
        return 1
    paper.print(f"\n![{title}]({file.name})")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # while a cluster started or ended
        sys.exit(128 + signal.SIGINT)
