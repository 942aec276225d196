"""One connection to a provider, whose bytes are counted: what belongs to no body is bounded, as it is for clients.

aiohttp bounds a header line and the number of headers, but neither interim answers nor chunk extensions, blank lines
and trailers.
"""

import asyncio
import time
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from gateway.upstream.fault_words import EndlessAnswer

HEAD_MOST = 262_144  # bytes before the body; content policies and traces of proxies take tens of KB
INTERIM_MOST = 100  # answers 1xx before the final one
OTHER_MOST = 32_768  # bytes behind the head: chunk extensions and trailers; framing may be as large as its body
SLICE = 8_192  # bytes parsed at once: a segment of 256 KiB may hold tens of thousands of chunks
TURN_S = 0.005  # of parsing, then other connections have their turn
_BLANK, _HEAD_END = b"\r\n", b"\r\n\r\n"


class Wire(ResponseHandler):
    """Closes when something comes while nothing is asked: it would be taken for the answer to the next call, which may
    be another tenant's. An answer with more than its bounds breaks, and its connection is closed.
    """

    is_idle = False
    has_heard = False  # since it was taken for the present call
    _is_head_due = True
    _interim = _received = 0
    _backlog = b""  # received, to be parsed in a later turn
    _turn: asyncio.Handle | None = None

    def begin(self) -> None:
        """A kept connection is taken for another call."""
        self.is_idle = self.has_heard = False
        self._is_head_due = True
        self._interim = self._received = 0

    @property
    def should_close(self) -> bool:
        return bool(self._backlog) or super().should_close

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp parses what it has kept
            super().data_received(data)
            return
        if self.is_idle:
            self.close()
            return
        self.has_heard = True
        if self._backlog or self._reading_paused:
            self._backlog += data
        elif self._is_head_due or len(data) > SLICE:
            self._parse_in_slices(data)
        else:
            self._parse(data)

    def resume_reading(self, resume_parser: bool = True) -> None:
        if not (self._reading_paused or self._buffer_paused or self._backlog):
            return  # aiohttp resumes after every read, paused or not
        super().resume_reading(resume_parser)
        if self._backlog:
            # Its reader is ready for more, which is here: read further, the connection's end would overtake it.
            self._take_turn_later()

    def connection_lost(self, exc: BaseException | None) -> None:
        rest, self._backlog = self._backlog, b""
        if rest and not self.is_idle:
            super().data_received(rest)
        super().connection_lost(exc)

    def _parse_in_slices(self, data: bytes) -> None:
        start, size, ends_s = 0, len(data), 0.0
        while True:
            end = self._end_of_slice(data, start)
            self._parse(data if end - start == size else data[start:end])
            if end == size or self._exception is not None or self.transport is None:
                return
            start = end
            if self.is_idle:
                self.close()
                return
            now = time.perf_counter()
            ends_s = ends_s or now + TURN_S
            if self._reading_paused or now > ends_s:
                self._backlog = data[start:]
                self._take_turn_later()
                return

    def _take_turn_later(self) -> None:
        self._pause_transport_reading()
        if self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self.transport is None or self._reading_paused:
            return  # resume_reading comes back to it
        rest, self._backlog = self._backlog, b""
        if self.is_idle and rest:
            self.close()
            return
        if rest:
            self._parse_in_slices(rest)
        if not self._backlog and not self._reading_paused:
            self._resume_transport_reading()

    def _end_of_slice(self, data: bytes, start: int) -> int:
        """Heads are parsed one by one: they can be counted, and what is wrong behind one does not spoil it."""
        end = min(start + SLICE, len(data))
        if self._is_head_due and not data.startswith(_BLANK, start):
            found = data.find(_HEAD_END, start, end)
            if found >= 0:
                return found + len(_HEAD_END)
        return end

    def _parse(self, data: bytes) -> None:
        was_due = self._is_head_due
        super().data_received(data)
        payload = self._payload
        if self._exception is not None:
            # aiohttp ends the connection, but not a body that has begun: its reader would wait for ever.
            self._end_body(aiohttp.ClientPayloadError("the body is malformed"))
            return
        body = payload.total_bytes if payload is not None else 0
        if self._is_head_due:
            self._received += len(data)
            is_excess = self._received > HEAD_MOST or self._interim > INTERIM_MOST
        elif was_due:
            self._received = body
            is_excess = False
        else:
            self._received += len(data)
            # A parser that is paused keeps a part of the last slice.
            unparsed = len(data) if self._reading_paused else 0
            is_excess = self._received - unparsed - body > OTHER_MOST + body
        if is_excess:
            self._break_off()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """A head has been parsed."""
        if self.is_idle:  # right behind the end of the answer that was asked for
            self.close()
            return
        if 100 <= data[0].code < 200 and data[0].code != 101:
            self._interim += 1
        else:
            self._is_head_due = False
        super().feed_data(data, size)

    def _break_off(self) -> None:
        error = EndlessAnswer("headers, trailers or chunks without end")
        self._end_body(error)
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()

    def _end_body(self, error: Exception) -> None:
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(error)
