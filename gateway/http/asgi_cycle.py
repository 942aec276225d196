"""One HTTP/1.1 request and its response as ASGI messages. Hypercorn's own stream uses a queue, a task group and seven
events for the same exchange.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from gateway.http.asgi_messages import NO_STORE, ON_LEFT, WHOLE_BODY
from gateway.http.http_text import Address, date_line, status_line

Header = tuple[bytes, bytes]

PASS_ON = "pllm.pass_on"  # the extension by which an endpoint passes on chunks of a stream without waiting
UNREAD_MOST = 262_144  # bytes of a body that the application has not read yet
_ASGI = {"version": "3.0", "spec_version": "2.1"}
_BODILESS = frozenset({204, 304})
_NO_RESPONSE: Message = {"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0"), NO_STORE]}

_log = logging.getLogger("pllm.asgi")


class Wire(Protocol):
    """The connection as a cycle uses it."""

    is_over: bool  # it serves no further request
    is_full: bool  # its client does not read the bytes that were sent

    def write(self, data: bytes) -> None: ...

    async def drained(self) -> None:
        """Returns once the client can take more bytes."""

    def wants_more(self) -> None:
        """Resumes reading: the application has read the body so far."""

    def answered(self, cycle: "Cycle") -> None:
        """Notes that the last byte of the response has been written, or never will be."""

    def finished(self, cycle: "Cycle") -> None:
        """Notes that the application has returned."""


class Cycle:
    """One request, filled while it is parsed and begun when its turn comes, and its response."""

    def __init__(self, wire: Wire, scope: Scope, *, keeps_alive: bool, awaits_go: bool) -> None:
        self._wire = wire
        self._scope = scope
        self._keeps_alive = keeps_alive
        self._awaits_go = awaits_go  # the client sends its body only after `100 Continue`
        self._body: list[bytes] = []
        self.size = 0  # bytes of the body so far
        self.unread = 0  # bytes of it that the application has not read
        self._is_body_read = False
        self._arrived: asyncio.Future[None] | None = None
        self._has_left = False
        self._on_left: Callable[[], object] | None = None
        scope[ON_LEFT] = self._call_when_left
        self._head = b""  # until the first chunk of the body goes out with it
        self._is_chunked = scope["http_version"] == "1.1"
        self._is_bodiless = scope["method"] == "HEAD"
        self.is_complete = False  # the whole request has arrived
        self.is_begun = False  # the response has a status and headers
        self.is_answered = False  # the response is complete, or never will be
        self.task: asyncio.Task[None] | None = None

    def begin(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        self._wire.is_over = self._wire.is_over or not self._keeps_alive
        if self.is_complete and len(self._body) == 1 and self.size <= UNREAD_MOST:
            self._scope[WHOLE_BODY] = self._body[0]
        self.task = loop.create_task(self._run(app))

    async def _run(self, app: ASGIApp) -> None:
        scope, self._scope = self._scope, {}  # it refers to this object: a circle would keep the request's memory
        scope["extensions"] = {PASS_ON: self.pass_on}
        try:
            await app(scope, self._receive, self._send)
        except Exception:
            _log.exception("defect in the application")
        finally:
            if not self.is_answered:
                self._wire.is_over = True
                if not self.is_begun and not self._has_left:
                    self._begin_response(_NO_RESPONSE)
                    self._wire.write(self._head)
                self._end()
            self._on_left = None
            self._wire.finished(self)

    # -- the request ------------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Adds bytes of the body."""
        self._body.append(data)
        self.unread += len(data)
        self.size += len(data)
        self._wake()

    def complete(self) -> None:
        self.is_complete = True
        self._wake()

    def left(self) -> None:
        """Notes that the client has left."""
        self._has_left = True
        self._wake()
        if self._on_left is not None:
            self._on_left()

    def _call_when_left(self, act: Callable[[], object]) -> None:
        self._on_left = act
        if self._has_left:
            act()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def _receive(self) -> Message:
        while True:
            if self._has_left or self.is_answered:
                return {"type": "http.disconnect"}
            if self._body or (self.is_complete and not self._is_body_read):
                return self._rest()
            if self._awaits_go and not self.is_begun:
                # The application lets the request in by reading its body.
                self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._awaits_go = False
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived

    def _rest(self) -> Message:
        parts, self._body = self._body, []
        self.unread, self._is_body_read = 0, self.is_complete
        self._wire.wants_more()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": body, "more_body": not self.is_complete}

    # -- the answer -------------------------------------------------------------------------------------------

    def pass_on(self, data: bytes) -> bool:
        """Writes bytes of a begun response without waiting. Returns whether the client has room for more."""
        if data and not self._has_left and not self.is_answered:
            framed = b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data
            head, self._head = self._head, b""
            self._wire.write(head + framed if head else framed)
        return not self._wire.is_full

    async def _send(self, message: Message) -> None:
        if self._has_left or self.is_answered:
            return
        if message["type"] == "http.response.start" and not self.is_begun:
            self._begin_response(message)
            return
        if message["type"] != "http.response.body" or not self.is_begun:
            raise RuntimeError(f"unexpected ASGI message {message['type']}")
        data, is_last = message.get("body", b""), not message.get("more_body", False)
        if self._is_bodiless:
            data = b""
        elif self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if is_last:
                data += b"0\r\n\r\n"
        if data or is_last:
            head, self._head = self._head, b""
            if head or data:
                self._wire.write(head + data)
        if self._wire.is_full:
            await self._wire.drained()
        if is_last:
            self._end()

    def _begin_response(self, start: Message) -> None:
        """Begins the response. Raises ValueError for a header with a line break, which would end the head early."""
        wire, status = self._wire, start["status"]
        headers: list[Header] = start.get("headers", [])
        lines = [status_line(status)[:-2], *[b": ".join(header) for header in headers]]
        head = b"\r\n".join(lines) + b"\r\n"
        if head.count(b"\r") != len(lines) or head.count(b"\n") != len(lines):
            raise ValueError("line break in a response header")
        wire.is_over = wire.is_over or not self.is_complete
        self._is_bodiless = self._is_bodiless or status in _BODILESS
        if self._is_bodiless or b"\ncontent-length: " in head:
            self._is_chunked = False
        elif self._is_chunked:
            head += b"transfer-encoding: chunked\r\n"
        if wire.is_over:
            head += b"connection: close\r\n"
        self._head = b"%b%b\r\n" % (head, date_line(int(time.time())))
        self.is_begun = True

    def _end(self) -> None:
        self.is_answered = True
        self._wire.is_over = self._wire.is_over or not self.is_complete
        self._wake()
        self._wire.answered(self)


def address(transport: asyncio.BaseTransport, name: str) -> Address:
    info = transport.get_extra_info(name)
    return (info[0], info[1]) if isinstance(info, tuple) else None


def scope_of(
    method: str, target: bytes, version: str, headers: list[Header], client: Address, server: Address
) -> Scope:
    """Returns the ASGI scope of a request. ``target``: path and query as the client sent them."""
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("ascii")) if b"%" in path else path.decode("ascii"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": server,
    }
