"""HTTP/1.1 on one connection, parsed by httptools (llhttp), because h11 takes most of Hypercorn's time.

Every byte that a client sends is counted, and every wait for a client has a timeout. A client that closes its side has
left, and its request is cancelled: a half-closed connection and a client that has gone look alike. WebSockets and
HTTP/2 over cleartext are not supported, as the gateway has no use for them.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools
from starlette.types import ASGIApp

from gateway.http.asgi_cycle import UNREAD_MOST, Cycle, Header, address, scope_of
from gateway.http.byte_bounds import HEAD_TOO_LARGE, ByteBounds
from gateway.http.client_clock import ClientClock, Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.http.http_text import SURPLUS, Address, Refuse, refusal
from gateway.http.request_head import InvalidHead, answer_to, checked_head, without_offer
from gateway.http.surplus_calls import surplus_calls
from gateway.http.timer_wheel import running_wheel

AHEAD_MOST = 65_536  # bytes sent ahead of the response in flight; beyond, the connection closes after that response


class _NoRoom(Exception):
    """A call on a connection beyond the bounds."""


class Http1(asyncio.Protocol):
    """One client's connection, from accept to close; it serves one request after the other. Requests that a client
    sends ahead wait here for their turn, so that the gateway notices at any time when the client leaves. ``refuse`` may
    answer a request at once. ``closed`` is called at the end. On a connection beyond the bounds of ``connections``
    calls are refused and probes are answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        refuse: Refuse,
        timeouts: Timeouts,
        connections: ClientConnections,
        closed: Callable[["Http1"], object],
    ) -> None:
        self._is_surplus = False
        self._app = app
        self._refuse = refuse
        self._connections = connections
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, None)
        self._client = self._server = cast(Address, None)
        self._clock = ClientClock(running_wheel(), timeouts)
        self._parser = httptools.HttpRequestParser(self)
        self._cycle: Cycle | None = None  # whose response is in flight
        self._coming: Cycle | None = None  # whose body is being parsed
        self._waiting: deque[Cycle | bytes] = deque()  # bytes: the response to a refused request
        self._ahead_size = 0
        self._url = b""
        self._headers: list[Header] = []
        self._bounds = ByteBounds()
        self._begun_s: float | None = None  # when a head began that has only partly arrived
        self._is_begun = self._is_in_head = False  # is a request, or its head, only partly parsed?
        self._drained: asyncio.Event | None = None
        self._running: set[Cycle] = set()
        self._is_paused = self._is_lost = False
        self.is_over = self.is_full = False

    # -- the connection ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client, self._server = (address(transport, name) for name in ("peername", "sockname"))
        self._is_surplus = self._connections.opened(self, self._client and self._client[0])
        self._became_idle()

    def data_received(self, data: bytes) -> None:
        if self.is_over and self._cycle is None:
            return  # the last response is written: read only until the client has seen it
        self._receive(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._clock.close()
        self._connections.closed(self)
        self.is_over = self._is_lost = True
        self._waiting.clear()
        if self._cycle is not None:
            self._cycle.left()
        self.resume_writing()
        self._parser = cast(httptools.HttpRequestParser, None)  # it refers to this object: without it no circle is left
        if not self._running:
            self._closed(self)

    def pause_writing(self) -> None:
        self.is_full, self._drained = True, asyncio.Event()
        self._clock.await_taking(self._transport)

    def resume_writing(self) -> None:
        self.is_full = False
        self._clock.taken()
        if self._drained is not None:
            self._drained.set()

    def _became_idle(self) -> None:
        self._clock.stop()
        if self._transport.is_closing():
            return
        self.wants_more()
        if self.is_over:
            with contextlib.suppress(OSError, RuntimeError):
                self._transport.write_eof()
            self._clock.linger(self._hang_up)
            return
        self._connections.idle(self)
        if self._begun_s is None:
            self._clock.await_request(self.end)
        else:
            self._clock.await_head(self._begun_s, self._too_slow)

    def _too_slow(self) -> None:
        self._end_with(refusal(408, b"The request did not arrive in time."))

    def end(self) -> None:
        """Closes now when idle, otherwise after the response in flight."""
        self.is_over = True
        if self._cycle is None:
            self._clock.stop()
            self._hang_up()

    def cut_off(self) -> None:
        """Aborts the connection and cancels its requests."""
        for cycle in self._running:
            if cycle.task is not None:
                cycle.task.cancel()
        self._transport.abort()

    def _hang_up(self) -> None:
        """Closes once the client has read all bytes; a timer aborts the connection of a client that reads nothing."""
        self._transport.close()
        self._clock.await_taking(self._transport)

    # -- bytes in: httptools calls these while it is fed ------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url, self._headers = b"", []
        self._is_begun = self._is_in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # a trailer is not a header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._begun_s, self._is_in_head = None, False
        version, method = self._parser.get_http_version(), self._parser.get_method().decode("ascii")
        if not self._bounds.fits_head(self._url, self._headers):
            raise InvalidHead(HEAD_TOO_LARGE[1].decode(), HEAD_TOO_LARGE[0])
        if self._is_surplus and method == "POST":
            surplus_calls.note()
            raise _NoRoom
        head = checked_head(method, self._url, version, self._headers)
        scope = scope_of(method, head.target, version, head.headers, self._client, self._server)
        self._coming = Cycle(self, scope, keeps_alive=head.keeps_alive, awaits_go=head.awaits_go)
        self._waiting.append(self._coming)

    def on_chunk_complete(self) -> None:
        self._bounds.chunk()

    def on_body(self, data: bytes) -> None:
        self._bounds.body(len(data))
        if self._coming is not None:
            self._coming.take(data)

    def on_message_complete(self) -> None:
        self._is_begun = False
        self._bounds.end()
        if self._coming is not None:
            self._coming.complete()
            self._coming = None

    def _receive(self, data: bytes) -> None:
        """Takes bytes from the client. A malformed request is refused and ends the connection."""
        cycle = self._cycle
        if cycle is None and not self._is_begun and not self._waiting:
            refused = self._refuse(data, self._client)
            if refused is not None:
                self._became_idle()  # and may stay so for another keep-alive time
                self.write(refused)
                return
        elif cycle is not None and cycle.is_complete:
            if self.is_over:
                return  # no further request will be served
            self._ahead_size += len(data)
            if self._ahead_size > AHEAD_MOST:
                self._waiting.clear()
                self.is_over = True
                return
        refused = self._parsed(data)
        if refused is not None:
            self._waiting.append(refused)
        self._pass_on()
        if self._cycle is not None and self._cycle.unread > UNREAD_MOST and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _parsed(self, data: bytes) -> bytes | None:
        """Parses ``data``. Returns the response to a request that is refused, else None."""
        self._bounds.received(len(data))
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            return SURPLUS if isinstance(error.__context__, _NoRoom) else answer_to(error)
        excess = self._bounds.excess()
        if excess is not None:
            return refusal(*excess)
        if self._is_begun and self._bounds.is_in_head and self._begun_s is None:
            self._begun_s = self._loop.time()
            if self._cycle is None:
                self._became_idle()
        return None

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
        """Begins waiting requests: the turn of each comes when the one before is answered."""
        while self._waiting:
            if self._cycle is not None and (self._cycle.is_complete or isinstance(self._waiting[0], Cycle)):
                return
            following = self._waiting.popleft()
            if isinstance(following, bytes):
                self._end_with(following)
                return
            self._clock.stop()
            self._connections.busy(self)
            self._cycle = following
            self._running.add(following)
            following.begin(self._app, self._loop)
            if not following.is_complete:
                self._clock.await_body(self._body_size, self._too_slow)
        self._ahead_size = 0

    def _end_with(self, answer: bytes) -> None:
        self.is_over = True
        self._waiting.clear()
        cycle, self._cycle = self._cycle, None
        if cycle is None or not cycle.is_begun:
            self.write(answer)
        if cycle is not None:
            cycle.left()
        self._became_idle()

    def _body_size(self) -> int | None:
        """Returns the size of the body so far; None unless more is due and the application reads it."""
        cycle = self._cycle
        return None if cycle is None or cycle.is_complete or self._is_paused else cycle.size

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
            self._clock.await_body(self._body_size, self._too_slow)

    def answered(self, cycle: Cycle) -> None:
        if cycle is not self._cycle:
            return  # its request was malformed and has been refused
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
