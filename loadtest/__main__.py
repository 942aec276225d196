"""The command `python -m loadtest`: flags, a run, a report and the exit code."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import uvloop

from loadtest.crew import Crew
from loadtest.drive import Result
from loadtest.events import Event, EventsUnknown, fetch_events
from loadtest.flags import Options, parse_flags
from loadtest.measure import Sample
from loadtest.open_files import allow_many
from loadtest.page import render_page
from loadtest.part import Part, ignore, render_sample
from loadtest.report import render_plan, render_table
from loadtest.summary import Summary, summarise
from loadtest.worker import Progress

INTERRUPTED = 128 + signal.SIGINT
SHOW_S = 1.0


def main(arguments: Sequence[str]) -> int:
    options = parse_flags(arguments)
    print(render_plan(options.target, options.load), flush=True)
    allow_many()
    summary = uvloop.run(run(options))
    print("\n" + render_table(summary))
    if options.json_file is not None:
        Path(options.json_file).write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    if options.html_file is not None:
        Path(options.html_file).write_text(draw_page(options, summary), encoding="utf-8")
    return choose_exit_code(summary, options)


def draw_page(options: Options, summary: Summary) -> str:
    """With what the cluster did, if an admin key is known."""
    plan, note = render_plan(options.target, options.load), ""
    events: Sequence[Event] = ()
    if options.admin_key is not None:
        until_ms = summary.began_at_ms + 1000 * (summary.elapsed_s + 1)
        try:
            events = fetch_events(options.target.urls[0], options.admin_key, summary.began_at_ms, until_ms)
        except EventsUnknown as error:
            note = str(error)
            print(f"\nEvents of the cluster are not on the page: {note}", file=sys.stderr)
    return render_page(plan, summary, events, note)


async def run(options: Options) -> Summary:
    """Ends early, with what has been measured so far, at SIGINT or SIGTERM."""
    result, is_interrupted = await (_run_crew(options) if options.processes > 1 else _run_alone(options))
    return summarise(options.target, options.load, result, is_interrupted=is_interrupted)


async def _run_alone(options: Options) -> tuple[Result, bool]:
    async with Part(options, _print_sample if options.is_verbose else ignore) as part:

        async def drive() -> None:
            await part.warm_up()
            await part.measure()

        def progress() -> Progress:
            return Progress(part.run.measurement.ok, part.run.measurement.failed, part.run.unfinished)

        is_interrupted = await _is_interrupted(asyncio.create_task(drive()), progress)
    return part.run.result(), is_interrupted


async def _run_crew(options: Options) -> tuple[Result, bool]:
    crew = Crew(options)
    is_interrupted = await _is_interrupted(asyncio.create_task(crew.drive()), lambda: crew.progress)
    return crew.result(), is_interrupted


async def _is_interrupted(driving: asyncio.Task[None], progress: Callable[[], Progress]) -> bool:
    showing = asyncio.create_task(_show(progress))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, driving.cancel)
    try:
        await driving
    except asyncio.CancelledError:
        return True
    finally:
        showing.cancel()
    return False


def choose_exit_code(summary: Summary, options: Options) -> int:
    if summary.is_interrupted:
        return INTERRUPTED
    kept_ratio = 1.0 if summary.goodput is None else summary.goodput.kept_ratio
    if options.slo_under_ratio is not None and kept_ratio < options.slo_under_ratio:
        return 1
    if options.fail_over_ratio is None:
        return 0 if summary.ok or summary.given_up else 1
    return 1 if summary.failure_ratio > options.fail_over_ratio else 0


async def _show(progress: Callable[[], Progress]) -> None:
    """One line a second, rewritten in place, if a person watches."""
    if not sys.stderr.isatty():
        return
    seconds, before = 0, Progress()
    while True:
        await asyncio.sleep(SHOW_S)
        seconds, now = seconds + 1, progress()
        rate = (now.ok + now.failed - before.ok - before.failed) / SHOW_S
        line = f"{seconds} s: {now.ok:,} ok, {now.failed:,} failed, {now.under_way:,} under way, {rate:,.0f}/s"
        print(f"\r{line:<78}\r", end="", file=sys.stderr, flush=True)
        before = now


def _print_sample(sample: Sample) -> None:
    print(render_sample(sample))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
