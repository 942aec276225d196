"""The command `python -m loadtest.bench.stream_sink`: reads many streams of the stream source at once and reports as
JSON how late their chunks arrived. It uses protocols and arrays only, because it has to keep up on its share of one
core.
"""

import argparse
import asyncio
import json
import time
from array import array
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from loadtest.cluster.programs import DUE, DUE_DIGITS, MODEL
from loadtest.load.histogram import percentile

STALLED_S = 1.0
RAMP_S = 2.0  # in which the streams begin
GRACE_S = 10.0  # for the last chunks of a run that lags


class Run:
    """The request of the streams of a run, and their measurements in ms."""

    def __init__(self, url: str, chunks: int, model: str = MODEL, headers: Sequence[str] = ()) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "", address.port or 80
        messages = [{"role": "user", "content": "hi"}]
        body = json.dumps({"model": model, "stream": True, "max_tokens": chunks, "messages": messages})
        head = f"POST {address.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        head += "".join(f"{header}\r\n" for header in headers)
        self.request = f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()
        self.first_byte, self.gaps, self.lateness = array("d"), array("d"), array("d")
        self.complete = self.stalled = 0

    def report(self) -> dict[str, Any]:
        series = {"first_byte": self.first_byte, "gap": self.gaps, "lateness": self.lateness}
        counts = {"complete": self.complete, "stalled": self.stalled, "chunks": len(self.lateness)}
        return {name: _percentiles(values) for name, values in series.items()} | counts


class Sink(asyncio.Protocol):
    """One stream, from its request to its end."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rest = b""
        self._longest = 0.0
        self._is_done = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._last = self._requested = time.monotonic()
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        now, run = time.monotonic(), self._run
        gap = now - self._last
        (run.gaps if self._last > self._requested else run.first_byte).append(1000 * gap)
        self._last, self._longest = now, max(gap, self._longest)
        data = self._rest + data
        position = data.find(DUE)
        while 0 <= position <= len(data) - len(DUE) - DUE_DIGITS:
            position += len(DUE)
            run.lateness.append(1000 * now - int(data[position : position + DUE_DIGITS]) / 1000)
            position = data.find(DUE, position)
        self._rest = data[position:] if position >= 0 else data[-len(DUE) :]
        self._is_done = self._is_done or b"[DONE]" in data
        if data.endswith(b"0\r\n\r\n"):
            run.complete += self._is_done
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._run.stalled += self._longest > STALLED_S
        if not self.ended.done():
            self.ended.set_result(None)


async def _streams_in_turn(run: Run, start_s: float, turns: int) -> None:
    await asyncio.sleep(start_s)
    for _ in range(turns):
        _, sink = await asyncio.get_running_loop().create_connection(lambda: Sink(run), run.host, run.port)
        await sink.ended


async def read(run: Run, streams: int, turns: int, seconds: float) -> dict[str, Any]:
    """Reads all streams. Returns the report. A stream that does not end in time counts as stalled."""
    tasks = [asyncio.create_task(_streams_in_turn(run, RAMP_S * n / streams, turns)) for n in range(streams)]
    _, late = await asyncio.wait(tasks, timeout=RAMP_S + seconds + GRACE_S)
    report = run.report()
    report["stalled"] += len(late)
    return report


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values) or [float("nan")]
    return {"p50_ms": percentile(ordered, 0.5), "p99_ms": percentile(ordered, 0.99), "max_ms": ordered[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.stream_sink", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--streams", type=int, required=True, help="at once")
    parser.add_argument("--turns", type=int, default=1, help="consecutive streams in each place")
    parser.add_argument("--chunks", type=int, required=True, help="of each stream")
    parser.add_argument("--seconds", type=float, required=True, help="expected duration of all turns")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--header", action="append", default=[], metavar="'K: V'", help="repeatable")
    options = parser.parse_args()
    run = Run(options.url, options.chunks, options.model, options.header)
    print(json.dumps(uvloop.run(read(run, options.streams, options.turns, options.seconds))))


if __name__ == "__main__":
    main()
