"""Writes the responses of one HTTP/2 client: streams take turns, one frame each, as far as windows and the socket
allow. A stream whose client reads nothing of it for too long is reset.
"""

import asyncio
from collections.abc import Callable

from h2.connection import H2Connection

from gateway.http.http2.frames import Frames
from gateway.http.http2.room import Room
from gateway.http.http2.stream import Http2Stream
from gateway.http.http2.timers import Timers

SENT_MOST = 16_384  # bytes of an answer in one frame, so that streams take turns


class Responses:
    """Calls ``flush`` to write the bytes that `h2` holds, ``ended`` when all of a stream is written, and ``stalled``
    when its client has read nothing of it for ``stall_s``. ``is_full``: the socket takes no more bytes.
    """

    def __init__(
        self,
        connection: H2Connection,
        frames: Frames,
        timers: Timers,
        stall_s: float,
        flush: Callable[[], None],
        ended: Callable[[Http2Stream], None],
        stalled: Callable[[Http2Stream], None],
    ) -> None:
        self._h2 = connection
        self._frames = frames
        self._timers = timers
        self._stall_s = stall_s
        self._flush = flush
        self._ended = ended
        self._stalled = stalled
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, Http2Stream] = {}  # streams with unwritten bytes, in turn
        self._room = Room(self._size, self._window)
        self._admitted: dict[int, float] = {}  # after a wait for room: when the client last read something
        self._progress_s = float("-inf")
        self.is_full = False

    def room(self, stream: Http2Stream) -> int:
        """Returns how many bytes the stream may append now."""
        return self._room.of(stream)

    async def wait_for_room(self, stream: Http2Stream) -> int:
        """Returns how many bytes the stream may append; 0 if it was dropped while it waited."""
        since_s = self._loop.time()
        self._check_waiting(stream, since_s)
        try:
            size = await self._room.wait(stream)
        finally:
            self._timers.stop(("room", stream.id))
        if size and stream.id not in self._waiting:
            self._admitted[stream.id] = max(since_s, self._progress_s)
        return size

    def _check_waiting(self, stream: Http2Stream, since_s: float) -> None:
        """Resets a waiting stream once the client has read nothing of any stream for too long."""
        left_s = max(since_s, self._progress_s) + self._stall_s - self._loop.time()
        if left_s <= 0:
            self._stalled(stream)
        else:
            self._timers.begin(("room", stream.id), left_s, self._check_waiting, stream, since_s)

    def _size(self) -> int:
        return sum(len(stream.out) for stream in self._waiting.values())

    def _window(self, stream: Http2Stream) -> int:
        return 0 if self.is_full else max(self._h2.local_flow_control_window(stream.id), 0)

    def add(self, stream: Http2Stream) -> None:
        """Adds a stream that has more bytes to write, or its end."""
        if stream.id not in self._waiting:
            self._waiting[stream.id] = stream
            stream.progress_s = self._admitted.pop(stream.id, self._loop.time())
        self.write()
        if stream.id in self._waiting and stream.id not in self._timers:
            left_s = max(stream.progress_s + self._stall_s - self._loop.time(), 0)
            self._timers.begin(stream.id, left_s, self._check_progress, stream)

    def drop(self, stream: Http2Stream) -> None:
        self._remove(stream)
        self._room.drop(stream)
        self._room.wake()

    def _remove(self, stream: Http2Stream) -> None:
        if self._waiting.pop(stream.id, None) is not None:
            self._timers.stop(stream.id)

    def clear(self) -> None:
        self._waiting.clear()
        self._room.clear()

    def write(self) -> None:
        """Writes a frame of each stream in turn, until no bytes are left or the client takes no more."""
        has_written = True
        while has_written and self._waiting and not self.is_full:
            has_written = False
            for stream in list(self._waiting.values()):
                if stream.id in self._waiting and not self.is_full:
                    has_written |= self._write_frame(stream)
            self._flush()
        self._room.wake()

    def _write_frame(self, stream: Http2Stream) -> bool:
        window = max(self._h2.local_flow_control_window(stream.id), 0)
        size = min(len(stream.out), window, self._h2.max_outbound_frame_size, SENT_MOST)
        is_last = stream.is_ended and size == len(stream.out)
        if not size and not is_last:
            return False
        self._h2.send_data(stream.id, bytes(stream.out[:size]), end_stream=is_last)
        del stream.out[:size]
        self._frames.sent()
        self._progress_s = stream.progress_s = self._loop.time()
        stream.is_written = is_last
        if not stream.out:
            self._remove(stream)
        stream.written()
        if is_last:
            self._ended(stream)
        return True

    def _check_progress(self, stream: Http2Stream) -> None:
        if stream.id not in self._waiting:
            return
        stalled_s = self._loop.time() - stream.progress_s
        if stalled_s >= self._stall_s:
            self._stalled(stream)
        else:
            self._timers.begin(stream.id, self._stall_s - stalled_s, self._check_progress, stream)
