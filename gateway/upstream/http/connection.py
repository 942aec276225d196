"""One connection to a provider, parsed by httptools (llhttp). It carries one request after the other.

Every byte outside of a body is counted and bounded. Bytes that arrive while no request is in progress close the
connection: they would be taken for the answer to the next request, which may be another tenant's.
"""

import asyncio
import time
from typing import Protocol, cast

import httptools

from gateway.upstream.http.faults import BodyBroken, Disconnected, EndlessAnswer, HeadTooLarge, HttpFault, NotHttp
from gateway.upstream.http.framing import HEAD_MOST, HEADERS_MOST, INTERIM_MOST, OTHER_MOST, SEEN, Framing
from gateway.upstream.http.response import Header, Response

SLICE = 8_192  # bytes parsed at once: a segment of 256 KiB may hold tens of thousands of chunks
TURN_S = 0.005  # of parsing, then other connections get their turn
JOINED_MOST = 65_536  # bytes of a body that is copied behind its head; a longer one is written by itself
_VERSIONS = ("1.1", "1.0")


class Owner(Protocol):
    """The pool, as its connections use it."""

    def finished(self, connection: "Connection", keep_alive_s: int | None) -> None:
        """Takes a connection that may carry another request. ``keep_alive_s``: as the server announced it."""

    def lost(self, connection: "Connection") -> None:
        """Forgets a connection that is closed."""


