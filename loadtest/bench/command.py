"""`make bench`: the figures of the README. One core runs the gateway; store, instant upstream and load share another.

It needs wrk and nginx (Debian: wrk, nginx-light) and two cores. With `--yardstick DIR` a second gateway is measured in
turns with ours, so that a noisy machine disturbs both alike; DIR holds `app.py`, an ASGI app that takes UPSTREAM and
REDIS_URL from its environment.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from loadtest.bench.domains import bench_domains
from loadtest.bench.leases import bench_leases
from loadtest.bench.parent import bench_parent
from loadtest.bench.processes import bench_processes
from loadtest.bench.rig import RATE, Bench, cpu_s, rss_mib
from loadtest.bench.streams import bench_streams
from loadtest.cluster.programs import EMPTY_CALL


def bench_throughput(bench: Bench, options: argparse.Namespace) -> None:
    print("| requests/s | of them per turn | yardstick | ratio |\n|---|---|---|---|")
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(options.turns):
        with bench.gateway() as (url, _):
            bench.throughput(url, 2)
            ours.append(bench.throughput(url, options.seconds))
        if options.yardstick:
            with bench.yardstick(options.yardstick) as (url, _):
                bench.throughput(url, 2)
                theirs.append(bench.throughput(url, options.seconds))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=False)) if theirs else 0
    turns = " ".join(f"{value:.0f}" for value in ours)
    against = f"{statistics.median(theirs):.0f} | {ratio:.2f}" if theirs else "– | –"
    print(f"| {statistics.median(ours):.0f} | {turns} | {against} |", flush=True)


def bench_latency(bench: Bench, seconds: float) -> None:
    print(f"\n| {RATE} requests/s | added p50 | overhead p50 | p99 | decision p50 | p99 |\n|---|---|---|---|---|---|")
    for arrivals in ("constant", "poisson"):
        with bench.gateway() as (url, _):
            direct, through = (bench.at_rate(at, arrivals, seconds) for at in (bench.direct, url))
        figures = [through["sent"]["p50_ms"] - direct["sent"]["p50_ms"]]
        figures += [through[part][share] for part in ("overhead", "decision") for share in ("p50_ms", "p99_ms")]
        print(f"| {arrivals} | {' | '.join(f'{figure:.2f} ms' for figure in figures)} |", flush=True)


def bench_memory(bench: Bench, requests: int) -> None:
    with bench.gateway() as (url, pid):
        urllib.request.urlopen(urllib.request.Request(url, EMPTY_CALL, {"content-type": "application/json"})).read()
        readings = []
        for _ in range(4):
            done = 0.0
            while done < requests / 4:
                done += 5 * bench.throughput(url, 5)
            readings.append(rss_mib(pid))
        time.sleep(1.2)  # until the last settles have arrived
        record, window = (
            int(bench.store_command("MEMORY", "USAGE", f"pllm:{{default}}:{key}:gpt-4-a")[1:].strip() or 0)
            for key in ("deployment", "window")
        )
    shown = ", ".join(f"{value:.0f}" for value in readings)
    print(f"\nReplica RSS after each quarter of {requests} requests: {shown} MiB")
    print(f"Store memory of one deployment after them: {record + window} bytes; of an idle one, whose window has")
    print(f"expired 70 s after its last call: {record} bytes")


def bench_rejections(bench: Bench, seconds: float) -> None:
    """Measures the cost of a served and of a shed request. For the latter, a foreign lease fills the cluster."""
    print("\n| CPU per served request | CPU per shed request | share |\n|---|---|---|")
    with bench.gateway() as (url, pid):
        bench.throughput(url, 2)
        before = cpu_s(pid)
        count = seconds * bench.throughput(url, seconds)
        served_us = 1e6 * (cpu_s(pid) - before) / count
    with bench.gateway(max_active=1) as (url, pid):
        bench.store_command("ZADD", "pllm:{default}:leases", "9999999999999", "bench.plain.1")
        bench.refusals(url, 2)
        before = cpu_s(pid)
        count = bench.refusals(url, seconds)
        shed_us = 1e6 * (cpu_s(pid) - before) / count
        bench.store_command("DEL", "pllm:{default}:leases")
    print(f"| {served_us:.0f} µs | {shed_us:.0f} µs | {100 * shed_us / served_us:.0f} % |", flush=True)


PARTS: dict[str, Callable[[Bench, argparse.Namespace], None]] = {
    "throughput": bench_throughput,
    "latency": lambda bench, options: bench_latency(bench, 3 * options.seconds),
    "streams": lambda bench, options: bench_streams(bench, options.streams, 2.5 * options.seconds),
    "rejections": lambda bench, options: bench_rejections(bench, options.seconds),
    "processes": lambda bench, options: bench_processes(bench, options.turns, options.seconds),
    "domains": lambda bench, options: bench_domains(bench, options.turns, options.seconds),
    "leases": lambda bench, options: bench_leases(bench, options.turns, options.seconds),
    "memory": lambda bench, options: bench_memory(bench, options.requests),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--yardstick", type=Path, metavar="DIR")
    parser.add_argument("--parent", type=Path, metavar="DIR", help="another checkout, in turns with this one")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--only", choices=PARTS, nargs="+", help="parts to run")
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "nginx", "taskset") if not shutil.which(tool)]
    if missing or (os.cpu_count() or 1) < 2:
        raise SystemExit(
            f"the bench needs two cores and {', '.join(missing) or 'nothing else'} (Debian: wrk, nginx-light)"
        )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        with bench.environment():
            if options.parent:
                bench_parent(bench, options.parent.resolve(), options.turns, options.seconds)
                return
            for name in options.only or PARTS:
                PARTS[name](bench, options)
