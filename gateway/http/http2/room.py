"""Bounds the memory that the responses of one HTTP/2 connection take: once their unwritten bytes reach the bound,
further applications wait in turn. A stream whose client reads does not wait.
"""

import asyncio
from collections.abc import Callable

from gateway.http.http2.bounds import WAITING_MOST
from gateway.http.http2.stream import OUT_MOST, Http2Stream


class Room:
    """The bound on unwritten bytes of one connection. ``waiting`` returns the unwritten bytes of all responses,
    ``window`` those that a stream may send now.
    """

    def __init__(self, waiting: Callable[[], int], window: Callable[[Http2Stream], int]) -> None:
        self._waiting = waiting
        self._window = window
        self._loop = asyncio.get_running_loop()
        self._queue: dict[Http2Stream, asyncio.Future[None]] = {}

    def of(self, stream: Http2Stream) -> int:
        """Returns how many bytes the stream may append now."""
        is_next = not self._queue or next(iter(self._queue)) is stream
        if is_next and self._waiting() < WAITING_MOST:
            return OUT_MOST
        return min(self._window(stream), OUT_MOST)

    async def wait(self, stream: Http2Stream) -> int:
        """Returns how many bytes the stream may append; 0 if it was dropped while it waited."""
        self._queue[stream] = self._loop.create_future()
        try:
            while True:
                await self._queue[stream]
                if stream.is_gone:
                    return 0
                if size := self.of(stream):
                    return size
                self._queue[stream] = self._loop.create_future()
        finally:
            del self._queue[stream]
            self.wake()

    def wake(self) -> None:
        """Wakes the next stream if there is room, and every stream whose client reads."""
        if not self._queue:
            return
        has_room = self._waiting() < WAITING_MOST
        for stream, awaited in self._queue.items():
            if not awaited.done() and (has_room or self._window(stream)):
                awaited.set_result(None)
            has_room = False

    def drop(self, stream: Http2Stream) -> None:
        """Ends the wait of a stream that is about to be removed."""
        if stream in self._queue and not self._queue[stream].done():
            self._queue[stream].set_result(None)

    def clear(self) -> None:
        for stream in self._queue:
            self.drop(stream)
