"""`make capacity`: how much load the load generator itself can make, against servers that do next to nothing.

Plain requests go to nginx, which answers from its configuration (Debian: nginx-light); streams go to the stream source.
Server and load share the machine's cores, so the figures are the share of the load.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loadtest.cluster.programs import NGINX, free_port, wait_for

CHUNKS_PER_S = 2
# The limits of one process of the load test; a machine's ports allow about as many streams to one address.
SECONDS_MOST, RATE_MOST, STREAMS_MOST = 600, 100_000, 25_000


@contextlib.contextmanager
def _serving(port: int, *command: str) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _measure(folder: Path, url: str, *flags: str) -> dict[str, Any]:
    file = folder / "report.json"
    command = [sys.executable, "-P", "-m", "loadtest", "-url", url, *flags, "-json", str(file), "-fail-over", "1"]
    run = subprocess.run(command, stdout=subprocess.DEVNULL)
    if run.returncode:  # it has printed the reason
        raise SystemExit(run.returncode)
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def _print_row(what: str, processes: int, report: dict[str, Any], figure: str) -> None:
    latency, late = report["latency"], report["late"]
    took = f"{latency['p50_ms']:.1f} / {latency['p99_ms']:.1f} ms"
    behind = f"{late['p99_ms']:.1f} ms" if late else "–"
    cells = (what, processes, figure, report["failed"], took, behind, f"{report['cpu_ratio'] * processes:.0%}")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _measure_plain(folder: Path, seconds: float, rate: float) -> None:
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port))
    with _serving(port, "nginx", "-c", str(file), "-g", "daemon off;") as url:
        for processes in (1, 2, 3):
            some = ["-duration", f"{seconds}s", "-warmup", "1s", "-processes", str(processes)]
            closed = _measure(folder, url, "-concurrent", "64", *some)
            _print_row("closed loop, 64 callers", processes, closed, f"{closed['ok_per_s']:,.0f} requests/s")
            arriving = _measure(folder, url, "-rps", f"{rate:g}", *some)
            _print_row(f"open loop, {rate:,.0f}/s", processes, arriving, f"{arriving['ok_per_s']:,.0f} requests/s")


def _measure_streams(folder: Path, seconds: float, streams: int) -> None:
    port, chunks = free_port(), round(seconds * CHUNKS_PER_S)
    options = ("--port", str(port), "--rate", str(CHUNKS_PER_S))
    command = (sys.executable, "-P", "-m", "loadtest.bench.stream_source", *options)
    with _serving(port, *command) as url:
        flags = ["-stream", "-max-tokens", str(chunks), "-concurrent", str(streams), "-requests", str(streams)]
        report = _measure(folder, url, *flags, "-processes", "2")
        gap = report["gap"]
        figure = f"{report['ok']:,} streams at once, gaps {gap['p50_ms']:.0f} / {gap['p99_ms']:.0f} ms"
        _print_row(f"streams of {CHUNKS_PER_S} chunks/s", 2, report, figure)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.capacity", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--rate", type=float, default=20_000, help="requests per second of the open loop")
    parser.add_argument("--streams", type=int, default=5000)
    options = parser.parse_args(arguments)
    for flag, value, most in (
        ("--seconds", options.seconds, SECONDS_MOST),
        ("--rate", options.rate, RATE_MOST),
        ("--streams", options.streams, STREAMS_MOST),
    ):
        if not 1 <= value <= most:
            parser.error(f"{flag}: from 1 to {most:,}")
    if not shutil.which("nginx"):
        raise SystemExit("the capacity of the load generator is measured against nginx (Debian: nginx-light)")
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before\n")
    print("| load | processes | done | failed | latency p50 / p99 | behind plan p99 | CPU of the load |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        _measure_plain(Path(folder), options.seconds, options.rate)
        _measure_streams(Path(folder), options.seconds, options.streams)


if __name__ == "__main__":
    main(sys.argv[1:])
