"""The streaming part of `make bench`: the delay that the gateway adds to a chunk."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from loadtest.bench.rig import OTHER_CORE, Bench, cpu_s, rss_mib
from loadtest.cluster.programs import free_port

CHUNKS_PER_S = 20
FEW = (1, 10)
SHORT = 10  # chunks of a stream when there are few: many streams, for their first bytes


@contextlib.contextmanager
def stream_source(bench: Bench) -> Iterator[int]:
    port = free_port()
    flags = ("--port", str(port), "--rate", str(CHUNKS_PER_S))
    command = (sys.executable, "-P", "-m", "loadtest.bench.stream_source", *flags)
    with bench.running(OTHER_CORE, *command, port=port):
        yield port


def read_streams(url: str, streams: int, turns: int, chunks: int, extra: Sequence[str] = ()) -> dict[str, Any]:
    flags = ["--url", url, "--streams", str(streams), "--turns", str(turns), "--chunks", str(chunks), *extra]
    seconds = turns * (chunks + 1) / CHUNKS_PER_S
    command = ["taskset", "-c", OTHER_CORE, sys.executable, "-P", "-m", "loadtest.bench.stream_sink", *flags]
    out = subprocess.run([*command, "--seconds", f"{seconds:.1f}"], capture_output=True, check=True).stdout
    report: dict[str, Any] = json.loads(out)
    return report


def bench_streams(bench: Bench, streams: int, seconds: float) -> None:
    with stream_source(bench) as port, bench.gateway(port) as (url, pid):
        direct = f"http://127.0.0.1:{port}/v1/chat/completions"
        read_streams(url, FEW[-1], 2, SHORT)
        _bench_few({"direct": direct, "gateway": url}, seconds)
        _bench_many({"direct": direct, "gateway": url}, pid, streams, seconds)


def _print_heads(above: str, heads: Sequence[str]) -> None:
    print(f"\n{above}| {' | '.join(heads)} |\n{'|---' * len(heads)}|")


def _bench_few(urls: dict[str, str], seconds: float) -> None:
    heads = (f"streams of {CHUNKS_PER_S} chunks/s", "way", "first byte p50", "p99", "gap p50", "p99")
    _print_heads("", heads)
    turns = max(round(seconds * CHUNKS_PER_S / (SHORT + 1)), 1)
    for streams in FEW:
        for way, url in urls.items():
            report = read_streams(url, streams, turns, SHORT)
            figures = [report[part][share] for part in ("first_byte", "gap") for share in ("p50_ms", "p99_ms")]
            print(f"| {streams} | {way} | {' | '.join(f'{figure:.2f} ms' for figure in figures)} |", flush=True)


def _bench_many(urls: dict[str, str], pid: int, streams: int, seconds: float) -> None:
    """Prints the lateness of chunks. It includes that of the source and the reader themselves, which the direct way
    shows.
    """
    heads = ("way", "chunks", "late p50", "p99", "max", "complete", "stalled", "CPU per chunk", "core busy", "RSS")
    _print_heads(f"{streams} streams of {CHUNKS_PER_S} chunks/s at once:\n\n", heads)
    chunks = round(seconds * CHUNKS_PER_S)
    for way, url in urls.items():
        used = cpu_s(pid)
        report = read_streams(url, streams, 1, chunks)
        used = cpu_s(pid) - used
        late = report["lateness"]
        row = [way, report["chunks"], *(f"{late[share]:.1f} ms" for share in ("p50_ms", "p99_ms", "max_ms"))]
        row += [report["complete"], report["stalled"]]
        if way == "gateway":
            row += [f"{used / report['chunks'] * 1e6:.0f} µs", f"{used / seconds:.0%}", f"{rss_mib(pid):.0f} MiB"]
        print(f"| {' | '.join(map(str, row))} |", flush=True)