class Connection(asyncio.Protocol):
    """A connection. `send` begins a request, and the Response that it returns ends it."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpResponseParser(self)
        # Some servers pad the size of a chunk, end a line without CR, fold a header or put odd bytes into one. None of
        # it reaches a client, and what frames a body is read strictly.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_spaces_after_chunk_size=True, lenient_optional_cr_before_lf=True
        )
        self._due: asyncio.Future[Response] | None = None  # awaited by `send` until the head has arrived
        self._response: Response | None = None  # whose body is due
        self._body: list[bytes] = []  # parsed from the present slice
        self._backlog = b""  # received, to be parsed in a later turn
        self._turn: asyncio.Handle | None = None
        self._is_paused = self._is_lost = False
        self.idle_until_s = 0.0  # by the loop's clock
        self.is_idle = True
        self._begin()

    def _begin(self) -> None:
        self.has_received = False  # a byte of the answer
        self._is_head_due = True
        self._is_interim = self._is_surplus = self._is_complete = self._lasts_until_close = self._keeps_alive = False
        self._interim = self._received = self._body_size = 0
        self._headers: list[Header] = []
        self._framing = Framing()

    @property
    def is_open(self) -> bool:
        return not self._is_lost and not self._transport.is_closing()

    def fileno(self) -> int:
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    async def send(self, head: bytes, body: bytes) -> Response:
        """Sends a request; returns its answer once the head has arrived. Raises HttpFault. Cancellation closes the
        connection.
        """
        self._begin()
        self.is_idle = False
        due = self._due = self._loop.create_future()
        if len(body) <= JOINED_MOST:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        try:
            response: Response = await due
        except asyncio.CancelledError:
            if self._due is due:
                self.abort()
            elif not due.cancelled() and due.exception() is None:
                due.result().close()  # a complete answer has released the connection, maybe to another request
            raise
        return response

    # -- the connection ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.has_received = True
        if self.is_idle:
            self.abort()
            return
        if self._backlog or self._is_paused:
            self._backlog += data
        elif len(data) <= SLICE:
            self._parse(data)
        else:
            self._parse_in_slices(data)

    def connection_lost(self, error: Exception | None) -> None:
        rest, self._backlog = self._backlog, b""
        if rest and not self.is_idle:
            self._parse(rest)
        self._is_lost = True
        if self._turn is not None:
            self._turn.cancel()
        if not self.is_idle:
            if self._lasts_until_close and error is None:
                self._end()
            else:
                self._break(BodyBroken() if self._response is not None else Disconnected(), error)
        self._parser = cast(httptools.HttpResponseParser, None)  # which holds this connection in a circle
        self._owner.lost(self)

    def close(self) -> None:
        """Closes the connection; a request in progress breaks."""
        if self.is_idle:
            self._transport.abort()  # TLS would wait for the server's farewell
        else:
            self._break(BodyBroken() if self._response is not None else Disconnected())

    def abort(self) -> None:
        """Closes the connection at once. The caller expects no answer, or no more of one."""
        self._response, self._due, self.is_idle = None, None, True
        self._transport.abort()

    def pause(self) -> None:
        if not self._is_paused and self.is_open:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._is_paused:
            return
        self._is_paused = False
        if self._backlog:
            # The reader gets the backlog first: if the transport read on, the connection's end would overtake it.
            self._take_turn_later()
        elif self.is_open:
            self._transport.resume_reading()

    # -- turns ------------------------------------------------------------------------------------------------

    def _parse_in_slices(self, data: bytes) -> None:
        ends_s = time.perf_counter() + TURN_S
        for start in range(0, len(data), SLICE):
            if start and (self._is_paused or time.perf_counter() > ends_s):
                self._backlog = data[start:]
                self._take_turn_later()
                return
            if self.is_idle:
                self.abort()  # bytes after the answer
                return
            self._parse(data[start : start + SLICE])
            if not self.is_open:
                return

    def _take_turn_later(self) -> None:
        if self.is_open:
            self._transport.pause_reading()
        if self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._is_paused or not self.is_open:
            return  # resume takes it up again
        rest, self._backlog = self._backlog, b""
        self._parse_in_slices(rest)
        if not self._backlog and not self._is_paused and self.is_open:
            self._transport.resume_reading()

    # -- bytes in: httptools calls the on_… methods while it is fed -------------------------------------------

    def _parse(self, data: bytes) -> None:
        self._received += len(data)
        was_due = self._is_head_due
        fault = self._fed(data)
        if self._body:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body.clear()
            self._body_size += len(body)
            if self._response is not None:
                self._response.feed(body)
        if self.is_idle:
            return  # closed by its reader
        if self._is_complete:
            self._end()
        elif fault is not None:
            self._break(fault)
        elif self._is_head_due:
            if self._received > HEAD_MOST:
                self._break(HeadTooLarge())
        elif was_due:
            self._received = self._body_size
        elif self._received - self._body_size > OTHER_MOST + self._body_size:
            self._break(EndlessAnswer())

    def _fed(self, data: bytes) -> HttpFault | None:
        """Parses bytes. Returns the fault in them."""
        # llhttp also takes RTSP and ICE for HTTP.
        if self._is_head_due and not self._interim and data[:1] in (b"R", b"I"):
            return NotHttp()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_surplus = True
        except httptools.HttpParserError as error:
            self._is_surplus = True
            if isinstance(error.__context__, HttpFault):
                return error.__context__
            return NotHttp() if self._is_head_due else BodyBroken()
        return None

    def on_message_begin(self) -> None:
        self._is_surplus = self._is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head_due:
            return  # a trailer, or a header of another answer
        name, value = name.rstrip(b" ").lower(), value.rstrip(b" \t")
        self._headers.append((name, value))
        if len(self._headers) > HEADERS_MOST:
            raise HeadTooLarge
        if b"\0" in value:
            raise NotHttp
        if name in SEEN:
            self._framing.see(name, value)

    def on_headers_complete(self) -> None:
        if self._is_complete:
            return
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in _VERSIONS or status < 100:
            raise NotHttp
        self._is_interim = status < 200 and status != 101
        if self._is_interim:
            self._interim += 1
            if self._interim > INTERIM_MOST:
                raise EndlessAnswer
            return
        self._lasts_until_close = self._framing.lasts_until_close(status)
        self._is_head_due = False
        self._response = self._framing.response(self, status, self._headers)
        due, self._due = self._due, None
        if due is None or due.done():
            self._response.close()  # its call was cancelled a moment ago
        else:
            due.set_result(self._response)

    def on_body(self, data: bytes) -> None:
        if not self._is_complete:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._is_complete:
            return
        if self._is_interim:
            self._is_interim, self._headers, self._framing = False, [], Framing()
            return
        self._is_complete = True
        self._keeps_alive = self._parser.should_keep_alive()

    def _end(self) -> None:
        """Ends a complete answer. Its connection is kept unless bytes follow or the request has not been sent yet."""
        response, self._response = self._response, None
        self.is_idle = True
        if response is not None:
            response.end()
        if not self.is_open:
            return
        may_keep = self._keeps_alive and not self._is_surplus and not self._backlog
        if may_keep and not self._transport.get_write_buffer_size():
            self.resume()
            self._owner.finished(self, self._framing.keep_alive_s)
        else:
            self._transport.abort()

    def _break(self, fault: HttpFault, cause: Exception | None = None) -> None:
        """Ends an answer that is malformed or was cut."""
        fault.__cause__ = cause
        response, self._response = self._response, None
        due, self._due = self._due, None
        self.is_idle = True
        if response is not None:
            response.end(fault)
        elif due is not None and not due.done():
            due.set_exception(fault)
        if self.is_open:
            self._transport.abort()
