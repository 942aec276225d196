"""The gateway's HTTP/2 without TLS, in a thread of this process."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import uvloop

from gateway.http.client_clock import Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.http.http2.connection import Http2
from tests.loadtest.process import PATIENCE_S, wait_until


class Alone:
    """An `Http2` on a plain socket, with timeouts of the test's own. ``made``: of each client."""

    def __init__(self, app: Any, timeouts: Timeouts) -> None:
        connections = ClientConnections(100)
        self._made: Callable[[], Http2] = lambda: Http2(app, timeouts, connections, self._closed, lambda: False)
        self.made: list[Http2] = []
        self.closed = 0
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    def _connected(self) -> Http2:
        self.made.append(self._made())
        return self.made[-1]

    def _closed(self, _connection: Http2) -> None:
        self.closed += 1

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(self._connected, "127.0.0.1", 0)
        self.address: tuple[str, int] = server.sockets[0].getsockname()
        self._is_listening.set()
        await self._over.wait()
        server.close()

    def __enter__(self) -> "Alone":
        self._thread.start()
        wait_until(self._is_listening.is_set)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE_S)
