"""HTTP/1.1 for hypercorn, parsed by httptools (llhttp) instead of h11, which is where most of hypercorn's time goes.

It takes the place of hypercorn's H11Protocol: bytes become the events of an HTTPStream, the stream's events become
bytes. WebSockets and HTTP/2 over cleartext are not spoken: the gateway has no use for them.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import httptools
import msgspec
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol import events
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import AppWrapper, ConnectionState

from gateway.http_text import Refuse, date_line, refusal, status_line

STREAM_ID = 1
HEAD_MOST = 65_536  # bytes of request line and headers: what OpenAI asks servers to take
AHEAD_MOST = 65_536  # bytes sent ahead of the answer in flight; who sends more is told to come again
NOT_HTTP = b"The request is not valid HTTP."
_BODILESS = frozenset({204, 304})

Address = tuple[str, int] | None


def without_offer(parser: httptools.HttpRequestParser, url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An offer to change protocols is passed over, as HTTP allows. The parser would skip the body then (and Java's
    client makes the offer with every POST by default), so it is given this head again, without the offer. Raises
    HttpParserError for CONNECT, which is no offer.
    """
    method, version = parser.get_method(), parser.get_http_version().encode()
    if method == b"CONNECT":
        raise httptools.HttpParserInvalidMethodError("CONNECT")
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version, b"".join(lines))


class _Refused(msgspec.Struct, frozen=True):
    """What came was no request."""

    answer: bytes


