"""The command `python -m loadtest`: flags, a run, a report and the exit code.

When standard output can no longer be written, the run ends as it does at Ctrl-C: its output has no reader any more.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import uvloop

from loadtest.load.crew import Crew
from loadtest.load.flags import Options, parse_flags
from loadtest.load.open_files import allow_many
from loadtest.load.runner import Result
from loadtest.load.share import ProcessShare, ignore, render_sample
from loadtest.load.worker import Progress
from loadtest.report.cluster_events import Event, EventsUnknown, fetch_events
from loadtest.report.html import render_page
from loadtest.report.output import Output, open_standard_streams
from loadtest.report.summary import Summary, summarise
from loadtest.report.text import render_plan, render_table

INTERRUPTED = 128 + signal.SIGINT
SHOW_S = 1.0


def main(arguments: Sequence[str]) -> int:
    open_standard_streams()
    options = parse_flags(arguments)
    output = Output()
    output.print(render_plan(options.target, options.load))
    if output.is_lost:
        return INTERRUPTED
    allow_many()
    summary = uvloop.run(run(options, output))
    output.print("\n" + render_table(summary))
    is_kept = _keep(options, summary)
    return choose_exit_code(summary, options) if is_kept or summary.is_interrupted else 1


def _keep(options: Options, summary: Summary) -> bool:
    """Writes the requested reports. Returns whether all were written."""
    reports: list[tuple[str | None, Callable[[], bytes]]] = [
        (options.json_file, lambda: msgspec.json.format(msgspec.json.encode(summary)) + b"\n"),
        (options.html_file, lambda: draw_page(options, summary).encode()),
    ]
    is_kept = True
    for file, render in reports:
        if file is not None:
            try:
                Path(file).write_bytes(render())
            except OSError as error:
                print(f"\nThe report could not be written: {error}", file=sys.stderr)
                is_kept = False
    return is_kept


def draw_page(options: Options, summary: Summary) -> str:
    """Returns the HTML page, with the events of the cluster if there is an admin key."""
    plan, note = render_plan(options.target, options.load), ""
    events: Sequence[Event] = ()
    if options.admin_key is not None:
        until_ms = summary.began_at_ms + 1000 * (summary.elapsed_s + 1)
        try:
            events = fetch_events(options.target.urls, options.admin_key, summary.began_at_ms, until_ms)
        except EventsUnknown as error:
            note = str(error)
            print(f"\nEvents of the cluster are not on the page: {note}", file=sys.stderr)
    return render_page(plan, summary, events, note)


async def run(options: Options, output: Output) -> Summary:
    """Runs the load and returns its summary. SIGINT or SIGTERM ends the run early and keeps what was measured."""
    run_load = _run_crew if options.processes > 1 else _run_alone
    result, is_interrupted = await run_load(options, output)
    return summarise(options.target, options.load, result, is_interrupted=is_interrupted)


async def _run_alone(options: Options, output: Output) -> tuple[Result, bool]:
    async with ProcessShare(
        options, (lambda sample: output.print(render_sample(sample))) if options.is_verbose else ignore
    ) as share:

        async def run_share() -> None:
            await share.warm_up()
            await share.measure()

        def progress() -> Progress:
            return Progress(share.runner.measurement.ok, share.runner.measurement.failed, share.runner.unfinished)

        is_interrupted = await _is_interrupted(asyncio.create_task(run_share()), progress, output)
    return share.runner.result(), is_interrupted


async def _run_crew(options: Options, output: Output) -> tuple[Result, bool]:
    crew = Crew(options, output.print)
    is_interrupted = await _is_interrupted(asyncio.create_task(crew.run()), lambda: crew.progress, output)
    return crew.result(), is_interrupted


async def _is_interrupted(running: asyncio.Task[None], progress: Callable[[], Progress], output: Output) -> bool:
    showing = asyncio.create_task(_show(progress))
    output.when_lost = running.cancel
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return True
    finally:
        showing.cancel()
    return False


def choose_exit_code(summary: Summary, options: Options) -> int:
    if summary.is_interrupted:
        return INTERRUPTED
    if summary.missing_processes or not summary.requests:
        return 1
    kept_ratio = 1.0 if summary.goodput is None else summary.goodput.kept_ratio
    if options.slo_under_ratio is not None and kept_ratio < options.slo_under_ratio:
        return 1
    if options.fail_over_ratio is None:
        return 0 if summary.ok or summary.given_up else 1
    return 1 if summary.failure_ratio > options.fail_over_ratio else 0


async def _show(progress: Callable[[], Progress]) -> None:
    """Rewrites one line a second in place, if standard error is a terminal."""
    if not os.isatty(2):
        return
    seconds, before = 0, Progress()
    while True:
        await asyncio.sleep(SHOW_S)
        seconds, now = seconds + 1, progress()
        rate = (now.ok + now.failed - before.ok - before.failed) / SHOW_S
        line = f"{seconds} s: {now.ok:,} ok, {now.failed:,} failed, {now.under_way:,} in progress, {rate:,.0f}/s"
        print(f"\r{line:<78}\r", end="", file=sys.stderr, flush=True)
        before = now
