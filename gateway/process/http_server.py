"""The HTTP server: our own protocols, `Http1` and `Http2`, on sockets that Hypercorn opens.

Hypercorn's own connection costs a task for each idle phase and two for each request, keeps the socket of a client that
has left until its keep-alive time is over, and waits without a bound for a body that the application does not read.
`docs/decisions/one-server.md` has the whole reason.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from hypercorn.config import Config
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.client_clock import Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.http.http1 import Http1
from gateway.http.http2.connection import Http2
from gateway.http.http_text import Refuse
from gateway.tls.identity import Tls
from gateway.tls.listener import TlsListener

TIMEOUTS = Timeouts()
CUT_OFF_S = 1.0  # for cancelled requests to end


class OverTls(NamedTuple):
    """Serving TLS: the identity of this process, and whether it is leaving, so that HTTP/2 connections end after their
    current requests.
    """

    identity: Tls
    is_leaving: Callable[[], bool] = lambda: False


async def serve(
    app: ASGIApp,
    config: Config,
    refuse: Refuse,
    drained: Callable[[], Awaitable[object]],
    connections: ClientConnections,
    timeouts: Timeouts = TIMEOUTS,
    tls: OverTls | None = None,
) -> None:
    """Serves ``config.bind`` until ``drained`` returns, then cancels the requests still in flight."""
    open_connections, all_closed = set[Http1 | Http2](), asyncio.Event()

    def closed(connection: Http1 | Http2) -> None:
        open_connections.discard(connection)
        if not open_connections:
            all_closed.set()

    def accepted(protocol: str | None = None, app: ASGIApp = app) -> Http1 | Http2:
        connection: Http1 | Http2
        if protocol == "h2" and tls is not None:
            connection = Http2(app, timeouts, connections, closed, tls.is_leaving)
        else:
            connection = Http1(app, refuse, timeouts, connections, closed)
        open_connections.add(connection)
        return connection

    sockets = config.create_sockets().insecure_sockets
    if tls is None:
        stop_listening = await _listen(sockets, config.backlog, accepted)
    else:
        secured = partial(accepted, app=_secured(app))
        stop_listening = _listen_with_tls(sockets, config.backlog, tls.identity, secured, connections.handshakes_most)
    try:
        await drained()
    finally:
        await stop_listening()
        for connection in list(open_connections):
            connection.end()
        if open_connections:
            all_closed.clear()
            await _within(config.graceful_timeout, all_closed)
        for connection in list(open_connections):
            connection.cut_off()
        if open_connections:
            await _within(CUT_OFF_S, all_closed)


Stop = Callable[[], Awaitable[object]]


async def _listen(sockets: list[socket.socket], backlog: int, accepted: Callable[[], asyncio.Protocol]) -> Stop:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(accepted, sock=sock, backlog=backlog) for sock in sockets]

    async def stop() -> None:
        for server in servers:
            server.close()

    return stop


def _listen_with_tls(
    sockets: list[socket.socket],
    backlog: int,
    tls: Tls,
    accepted: Callable[[str | None], asyncio.Protocol],
    handshakes_most: Callable[[], int],
) -> Stop:
    listeners = [TlsListener(sock, backlog, tls, accepted, handshakes_most) for sock in sockets]
    for listener in listeners:
        listener.start()

    async def stop() -> None:
        for listener in listeners:
            await listener.close()

    return stop


def _secured(app: ASGIApp) -> ASGIApp:
    """Returns the application with the scheme of TLS connections."""

    def with_scheme(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope["scheme"] = "https"
        return app(scope, receive, send)

    return with_scheme


async def _within(patience_s: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), patience_s)
