"""One HTTP/1.1 connection on httptools, with only what a load generator needs: one call at a time.

A general client costs more for each call than the servers under measurement.
"""

import asyncio
import time
from typing import cast

import httptools

from loadtest.load.answers import StreamReader, Verdict, judge_error, judge_plain

ANSWER_MOST = 16 * 2**20  # bytes, head included: above any chat completion, and a bound for endless answers


class Answer:
    """The answer to one call so far, which is read even if the call ends early."""

    def __init__(self, is_stream: bool, give_up_after: int | None = None) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        """Headers that a gateway adds, names in lower case."""
        self.first_byte_s: float | None = None
        self.first_token_s: float | None = None
        self.gaps_ms: list[float] = []
        self.is_given_up = False
        self._give_up_after = give_up_after
        self._is_stream = is_stream
        self._reader = StreamReader()
        self._parts: list[bytes] = []
        self._last_token_s = 0.0

    def take(self, data: bytes) -> None:
        """Takes a part of the body."""
        if not self._is_stream or self.status != 200:
            self._parts.append(data)
            return
        now_s = time.monotonic()
        if self.first_byte_s is None:
            self.first_byte_s = now_s
        before = self._reader.content_events
        self._reader.feed(data)
        if self._reader.content_events > before:
            if self.first_token_s is None:
                self.first_token_s = now_s
            else:
                self.gaps_ms.append(1000 * (now_s - self._last_token_s))
            self._last_token_s = now_s
            self.is_given_up = self._give_up_after is not None and self._reader.content_events >= self._give_up_after

    def judge(self) -> Verdict:
        if self.is_given_up:
            return Verdict(None, self._reader.content_events)
        if self.status != 200:
            return Verdict(judge_error(self.status, b"".join(self._parts)))
        return self._reader.judge() if self._is_stream else judge_plain(b"".join(self._parts))


class Connection(asyncio.Protocol):
    """`send` returns a future: None when the answer is whole or given up, else the name of the failure."""

    def __init__(self) -> None:
        self.is_open = False
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._ended: asyncio.Future[str | None] | None = None
        self._has_begun = False
        self._is_framed = False
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def send(self, request: bytes, answer: Answer) -> asyncio.Future[str | None]:
        self._answer, self._has_begun, self._is_framed, self._received = answer, False, False, 0
        self._ended = self._loop.create_future()
        self._transport.write(request)
        return self._ended

    def close(self) -> None:
        """Closes at once, without reading what the other side still sends."""
        self.is_open = False
        self._answer = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > ANSWER_MOST:
            self.close()
            self._end("answer too large")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()
            self._end("not HTTP")
        if self._answer is not None and self._answer.is_given_up:
            self.close()
            self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if not self._has_begun:
            self._end("connection reset" if error is not None else "disconnected before an answer")
        elif self._is_framed or error is not None:
            self._end("answer cut")
        else:
            self._end(None)  # an answer without a length ends with its connection

    def _end(self, failure: str | None) -> None:
        self._answer = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(failure)

    # Callbacks of httptools, which finds them by name.

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name.startswith(b"x-pllm-"):
            if self._answer is not None:
                self._answer.headers[name] = value
        elif name in (b"content-length", b"transfer-encoding"):
            self._is_framed = True

    def on_headers_complete(self) -> None:
        self._has_begun = True
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.take(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._has_begun = False  # an interim response
            return
        if not self._parser.should_keep_alive():
            self.is_open = False
            self._transport.close()
        self._end(None)
