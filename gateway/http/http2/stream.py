"""One HTTP/2 request and its response as ASGI messages."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

from gateway.http.asgi_messages import NO_STORE, ON_LEFT
from gateway.http.http_text import date_line

Header = tuple[bytes, bytes]

OUT_MOST = 65_536  # bytes of a response that wait for the client's window
_BODILESS = frozenset({204, 205, 304})
_NO_RESPONSE: Message = {"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0"), NO_STORE]}

_log = logging.getLogger("pllm.asgi")


class Wire(Protocol):
    """The connection as a stream uses it."""

    def begin(self, stream: "Http2Stream", status: int, headers: list[Header]) -> None:
        """Writes the head of a response, or of an interim one."""

    def write(self, stream: "Http2Stream") -> None:
        """Writes ``stream.out`` as the client takes it, now and later."""

    def room(self, stream: "Http2Stream") -> int:
        """Returns how many bytes ``stream.out`` may take now."""

    async def wait_for_room(self, stream: "Http2Stream") -> int:
        """Returns how many bytes ``stream.out`` may take; 0 if the stream is gone."""

    def consumed(self, stream: "Http2Stream", size: int) -> None:
        """Lets the client send ``size`` more bytes."""

    def finished(self, stream: "Http2Stream") -> None:
        """Notes that the application has returned."""


class Http2Stream:
    """One request, filled while its frames arrive, and its response."""

    def __init__(self, wire: Wire, stream_id: int, scope: Scope, *, awaits_go: bool) -> None:
        self.id = stream_id
        self._wire = wire
        self._scope = scope
        self._awaits_go = awaits_go
        self._body: list[bytes] = []
        self.size = 0  # of the body so far, in bytes of flow control, padding included
        self.unread = 0  # bytes of it that the application has not read
        self._is_body_read = False
        self._arrived: asyncio.Future[None] | None = None
        self._written: asyncio.Future[None] | None = None
        self._head: tuple[int, list[Header]] | None = None  # until the first part of the body goes out with it
        self._is_bodiless = scope["method"] == "HEAD"
        self._is_begun = False
        self.out = bytearray()  # bytes of the response that are not written yet
        self.progress_s = 0.0  # when the client last took bytes, by the loop's clock
        self.is_complete = False  # the whole request has arrived
        self.is_ended = False  # no bytes will follow ``out``
        self.is_written = False  # and all of ``out`` is written
        self.is_gone = False  # the client has reset the stream, or left
        self._on_left: Callable[[], object] | None = None
        scope[ON_LEFT] = self._call_when_left
        self.task: asyncio.Task[None] | None = None

    def begin(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        self.task = loop.create_task(self._run(app))

    async def _run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive, self._send)
        except Exception:
            _log.exception("defect in the application")
        finally:
            if not self.is_ended and not self.is_gone and not self._is_begun:
                self._begin_response(_NO_RESPONSE)
                self._write_head()
                self._end()
            self._on_left = None
            del self._scope[ON_LEFT]  # it refers to this object
            self._wire.finished(self)

    # -- the request ------------------------------------------------------------------------------------------

    def take(self, data: bytes, size: int) -> None:
        """Adds bytes of the body. ``size``: what they take of the windows, padding included."""
        if self.is_ended:
            self._wire.consumed(self, size)
            return
        self._body.append(data)
        self.unread += size
        self.size += size
        self._wake(self._arrived)

    def complete(self) -> None:
        self.is_complete = True
        self._wake(self._arrived)

    def left(self) -> None:
        """Notes that the client has reset the stream or left."""
        self.is_gone = True
        self.out.clear()
        self._wake(self._arrived)
        self._wake(self._written)
        if self._on_left is not None:
            self._on_left()

    def _call_when_left(self, act: Callable[[], object]) -> None:
        self._on_left = act
        if self.is_gone:
            act()

    def _wake(self, waiting: "asyncio.Future[None] | None") -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _receive(self) -> Message:
        if self._awaits_go and not self._is_begun and not self.is_gone:
            self._awaits_go = False
            self._wire.begin(self, 100, [])
        while True:
            if self.is_gone or self.is_ended:
                return {"type": "http.disconnect"}
            if self._body or (self.is_complete and not self._is_body_read):
                return self._rest()
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived

    def _rest(self) -> Message:
        body, size = b"".join(self._body), self.unread
        self._body, self.unread, self._is_body_read = [], 0, self.is_complete
        if size:
            self._wire.consumed(self, size)
        return {"type": "http.request", "body": body, "more_body": not self.is_complete}

    def discard(self) -> None:
        """Discards the unread bytes of the body."""
        size, self.unread = self.unread, 0
        self._body.clear()
        if size:
            self._wire.consumed(self, size)

    # -- the answer -------------------------------------------------------------------------------------------

    async def _send(self, message: Message) -> None:
        if self.is_gone or self.is_ended:
            return
        if message["type"] == "http.response.start" and not self._is_begun:
            self._begin_response(message)
            return
        if message["type"] != "http.response.body" or not self._is_begun:
            raise RuntimeError(f"unexpected ASGI message {message['type']}")
        self._write_head()
        if not await self._append(b"" if self._is_bodiless else message.get("body", b"")):
            return
        is_last = not message.get("more_body", False)
        if is_last:
            self._end()
        elif self.out:
            self._wire.write(self)
        await self._wait_until_written(0 if is_last else OUT_MOST)

    async def _append(self, body: bytes) -> bool:
        """Adds the body to ``out`` in chunks, as the connection has room. The last chunk is not written yet. Returns
        whether the client is still there.
        """
        rest = memoryview(body)
        while rest and not self.is_gone:
            size = self._wire.room(self) or await self._wire.wait_for_room(self)
            if not size:
                return False
            self.out += rest[:size]
            rest = rest[size:]
            if rest:
                self._wire.write(self)
                await self._wait_until_written(OUT_MOST)
        return not self.is_gone

    async def _wait_until_written(self, most: int) -> None:
        """Returns once at most ``most`` bytes of ``out`` are left."""
        while len(self.out) > most:
            self._written = asyncio.get_running_loop().create_future()
            await self._written

    def written(self) -> None:
        """Notes that a part of ``out`` has been written."""
        self._wake(self._written)

    def _begin_response(self, start: Message) -> None:
        """Begins the response. Raises ValueError for a header with a line break."""
        status, headers = start["status"], list[Header](start.get("headers", []))
        if any(b"\r" in value or b"\n" in value for _, value in headers):
            raise ValueError("line break in a response header")
        self._is_bodiless = self._is_bodiless or status in _BODILESS
        self._head, self._is_begun = (status, headers), True

    def _write_head(self) -> None:
        if self._head is not None:
            (status, headers), self._head = self._head, None
            headers.append((b"date", date_line(int(time.time()))[6:-2]))
            self._wire.begin(self, status, headers)

    def _end(self) -> None:
        self.is_ended = True
        self._wake(self._arrived)
        self._wire.write(self)
