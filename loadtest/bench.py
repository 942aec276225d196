"""`make bench`: the figures of the README. One core runs the gateway; store, instant upstream and load share another.

Needs wrk and nginx (Debian: wrk, nginx-light) and two cores. With `--yardstick DIR` a second gateway is measured in
turn with ours, so that a noisy machine troubles both alike; DIR holds `app.py`, an ASGI app that takes UPSTREAM and
REDIS_URL from its environment.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from loadtest.bench_parts import EMPTY_CALL, MODEL, NGINX, WRK, config, free_port, store_binary, wait_for

GATEWAY_CORE, OTHER_CORE = "0", "1"
CONNECTIONS = 32
RATE = 500


class Bench:
    """The processes that are measured, each pinned to its core, and what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upstream = free_port()
        self.store = free_port()

    @contextlib.contextmanager
    def running(self, core: str, *command: str, port: int, **environment: str) -> Iterator[int]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["taskset", "-c", core, *command], stdout=log, stderr=log, env=os.environ | environment
            )
        try:
            wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[None]:
        nginx = self.folder / "nginx.conf"
        nginx.write_text(NGINX.format(folder=self.folder, port=self.upstream))
        upstream = self.running(OTHER_CORE, "nginx", "-c", str(nginx), "-g", "daemon off;", port=self.upstream)
        options = ("--port", str(self.store), "--save", "", "--dir", str(self.folder))
        with upstream, self.running(OTHER_CORE, store_binary(), *options, port=self.store):
            yield

    @contextlib.contextmanager
    def gateway(self, engine: str) -> Iterator[tuple[str, int]]:
        port = free_port()
        file = self.folder / "bench.yaml"
        file.write_text(config(self.store, self.upstream))
        command = (sys.executable, "-m", "gateway", "serve", "--config", str(file))
        with self.running(GATEWAY_CORE, *command, "--engine", engine, "--port", str(port), port=port) as pid:
            yield f"http://127.0.0.1:{port}/v1/chat/completions", pid

    @contextlib.contextmanager
    def yardstick(self, engine: str, app: Path) -> Iterator[tuple[str, int]]:
        port = free_port()
        bind = f"127.0.0.1:{port}"
        binary = str(Path(sys.executable).parent / engine)
        command = {
            "uvicorn": (binary, "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--port", str(port)),
            "hypercorn": (binary, "-k", "uvloop", "-b", bind),
        }[engine]
        environment = {
            "UPSTREAM": self.direct,
            "REDIS_URL": f"redis://127.0.0.1:{self.store}",
            "PYTHONPATH": str(app),
        }
        with self.running(GATEWAY_CORE, *command, "app:app", port=port, **environment) as pid:
            yield f"http://127.0.0.1:{port}/v1/chat/completions", pid

    @property
    def direct(self) -> str:
        return f"http://127.0.0.1:{self.upstream}/v1/chat/completions"

    def throughput(self, url: str, seconds: float) -> float:
        """Requests per second that wrk gets through 32 connections; an error of any kind ends the bench."""
        script = self.folder / "post.lua"
        script.write_text(WRK)
        command = [
            "taskset",
            "-c",
            OTHER_CORE,
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds:.0f}s",
            "-s",
            str(script),
        ]
        out = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in out or "Socket errors" in out:
            raise SystemExit(f"errors under load:\n{out}")
        return float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0])

    def at_rate(self, url: str, arrivals: str, seconds: float) -> dict[str, dict[str, float]]:
        """Latencies in ms of an open loop at a fixed rate, evenly spaced (constant) or in bursts (poisson)."""
        file = self.folder / "report.json"
        flags = ["-url", url, "-model", MODEL, "-rps", str(RATE), "-arrivals", arrivals]
        flags += ["-duration", f"{seconds}s", "-warmup", "2s", "-json", str(file)]
        # Last in line on the core it shares with the store, or its own work would be measured as the decision's.
        command = [
            "nice",
            "-n",
            "19",
            "taskset",
            "-c",
            OTHER_CORE,
            sys.executable,
            "-m",
            "loadtest",
            *flags,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report: dict[str, dict[str, float]] = json.loads(file.read_text())
        return report

    def ask_store(self, *words: str) -> str:
        with socket.create_connection(("127.0.0.1", self.store), timeout=5) as link:
            parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
            link.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            return link.recv(65536).decode()


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def bench_throughput(bench: Bench, options: argparse.Namespace) -> None:
    print("| engine | requests/s | of them per turn | yardstick | ratio |\n|---|---|---|---|---|")
    for engine in ("hypercorn", "uvicorn"):
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(options.turns):
            with bench.gateway(engine) as (url, _):
                bench.throughput(url, 2)
                ours.append(bench.throughput(url, options.seconds))
            if options.yardstick:
                with bench.yardstick(engine, options.yardstick) as (url, _):
                    bench.throughput(url, 2)
                    theirs.append(bench.throughput(url, options.seconds))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=False)) if theirs else 0
        turns = " ".join(f"{value:.0f}" for value in ours)
        against = f"{statistics.median(theirs):.0f} | {ratio:.2f}" if theirs else "– | –"
        print(f"| {engine} | {statistics.median(ours):.0f} | {turns} | {against} |", flush=True)


def bench_latency(bench: Bench, seconds: float) -> None:
    print(f"\n| {RATE} requests/s | added p50 | overhead p50 | p99 | decision p50 | p99 |\n|---|---|---|---|---|---|")
    for arrivals in ("constant", "poisson"):
        with bench.gateway("hypercorn") as (url, _):
            direct, through = (bench.at_rate(at, arrivals, seconds) for at in (bench.direct, url))
        figures = [through["sent"]["p50_ms"] - direct["sent"]["p50_ms"]]
        figures += [through[part][share] for part in ("overhead", "decision") for share in ("p50_ms", "p99_ms")]
        print(f"| {arrivals} | {' | '.join(f'{figure:.2f} ms' for figure in figures)} |", flush=True)


def bench_memory(bench: Bench, requests: int) -> None:
    with bench.gateway("hypercorn") as (url, pid):
        urllib.request.urlopen(urllib.request.Request(url, EMPTY_CALL, {"content-type": "application/json"})).read()
        readings = []
        for _ in range(4):
            done = 0.0
            while done < requests / 4:
                done += 5 * bench.throughput(url, 5)
            readings.append(_rss_mib(pid))
        time.sleep(1.2)  # the last settles are in
        bytes_kept = sum(
            int(bench.ask_store("MEMORY", "USAGE", f"pllm:{{default}}:{key}:gpt-4-a")[1:].strip() or 0)
            for key in ("deployment", "window")
        )
    shown = ", ".join(f"{value:.0f}" for value in readings)
    print(f"\nReplica RSS after each quarter of {requests} requests: {shown} MiB")
    print(f"Store memory of one deployment after them: {bytes_kept} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--yardstick", type=Path, metavar="DIR")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "nginx", "taskset") if not shutil.which(tool)]
    if missing or (os.cpu_count() or 1) < 2:
        raise SystemExit(
            f"the bench needs two cores and {', '.join(missing) or 'nothing else'} (Debian: wrk, nginx-light)"
        )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        with bench.surroundings():
            bench_throughput(bench, options)
            bench_latency(bench, 3 * options.seconds)
            bench_memory(bench, options.requests)


if __name__ == "__main__":
    main()