class Http1:
    """One connection's requests, one after the other; what a client sends ahead waits for its turn here, so that its
    leaving is seen all the while. ``write`` sends bytes, ``became_idle`` hears whether a request is
    in flight, and ``refuse`` may answer at once; ``is_over``: no further request will be served.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        tasks: TaskGroup,
        client: Address,
        server: Address,
        write: Callable[[bytes], Awaitable[None]],
        became_idle: Callable[[bool], None],
        refuse: Refuse,
    ) -> None:
        self._new_stream = partial(
            HTTPStream, app, config, context, tasks, False, client, server, self._stream_send, STREAM_ID
        )
        self._write = write
        self._became_idle = became_idle
        self._refuse = refuse
        self._parser = httptools.HttpRequestParser(self)
        self._parsed: list[events.Event] = []
        self._waiting: deque[events.Event | _Refused] = deque()
        self._ahead_size = 0
        self._is_passing = False
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._is_begun = False  # is a request only partly parsed?
        self._is_head_read = False
        self._stream: HTTPStream | None = None
        self._head = b""  # of the response, until its first body chunk goes out with it
        self._is_chunked = False
        self._is_bodiless = False
        self._is_request_complete = True
        self._is_answer_complete = True
        self.is_over = False

    # -- bytes in: httptools calls these while it is fed ------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url, self._headers, self._is_begun, self._is_head_read = b"", [], True, False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head_read:  # a trailer is no header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_head_read, self._head_size = True, 0
        version, path = self._parser.get_http_version(), self._url
        if not path.startswith(b"/"):
            path = httptools.parse_url(path).path or b"/"
        state = ConnectionState({})
        method = self._parser.get_method().decode("ascii")
        self._parsed.append(events.Request(STREAM_ID, self._headers, version, method, path, state))

    def on_body(self, data: bytes) -> None:
        self._parsed.append(events.Body(STREAM_ID, data))

    def on_message_complete(self) -> None:
        self._is_begun, self._is_head_read, self._head_size = False, False, 0
        self._parsed.append(events.EndBody(STREAM_ID))

    async def receive(self, data: bytes) -> None:
        """What the client sent. A malformed request is refused, and the connection over."""
        if self._is_request_complete and self.is_over:
            return  # nothing that follows will be served
        if self._stream is None and not self._is_begun and not self._waiting:
            refused = self._refuse(data)
            if refused is not None:
                self._became_idle(True)  # for as long again
                await self._write(refused)
                return
        if self._stream is not None and self._is_request_complete:
            self._ahead_size += len(data)
            if self._ahead_size > AHEAD_MOST:
                self._waiting.clear()
                self.is_over = True
                return
        refused = b""
        if not self._is_head_read:
            self._head_size += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserInvalidURLError):
            refused = refusal(400, NOT_HTTP)
        if not self._is_head_read and self._head_size > HEAD_MOST and not self._parsed:
            refused = refusal(431, b"The request headers are too large.")
        parsed, self._parsed = self._parsed, []
        self._waiting.extend(parsed)
        if refused:
            self._waiting.append(_Refused(refused))
        await self._pass_on()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                del self._parsed[-2:]  # the request and its end
                data = without_offer(self._parser, self._url, self._headers) + data[offer.args[0] :]
                self._parser = httptools.HttpRequestParser(self)

    async def _pass_on(self) -> None:
        """As far as it goes: a request's turn comes when the one before is answered."""
        if self._is_passing:
            return
        self._is_passing = True
        try:
            while self._waiting:
                if self._stream is not None and self._is_request_complete:
                    return
                await self._pass(self._waiting.popleft())
            self._ahead_size = 0
        finally:
            self._is_passing = False

    async def _pass(self, event: events.Event | _Refused) -> None:
        if self.is_over and self._stream is None:
            self._waiting.clear()
            return
        if isinstance(event, _Refused):
            self.is_over = True
            self._waiting.clear()
            await self._write(event.answer)
            await self._end()
            return
        if isinstance(event, events.Request):
            self._became_idle(False)
            self._is_request_complete = self._is_answer_complete = False
            self._stream = self._new_stream()
            await self._begin(event)
        if self._stream is not None:
            if isinstance(event, events.EndBody):
                self._is_request_complete = True
            await self._stream.handle(event)

    async def _begin(self, request: events.Request) -> None:
        self._is_chunked = request.http_version == "1.1"
        self._is_bodiless = request.method == "HEAD"
        keeps_alive = self._is_chunked
        for name, value in request.headers:
            if name == b"connection" and b"close" in value.lower():
                keeps_alive = False
            elif name == b"expect" and value.lower() == b"100-continue":
                await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.is_over = self.is_over or not keeps_alive

    async def disconnected(self) -> None:
        """The client has left: whoever serves it is told."""
        self.is_over = True
        self._waiting.clear()
        if self._stream is not None:
            await self._stream.handle(events.StreamClosed(STREAM_ID))

    # -- bytes out --------------------------------------------------------------------------------------------

    async def _stream_send(self, event: events.Event) -> None:
        if self._stream is None:
            return  # its request turned out to be malformed and has been refused
        if isinstance(event, events.Body):
            data = event.data
            if self._is_chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            head, self._head = self._head, b""
            await self._write(head + data)
        elif isinstance(event, events.Response):
            self._head = self._render_head(event)
        elif isinstance(event, events.EndBody):
            self._is_answer_complete = True
            head, self._head = self._head, b""
            last = head + (b"0\r\n\r\n" if self._is_chunked else b"")
            if last:
                await self._write(last)
        elif isinstance(event, events.StreamClosed):
            await self._end()

    def _render_head(self, response: events.Response) -> bytes:
        self.is_over = self.is_over or not self._is_request_complete  # as `_end` would find
        parts = [status_line(response.status_code)]
        is_framed = self._is_bodiless or response.status_code in _BODILESS
        for name, value in response.headers:
            if b"\r" in value or b"\n" in value:
                raise ValueError("line break in a response header")
            is_framed = is_framed or name == b"content-length"
            parts += (name, b": ", value, b"\r\n")
        if is_framed:
            self._is_chunked = False
        elif self._is_chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        if self.is_over:
            parts.append(b"connection: close\r\n")
        parts += (date_line(int(time.time())), b"\r\n")
        return b"".join(parts)

    async def _end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.handle(events.StreamClosed(STREAM_ID))
        self.is_over = self.is_over or not (self._is_request_complete and self._is_answer_complete)
        self._became_idle(True)
        await self._pass_on()
