"""Serves an ASGI app on hypercorn's sockets, with connections of our own.

Hypercorn's connection costs a task per idle phase and two for each request, keeps the socket of a client that has left
until its keep-alive time is over, and waits for ever for a body that nobody reads. `Http1` has a timer instead, and
closes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from hypercorn.config import Config
from starlette.types import ASGIApp

from gateway.client_clock import Timeouts
from gateway.client_connections import ClientConnections
from gateway.http1 import Http1
from gateway.http_text import Refuse

TIMEOUTS = Timeouts()
CUT_OFF_S = 1.0  # for requests to end once they have been cancelled


async def serve(
    app: ASGIApp,
    config: Config,
    refuse: Refuse,
    drained: Callable[[], Awaitable[object]],
    connections: ClientConnections,
    timeouts: Timeouts = TIMEOUTS,
) -> None:
    """Serves ``config.bind`` until ``drained`` returns; what is still in flight then is cancelled."""
    loop, open_ones, all_closed = asyncio.get_running_loop(), set[Http1](), asyncio.Event()

    def closed(connection: Http1) -> None:
        open_ones.discard(connection)
        if not open_ones:
            all_closed.set()

    def accepted() -> Http1:
        connection = Http1(app, refuse, timeouts, connections, closed)
        open_ones.add(connection)
        return connection

    sockets = config.create_sockets()
    servers = [
        await loop.create_server(accepted, sock=sock, backlog=config.backlog) for sock in sockets.insecure_sockets
    ]
    try:
        await drained()
    finally:
        for server in servers:
            server.close()
        for connection in list(open_ones):
            connection.end()
        if open_ones:
            all_closed.clear()
            await _within(config.graceful_timeout, all_closed)
        for connection in list(open_ones):
            connection.cut_off()
        if open_ones:
            await _within(CUT_OFF_S, all_closed)


async def _within(patience_s: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), patience_s)
