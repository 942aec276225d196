"""Room for the answers of one HTTP/2 connection: while their waiting bytes reach the bound, further ones wait with
their applications, in turn. A stream that its client takes bytes of need not wait.
"""

import asyncio
from collections.abc import Callable

from gateway.http.http2.bounds import WAITING_MOST
from gateway.http.http2.stream import OUT_MOST, Http2Stream


class Room:
    """``waiting``: bytes of all answers that wait for the client; ``window``: how many of a stream it takes now."""

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
        """Returns how many bytes the stream may append; 0 when it is dropped meanwhile."""
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
        """Those that may go on: the next one if there is room, and each whose client takes something."""
        if not self._queue:
            return
        has_room = self._waiting() < WAITING_MOST
        for stream, awaited in self._queue.items():
            if not awaited.done() and (has_room or self._window(stream)):
                awaited.set_result(None)
            has_room = False

    def drop(self, stream: Http2Stream) -> None:
        """Ends its wait: it is gone in a moment, and has no window any more."""
        if stream in self._queue and not self._queue[stream].done():
            self._queue[stream].set_result(None)

    def clear(self) -> None:
        for stream in self._queue:
            self.drop(stream)
