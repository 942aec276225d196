"""HTTP/2 on one TLS connection, with `h2`, the library that Hypercorn's own HTTP/2 uses as well. Hypercorn's keeps a
response in memory without a bound while its client's window is closed, blocks the whole connection when an application
does not read a body, and ends in a traceback when data arrives for an answered stream; docs/tls.md has the list.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from starlette.types import ASGIApp

from gateway.http.asgi_cycle import address
from gateway.http.client_clock import ClientClock, Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.http.http2.bounds import STREAMS_MOST, announced, code_of
from gateway.http.http2.frames import GOAWAY, Frame, Frames, Violation, goaway
from gateway.http.http2.reading import Reading
from gateway.http.http2.request import request_of
from gateway.http.http2.responses import Responses
from gateway.http.http2.stream import Header, Http2Stream
from gateway.http.http2.timers import Timers
from gateway.http.timer_wheel import running_wheel

FRAMES_AT_ONCE = 64  # before other connections get their turn

_log = logging.getLogger("pllm.http2")


class Http2(asyncio.Protocol):
    """One client's connection after its handshake. While ``is_leaving``, it ends after its current requests."""

    def __init__(
        self,
        app: ASGIApp,
        timeouts: Timeouts,
        connections: ClientConnections,
        closed: Callable[["Http2"], object],
        is_leaving: Callable[[], bool],
    ) -> None:
        self._app = app
        self._timeouts = timeouts
        self._connections = connections
        self._closed = closed
        self._is_leaving = is_leaving
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, None)
        self._frames = Frames(self._loop.time)
        self._h2 = announced()
        self._streams: dict[int, Http2Stream] = {}  # not closed yet
        self._running: set[Http2Stream] = set()
        self._last_id = self._unfinished = 0
        self._timers = Timers()
        self._clock = ClientClock(running_wheel(), timeouts)
        self._responses = Responses(
            self._h2, self._frames, self._timers, timeouts.stall, self._flush, self._finish, self._reset
        )
        self._is_surplus = self._is_lost = self._is_working = self._has_sent_goaway = False
        self.is_over = False  # no further request will be served

    # -- the connection ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._reading = Reading(self._transport)
        self._client, self._server = (address(transport, name) for name in ("peername", "sockname"))
        self._is_surplus = self._connections.opened(self, self._client and self._client[0])
        self._flush()
        self._became_idle()
        self._watch_unfinished()

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_over = self._is_lost = True
        self._timers.close()
        self._clock.close()
        self._connections.closed(self)
        self._responses.clear()
        for stream in self._streams.values():
            stream.left()
        self._streams.clear()
        if not self._running:
            self._closed(self)

    def pause_writing(self) -> None:
        self._reading.hold("full")  # each ping needs a response, and there is no room for one
        self._responses.is_full = True
        self._clock.await_taking(self._transport)

    def resume_writing(self) -> None:
        self._responses.is_full = False
        self._clock.taken()
        self._responses.write()
        self._reading.release("full")

    def end(self) -> None:
        """Closes now when idle, otherwise after the responses in flight."""
        self.is_over = True
        self._send_goaway()
        self._became_idle()

    def cut_off(self) -> None:
        """Aborts the connection and cancels its requests."""
        for stream in self._running:
            if stream.task is not None:
                stream.task.cancel()
        self._transport.abort()

    def _became_idle(self) -> None:
        if self._is_lost or self._streams or self._running:
            return
        if self.is_over:
            self._close()
        else:
            self._connections.idle(self)
            self._timers.begin("idle", self._timeouts.keep_alive, self.end)

    def _close(self) -> None:
        self._transport.close()
        self._timers.begin("close", self._timeouts.stall, self._transport.abort)

    def _send_goaway(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Sends GOAWAY, but not through `h2`, which would send no response after it."""
        if not self._has_sent_goaway and not self._is_lost:
            self._has_sent_goaway = True
            self._transport.write(goaway(self._last_id, code))

    def _fail(self, code: ErrorCodes) -> None:
        """Ends the connection of a client that violates the protocol or floods."""
        self.is_over = True
        self._flush()
        self._send_goaway(code)
        self._responses.clear()
        for stream in self._streams.values():
            stream.left()
        self._streams.clear()
        self._close()

    # -- frames in --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._frames.receive(data)
        if not self._is_working:
            self._work()

    def _work(self) -> None:
        """Handles some of the complete frames; the rest after other connections have had their turn."""
        self._is_working, count = False, 0
        if self._transport.is_closing():
            return
        try:
            for frame in self._frames.complete(FRAMES_AT_ONCE):
                count += 1
                self._take(frame)
        except Violation as violation:
            self._fail(violation.code)
        except ProtocolError as error:
            self._h2.clear_outbound_data_buffer()  # with the GOAWAY that `h2` has made
            self._fail(code_of(error))
        except Exception:
            _log.exception("defect in HTTP/2")
            self._fail(ErrorCodes.INTERNAL_ERROR)
        else:
            self._worked(has_more=count == FRAMES_AT_ONCE)

    def _worked(self, *, has_more: bool) -> None:
        self._flush()
        self._responses.write()
        self._watch_unfinished()
        if has_more:
            self._is_working = True
            self._reading.hold("work")
            self._loop.call_soon(self._work)
        else:
            self._reading.release("work")

    def _take(self, frame: Frame) -> None:
        """Handles one frame. Raises ProtocolError, Violation."""
        if frame.kind == GOAWAY and frame.stream_id == 0 and len(frame.data) >= 9 + 8:
            self.is_over = True  # `h2` would drop the responses in flight, which the client still expects
            self._became_idle()
            return
        for event in self._h2.receive_data(frame.data):
            match event:
                case events.RequestReceived():
                    self._open(event.stream_id, event.headers)
                case events.DataReceived():
                    self._take_data(event.stream_id, event.data, event.flow_controlled_length)
                case events.StreamEnded() if event.stream_id in self._streams:
                    self._streams[event.stream_id].complete()
                    self._finish(self._streams[event.stream_id])
                case events.StreamReset() if event.stream_id in self._streams:
                    self._drop(self._streams[event.stream_id])

    def _open(self, stream_id: int, headers: list[Header]) -> None:
        """Raises Violation."""
        if self.is_over or len(self._running) >= STREAMS_MOST:
            self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)  # clients may send such a request again
            self._frames.charge()
            return
        self._last_id = stream_id
        self._timers.stop("idle")
        self._connections.busy(self)
        scope, awaits_go, refusing = request_of(headers, self._client, self._server, self._is_surplus)
        stream = self._streams[stream_id] = Http2Stream(self, stream_id, scope, awaits_go=awaits_go)
        self._running.add(stream)
        stream.begin(refusing or self._app, self._loop)
        self._timers.begin(("body", stream_id), self._timeouts.body, self._check_body, stream, 0)
        if self._is_leaving():
            self.end()

    def _check_body(self, stream: Http2Stream, size_before: int) -> None:
        """Resets the stream of a client that sends its body below the least rate although its window is open."""
        if stream.id not in self._streams or stream.is_complete or stream.is_ended:
            return
        may_send = self._h2.remote_flow_control_window(stream.id) > 0
        if may_send and stream.size - size_before < self._timeouts.body_bytes:
            self._reset(stream)
        else:
            self._timers.begin(("body", stream.id), self._timeouts.body, self._check_body, stream, stream.size)

    def _take_data(self, stream_id: int, data: bytes, size: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.take(data, size)
        elif size:
            self._h2.acknowledge_received_data(size, stream_id)

    def _watch_unfinished(self) -> None:
        before, self._unfinished = self._unfinished, self._frames.unfinished
        if self._unfinished != before:
            self._timers.stop("unfinished")
            if self._unfinished:
                self._timers.begin("unfinished", self._timeouts.head, self._fail, ErrorCodes.PROTOCOL_ERROR)

    # -- frames out: streams call these -----------------------------------------------------------------------

    def begin(self, stream: Http2Stream, status: int, headers: list[Header]) -> None:
        self._h2.send_headers(stream.id, [(b":status", b"%d" % status), *headers])
        self._flush()

    def write(self, stream: Http2Stream) -> None:
        self._responses.add(stream)

    def room(self, stream: Http2Stream) -> int:
        return self._responses.room(stream)

    async def wait_for_room(self, stream: Http2Stream) -> int:
        return await self._responses.wait_for_room(stream)

    def consumed(self, stream: Http2Stream, size: int) -> None:
        if self._is_lost or stream.is_gone:
            return
        self._h2.acknowledge_received_data(size, stream.id)
        self._flush()

    def finished(self, stream: Http2Stream) -> None:
        self._running.discard(stream)
        if stream.id in self._streams and not stream.is_ended:  # the application was cancelled
            self._reset(stream, ErrorCodes.INTERNAL_ERROR)
        if self._is_lost and not self._running:
            self._closed(self)
        else:
            self._became_idle()

    def _finish(self, stream: Http2Stream) -> None:
        """Closes a stream whose response is written. The rest of an incomplete request is discarded for a while."""
        if not stream.is_written:
            return
        stream.discard()
        if stream.is_complete:
            self._forget(stream)
        else:
            self._timers.begin(stream.id, self._timeouts.linger, self._reset, stream, ErrorCodes.NO_ERROR)

    def _reset(self, stream: Http2Stream, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        if stream.id in self._streams:
            self._h2.reset_stream(stream.id, code)
            self._drop(stream)
            self._flush()

    def _drop(self, stream: Http2Stream) -> None:
        """Removes a stream. Its application receives a disconnect, which aborts the provider's call."""
        self._responses.drop(stream)
        stream.discard()
        stream.left()
        self._forget(stream)

    def _forget(self, stream: Http2Stream) -> None:
        self._timers.stop(stream.id)
        self._timers.stop(("body", stream.id))
        self._streams.pop(stream.id, None)
        self._became_idle()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)
