"""The answer to a request: its head, and its body as it arrives. A reader that is late pauses the connection."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.upstream.http.faults import HttpFault

Header = tuple[bytes, bytes]
HELD_MOST = 131_072  # bytes of a body that its reader has not taken: more pause the connection
_NO_TYPE = "application/octet-stream"


class Line(Protocol):
    """The connection as its answer uses it."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...


class Response:
    """The answer to one request. Its holder closes it. ``headers``: names in lower case, in the order received."""

    def __init__(self, line: Line, status: int, headers: list[Header]) -> None:
        self.status = status
        self.headers = headers
        self._line: Line | None = line  # None once the body is complete
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0
        self._fault: HttpFault | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], bool] | None = None

    @property
    def content_type(self) -> str:
        """The media type in lower case, without its parameters."""
        value = next((value for name, value in self.headers if name == b"content-type"), b"")
        return value.partition(b";")[0].strip().decode("latin-1").lower() or _NO_TYPE

    @property
    def date(self) -> str:
        """The date of the answer as the server wrote it, empty without one."""
        return next((value for name, value in self.headers if name == b"date"), b"").decode("latin-1")

    async def chunk(self) -> bytes:
        """Returns the bytes that have arrived since the last call, waits if there are none; empty at the end of the
        body. Raises HttpFault when the body breaks.
        """
        while not self._parts:
            if self._fault is not None:
                raise self._fault
            if self._line is None:
                return b""
            await self._arrival()
        return self._taken()

    async def pass_on(self, sink: Callable[[bytes], bool]) -> None:
        """Hands bytes to ``sink`` as they arrive, in the callback of the connection, until it returns False or the body
        ends or breaks; `chunk` returns what follows.
        """
        while self._parts:
            if not sink(self._taken()):
                return
        if self._line is None or self._fault is not None:
            return
        self._sink = sink
        try:
            await self._arrival()
        finally:
            self._sink = None

    def close(self) -> None:
        """Closes the connection unless the body is complete."""
        line, self._line = self._line, None
        if line is not None:
            line.abort()

    # -- called by the connection -----------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Takes bytes of the body."""
        if self._sink is not None:
            self._pass(self._sink, data)
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > HELD_MOST and self._line is not None:
            self._line.pause()
        self._wake()

    def end(self, fault: HttpFault | None = None) -> None:
        """Ends the body, by ``fault`` if it broke."""
        self._line, self._fault = None, fault
        self._wake()

    def _pass(self, sink: Callable[[bytes], bool], data: bytes) -> None:
        try:
            if sink(data):
                return
            self._wake()
        except Exception as defect:  # belongs to the reader, not to the connection
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(defect)
        self._sink = None

    def _taken(self) -> bytes:
        parts, self._parts, self._size = self._parts, [], 0
        if self._line is not None:
            self._line.resume()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _arrival(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
