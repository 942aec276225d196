"""The command `python -m loadtest`: flags, a run, a report and the exit code."""

import asyncio
import contextlib
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from loadtest.client import Client
from loadtest.drive import Run
from loadtest.flags import Options, parse_flags
from loadtest.measure import Sample
from loadtest.report import render_plan, render_table
from loadtest.summary import Summary, summarise

INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str]) -> int:
    options = parse_flags(arguments)
    print(render_plan(options.target, options.load), flush=True)
    _allow_many_connections()
    summary = uvloop.run(run(options))
    print("\n" + render_table(summary))
    if options.json_file is not None:
        Path(options.json_file).write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    return choose_exit_code(summary, options)


async def run(options: Options) -> Summary:
    """Ends early, with what has been measured so far, at SIGINT or SIGTERM."""
    load = options.load
    async with Client(options.target, load.concurrent, load.seed) as client:
        warming = Run(client.call, _ignore)
        measured = Run(client.call, _print_sample if options.is_verbose else _ignore, options.slo)

        async def drive() -> None:
            if options.warmup_s:
                await warming.drive(msgspec.structs.replace(load, duration_s=options.warmup_s, requests=None))
            await measured.drive(load)

        driving = asyncio.create_task(drive())
        progress = asyncio.create_task(_show_progress(measured))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, driving.cancel)
        try:
            await driving
        except asyncio.CancelledError:
            is_interrupted = True
        else:
            is_interrupted = False
        progress.cancel()
    return summarise(options.target, load, measured.result(), is_interrupted=is_interrupted)


def choose_exit_code(summary: Summary, options: Options) -> int:
    if summary.is_interrupted:
        return INTERRUPTED
    kept_ratio = 1.0 if summary.goodput is None else summary.goodput.kept_ratio
    if options.slo_under_ratio is not None and kept_ratio < options.slo_under_ratio:
        return 1
    if options.fail_over_ratio is None:
        return 0 if summary.ok or summary.given_up else 1
    return 1 if summary.failure_ratio > options.fail_over_ratio else 0


async def _show_progress(run: Run) -> None:
    """One line a second, rewritten in place, if a person watches."""
    if not sys.stderr.isatty():
        return
    while True:
        await asyncio.sleep(1)
        measured = run.measurement
        line = f"{measured.ok:,} ok, {measured.failed:,} failed, {run.unfinished:,} under way"
        print(f"\r{line:<60}\r", end="", file=sys.stderr, flush=True)


def _print_sample(sample: Sample) -> None:
    where = sample.deployment or sample.url
    ending = sample.failure or ("given up" if sample.is_given_up else "ok")
    print(f"{ending}  {sample.total_ms:.1f} ms  {sample.tokens} tokens  {where}")


def _ignore(_sample: Sample) -> None:
    pass


def _allow_many_connections() -> None:
    """Open files up to the hard limit: one for each call on the wire."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses a soft limit of "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
