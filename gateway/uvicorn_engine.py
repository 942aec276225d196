"""Serves an ASGI app with uvicorn, whose HTTP/1.1 protocol is taught what the other engine knows: it sees its client
leave while further requests wait, bounds what a client sends ahead and the head of a request, passes over offers to
change protocols, and takes no trailer for a header.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.http1 import AHEAD_MOST, HEAD_MOST, NOT_HTTP, without_offer
from gateway.http_text import Refuse, refusal

START_LOOK_S = 0.01  # uvicorn does not report when it listens


class WatchfulHttp1(HttpToolsProtocol):
    """uvicorn stops reading while a pipelined request waits, and tells only the last one that its client has left."""

    refuse: Refuse
    _running: RequestResponseCycle | None = None
    _ahead_size = 0
    _head_size = 0
    _is_begun = False  # is a request only partly parsed?
    _is_in_head = True
    _is_over = False

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._is_between():
            refused = type(self).refuse(data)
            if refused is not None:
                self._unset_keepalive_if_required()
                self.transport.write(refused)
                self._wait_for_next()
                return
        if self._is_in_head:
            self._head_size += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._give_up()
            return
        if self._is_in_head and self._head_size > HEAD_MOST:
            self._is_over = True
            self.transport.write(refusal(431, b"The request headers are too large."))
            self.transport.close()
        elif self.pipeline:
            self._ahead_size += len(data)
            if self._ahead_size > AHEAD_MOST:
                self._drop_ahead()
            self.flow.resume_reading()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = without_offer(self.parser, self.url, self.headers) + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own

    def _give_up(self) -> None:
        """What came is no HTTP. An answer in flight is not spoilt by it, unless it is for what is broken."""
        is_answering = self._running is not None and not self._running.response_complete
        if is_answering and (self._is_in_head or self.pipeline):
            self._drop_ahead()
            return
        self._is_over = True
        self.transport.write(refusal(400, NOT_HTTP))
        self.transport.close()

    def _is_between(self) -> bool:
        """Who does not take its answers gets no further one ahead of those."""
        is_idle = self._running is None or (self._running.response_complete and self._running.keep_alive)
        return is_idle and not self._is_begun and not self.flow.write_paused

    def _wait_for_next(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _drop_ahead(self) -> None:
        self._is_over = True
        self.pipeline.clear()
        if self._running is not None:
            self._running.keep_alive = False

    def on_message_begin(self) -> None:
        self._is_begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_size = 0
        if not self.parser.should_upgrade():  # it comes again, without the offer
            super().on_headers_complete()
        self._is_in_head = False

    def on_message_complete(self) -> None:
        self._is_begun, self._is_in_head = False, True
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self._ahead_size = 0

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)


async def _once_started(server: uvicorn.Server, drained: Callable[[], Awaitable[object]]) -> None:
    while not server.started:
        await asyncio.sleep(START_LOOK_S)
    await drained()


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    keep_alive_s: float,
    backlog: int,
    refuse: Refuse,
    drained: Callable[[], Awaitable[object]],
    listener: int | None = None,
) -> None:
    """Serves until ``drained`` returns; what is still in flight then has a second. ``listener``: a socket to serve
    instead of host and port.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=type("Http1", (WatchfulHttp1,), {"refuse": staticmethod(refuse)}),
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(keep_alive_s),
        backlog=backlog,
        timeout_graceful_shutdown=1,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    sockets = None if listener is None else [socket.socket(fileno=listener)]
    serving = asyncio.create_task(server._serve(sockets))
    trigger = asyncio.create_task(_once_started(server, drained))
    await asyncio.wait([serving, trigger], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    trigger.cancel()
    await serving
