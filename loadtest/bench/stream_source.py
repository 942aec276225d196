"""The command `python -m loadtest.bench.stream_source`: a provider of many streams at an even pace, and nothing else.

Every chunk holds the time at which it was due, so that a reader on the same machine knows how late it arrived. One
timer serves all streams: the fake provider, with a task and a timer for each stream, would be the bottleneck itself.
"""

import argparse
import asyncio
import re
import time

import uvloop

from loadtest.bench.source import Connection
from loadtest.cluster.programs import DUE, DUE_DIGITS

SLOTS = 50  # per period: streams that began at different times continue at different times
_CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4",'
    b'"choices":[{"index":0,"delta":{"content":" word ' + DUE + b"%0" + str(DUE_DIGITS).encode() + b'd"},'
    b'"logprobs":null,"finish_reason":null}]%b}\n\n'
)
_ENDING = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4",'
    b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]%b}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4",'
    b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d}}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNKS = re.compile(rb'"max_(?:completion_)?tokens": *(\d+)')  # gateways may replace the older name by the newer


class Pace:
    """Writes the next chunk of each stream once per period."""

    def __init__(self, period_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._tick_s = period_s / SLOTS
        self._slots: list[set[Source]] = [set() for _ in range(SLOTS)]
        self._number = 0
        self._began = self._loop.time()
        self._tick()

    def join(self, source: "Source") -> set["Source"]:
        """Adds a stream, whose next chunk is due one period from now. Returns its slot."""
        slot = self._slots[self._number % SLOTS]
        slot.add(source)
        return slot

    def _tick(self) -> None:
        now = self._loop.time()
        while (due := self._began + self._number * self._tick_s) <= now:
            for source in tuple(self._slots[self._number % SLOTS]):
                source.write_next(due)
            self._number += 1
        self._loop.call_at(due, self._tick)


class Source(Connection):
    """One connection with consecutive streams."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace
        self._slot: set[Source] | None = None
        self._left = self._chunks = 0
        self._field = b""
        self._has_usage = False

    def answer(self, body: bytes, /) -> None:
        limit = _CHUNKS.search(body)
        self._left = self._chunks = int(limit[1]) if limit else 1
        self._has_usage = b'"include_usage":true' in body.replace(b" ", b"")
        self._field = b',"usage":null' if self._has_usage else b""
        self._transport.write(_HEAD)
        self.write_next(time.monotonic())
        self._slot = self._pace.join(self)

    def write_next(self, due: float) -> None:
        if self._left:
            self._left -= 1
            self._write(_CHUNK % (due * 1e6, self._field))
            return
        self.leave()
        usage = _USAGE % (self._chunks, self._chunks) if self._has_usage else b""
        self._write(_ENDING % self._field + usage + b"data: [DONE]\n\n", b"0\r\n\r\n")

    def _write(self, data: bytes, end: bytes = b"") -> None:
        self._transport.write(b"%x\r\n%b\r\n%b" % (len(data), data, end))

    def leave(self) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None

    def connection_lost(self, _exc: Exception | None) -> None:
        self.leave()


async def serve(port: int, rate: float) -> None:
    loop = asyncio.get_running_loop()
    pace = Pace(1 / rate)
    server = await loop.create_server(lambda: Source(pace), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.stream_source", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=20, help="chunks per second of each stream")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.rate))


if __name__ == "__main__":
    main()
