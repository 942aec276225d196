"""HTTP/1.1 on one connection, parsed by httptools (llhttp) instead of h11, where most of hypercorn's time goes.

WebSockets and HTTP/2 over cleartext are not spoken: the gateway has no use for them.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

import httptools
import msgspec
from starlette.types import ASGIApp

from gateway.asgi_cycle import UNREAD_MOST, Address, Cycle, Header, scope_of
from gateway.http_text import SURPLUS, Refuse, refusal

HEAD_MOST = 65_536  # bytes of request line and headers: what OpenAI asks servers to take
AHEAD_MOST = 65_536  # bytes sent ahead of the answer in flight; who sends more is told to come again
LINGER_S = 2.0  # how long what a refused client still sends is read, so that it sees the answer and not a reset
NOT_HTTP = b"The request is not valid HTTP."


def without_offer(parser: httptools.HttpRequestParser, url: bytes, headers: Iterable[Header]) -> bytes:
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


class Http1(asyncio.Protocol):
    """One client's connection, from accept to close: its requests one after the other. What a client sends ahead waits
    for its turn here, so that its leaving is seen all the while. ``refuse`` may answer at once; ``closed`` hears the
    end. ``is_surplus``: there are too many already, and calls on this one are refused; probes are answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        refuse: Refuse,
        keep_alive_s: float,
        closed: Callable[["Http1"], object],
        is_surplus: bool = False,
    ) -> None:
        self._is_surplus = is_surplus
        self._app = app
        self._refuse = refuse
        self._keep_alive_s = keep_alive_s
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, None)
        self._client = self._server = cast(Address, None)
        self._timer: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._cycle: Cycle | None = None  # whose answer is in flight
        self._coming: Cycle | None = None  # whose body is being parsed
        self._waiting: deque[Cycle | _Refused] = deque()
        self._ahead_size = 0
        self._url = b""
        self._headers: list[Header] = []
        self._head_size = 0
        self._is_begun = False  # is a request only partly parsed?
        self._is_head_read = False
        self._drained: asyncio.Event | None = None
        self._running: set[Cycle] = set()
        self._is_paused = self._is_lost = False
        self.is_over = self.is_full = False

    # -- the connection ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client, self._server = (_address(transport, name) for name in ("peername", "sockname"))
        self._became_idle()

    def data_received(self, data: bytes) -> None:
        if self.is_over and self._cycle is None:
            return  # refused or answered for the last time: read only until the client has seen it
        self._receive(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._stop_timer()
        self.is_over = self._is_lost = True
        self._waiting.clear()
        if self._cycle is not None:
            self._cycle.left()
        self.resume_writing()
        if not self._running:
            self._closed(self)

    def pause_writing(self) -> None:
        self.is_full, self._drained = True, asyncio.Event()

    def resume_writing(self) -> None:
        self.is_full = False
        if self._drained is not None:
            self._drained.set()

    def _became_idle(self) -> None:
        self._stop_timer()
        if self._transport.is_closing():
            return
        self.wants_more()
        if not self.is_over:
            self._timer = self._loop.call_later(self._keep_alive_s, self.end)
            return
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.write_eof()
        self._timer = self._loop.call_later(LINGER_S, self._hang_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Closes now when idle, otherwise after the answer in flight."""
        self.is_over = True
        if self._cycle is None:
            self._stop_timer()
            self._hang_up()

    def cut_off(self) -> None:
        """Now, whatever is in flight."""
        for cycle in self._running:
            if cycle.task is not None:
                cycle.task.cancel()
        self._transport.abort()

    def _hang_up(self) -> None:
        """Closes once the client has taken what it was sent. One that takes nothing would hold it for ever."""
        self._transport.close()
        self._timer = self._loop.call_later(self._keep_alive_s, self._transport.abort)

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
        version, target = self._parser.get_http_version(), self._url
        if not target.startswith(b"/"):
            target = httptools.parse_url(target).path or b"/"
        method = self._parser.get_method().decode("ascii")
        keeps_alive, awaits_go = version == "1.1", False
        for name, value in self._headers:
            if name == b"connection" and b"close" in value.lower():
                keeps_alive = False
            elif name == b"expect" and value.lower() == b"100-continue":
                awaits_go = True
        scope = scope_of(method, target, version, self._headers, self._client, self._server)
        self._coming = Cycle(self, scope, keeps_alive=keeps_alive, awaits_go=awaits_go)
        self._waiting.append(self._coming)

    def on_body(self, data: bytes) -> None:
        if self._coming is not None:
            self._coming.take(data)

    def on_message_complete(self) -> None:
        self._is_begun, self._is_head_read, self._head_size = False, False, 0
        if self._coming is not None:
            self._coming.complete()
            self._coming = None

    def _receive(self, data: bytes) -> None:
        """What the client sent. A malformed request is refused, and the connection over."""
        cycle = self._cycle
        if cycle is None and not self._is_begun and not self._waiting:
            if self._is_surplus and data.startswith(b"POST "):
                self._give_up(SURPLUS)
                return
            refused = self._refuse(data)
            if refused is not None:
                self._became_idle()  # for as long again
                self.write(refused)
                return
        elif cycle is not None and cycle.is_complete:
            if self.is_over:
                return  # nothing that follows will be served
            self._ahead_size += len(data)
            if self._ahead_size > AHEAD_MOST:
                self._waiting.clear()
                self.is_over = True
                return
        if not self._is_head_read:
            self._head_size += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserInvalidURLError):
            self._waiting.append(_Refused(refusal(400, NOT_HTTP)))
        if not self._is_head_read and self._head_size > HEAD_MOST:
            self._waiting.append(_Refused(refusal(431, b"The request headers are too large.")))
        self._pass_on()
        if self._cycle is not None and self._cycle.unread > UNREAD_MOST and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                self._waiting.pop()
                data = without_offer(self._parser, self._url, self._headers) + data[offer.args[0] :]
                self._parser = httptools.HttpRequestParser(self)

    def _pass_on(self) -> None:
        """As far as it goes: a request's turn comes when the one before is answered."""
        while self._waiting:
            if self._cycle is not None and (self._cycle.is_complete or isinstance(self._waiting[0], Cycle)):
                return
            following = self._waiting.popleft()
            if isinstance(following, _Refused):
                self._give_up(following.answer)
                return
            self._stop_timer()
            self._cycle = following
            self._running.add(following)
            following.begin(self._app, self._loop)
        self._ahead_size = 0

    def _give_up(self, answer: bytes) -> None:
        self.is_over = True
        self._waiting.clear()
        cycle, self._cycle = self._cycle, None
        if cycle is None or not cycle.is_begun:
            self.write(answer)
        if cycle is not None:
            cycle.left()
        self._became_idle()

    # -- bytes out --------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> None:
        if self._drained is not None and self.is_full:
            await self._drained.wait()

    def wants_more(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def answered(self, cycle: Cycle) -> None:
        if cycle is not self._cycle:
            return  # its request turned out to be malformed and has been refused
        self._cycle = None
        if self.is_over:
            self._waiting.clear()
        if not self._waiting:
            self._ahead_size = 0
            self._became_idle()
        self._pass_on()

    def finished(self, cycle: Cycle) -> None:
        self._running.discard(cycle)
        if self._is_lost and not self._running:
            self._closed(self)


def _address(transport: asyncio.BaseTransport, name: str) -> Address:
    info = transport.get_extra_info(name)
    return (info[0], info[1]) if isinstance(info, tuple) else None
