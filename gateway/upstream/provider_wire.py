"""One connection to a provider. Bytes outside of bodies are counted and bounded, as they are for clients.

aiohttp bounds a header line and the number of headers, but not interim responses, chunk extensions, blank lines and
trailers.
"""

import asyncio
import time
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from gateway.upstream.fault_words import EndlessAnswer

HEAD_MOST = 262_144  # bytes before the body; content policies and traces of proxies take tens of KB
INTERIM_MOST = 100  # 1xx responses before the final one
OTHER_MOST = 32_768  # bytes after the head: chunk extensions and trailers; framing may be as large as its body
SLICE = 8_192  # bytes parsed at once: a segment of 256 KiB may hold tens of thousands of chunks
TURN_S = 0.005  # of parsing, then other connections get their turn
_BLANK, _HEAD_END = b"\r\n", b"\r\n\r\n"


class Wire(ResponseHandler):
    """Closes itself when bytes arrive while no call is in progress: they would be taken for the answer to the next
    call, which may be another tenant's. An answer that exceeds a bound fails, and its connection is closed.
    """

    is_idle = False
    has_received = False  # since the present call took the connection
    _is_head_due = True
    _interim = _received = 0
    _backlog = b""  # received, to be parsed in a later turn
    _turn: asyncio.Handle | None = None

    def begin(self) -> None:
        """Resets the counts of a kept connection for another call."""
        self.is_idle = self.has_received = False
        self._is_head_due = True
        self._interim = self._received = 0

    @property
    def should_close(self) -> bool:
        return bool(self._backlog) or super().should_close

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp parses its own backlog
            super().data_received(data)
            return
        if self.is_idle:
            self.close()
            return
        self.has_received = True
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
            # The reader gets the backlog first: if the transport read on, the connection's end would overtake it.
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
            return  # resume_reading takes it up again
        rest, self._backlog = self._backlog, b""
        if self.is_idle and rest:
            self.close()
            return
        if rest:
            self._parse_in_slices(rest)
        if not self._backlog and not self._reading_paused:
            self._resume_transport_reading()

    def _end_of_slice(self, data: bytes, start: int) -> int:
        """Returns the end of the next slice. Heads are parsed one by one, so that they can be counted and bad bytes
        after one do not affect it.
        """
        end = min(start + SLICE, len(data))
        if self._is_head_due and not data.startswith(_BLANK, start):
            head_end = data.find(_HEAD_END, start, end)
            if head_end >= 0:
                return head_end + len(_HEAD_END)
        return end

    def _parse(self, data: bytes) -> None:
        was_due = self._is_head_due
        super().data_received(data)
        payload = self._payload
        if self._exception is not None:
            # aiohttp ends the connection, but not a body that has begun: its reader would wait forever.
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
            # A paused parser keeps a part of the last slice.
            unparsed = len(data) if self._reading_paused else 0
            is_excess = self._received - unparsed - body > OTHER_MOST + body
        if is_excess:
            self._break_off()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Takes a parsed head."""
        if self.is_idle:  # directly after the end of the requested answer
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
