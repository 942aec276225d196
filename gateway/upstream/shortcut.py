"""The short way of a stream's chunk: from the provider's connection to the client's in one callback, without a task
switch, a queue or a copy. What cannot be done in a callback is left for the long way.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.request.off_loop import LARGE_CHUNK
from gateway.upstream.providers.adapters import Converter
from gateway.upstream.sse import WholeEvents
from gateway.upstream.stream_progress import Progress

Outlet = Callable[[bytes], bool]
"""Takes whole events for the client, or no bytes to show that the provider sent some. Returns whether it has room."""


class Body(Protocol):
    """The body of an answer as it arrives. `Response` has the contracts."""

    async def chunk(self) -> bytes: ...

    async def pass_on(self, sink: Callable[[bytes], bool]) -> None: ...

    def close(self) -> None: ...


class Shortcut:
    """Passes chunks on while the stream is in progress and its client has room."""

    def __init__(self, progress: Progress, held: WholeEvents, convert: Converter | None, outlet: Outlet) -> None:
        self._progress = progress
        self._held = held
        self._convert = convert
        self._outlet = outlet
        self._is_full = False
        self.left = b""  # a chunk that needs the long way

    async def is_stopped_by_reader(self, body: Body) -> bool:
        """Passes on what arrives. Returns True when the client has no room for more; False when the stream has ended or
        failed, its body is over, or the next chunk needs the long way. Raises as the converter does.
        """
        if self._progress.is_done or self._progress.has_error or self.left:
            return False
        self._is_full = False
        await body.pass_on(self._take)
        return self._is_full

    def taken(self) -> bytes:
        """Returns the chunk that needs the long way."""
        left, self.left = self.left, b""
        return left

    def _take(self, chunk: bytes) -> bool:
        if len(chunk) + self._held.size > LARGE_CHUNK:
            self.left = chunk
            return False
        whole = self._held.take(chunk)
        if whole:
            whole = self._progress.see(whole)
            if whole and self._convert is not None:
                whole = self._convert(whole)
        self._is_full = not self._outlet(whole)
        return not (self._is_full or self._progress.is_done or self._progress.has_error)
