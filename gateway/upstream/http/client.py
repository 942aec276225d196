"""HTTP/1.1 to providers over asyncio's transports: requests on kept connections where one is open, else on new ones.

The number of connections has no limit, because acquire alone decides how many calls may run. No cookies are stored:
they would carry one tenant's traces to the next. Redirects are not followed: they would take a key to another host.
"""

import asyncio
import select
import ssl
from types import TracebackType

from gateway.upstream.http.connect import Connector
from gateway.upstream.http.connection import Connection
from gateway.upstream.http.faults import Disconnected, NotHttp
from gateway.upstream.http.proxies import Proxies, Proxy
from gateway.upstream.http.request import Origin, Request
from gateway.upstream.http.response import Response

KEEP_ALIVE_S = 30.0
SWEEP_S = 1.0
IDLE_CLOSE_MOST_S = 2.0  # after a request was sent: news of a close takes a round trip
_CLOSE_MOST_S = 1.0


class HttpClient:
    """A client and its connections. Create it inside a running loop and close it there. ``keep_alive_s``: how long idle
    connections are kept, unless their server announces less; ``tls``: in place of the system's certificates;
    ``proxies``: in place of the environment's. Raises ConfigurationError for an invalid proxy in the environment.
    """

    def __init__(
        self, keep_alive_s: float = KEEP_ALIVE_S, tls: ssl.SSLContext | None = None, proxies: Proxies | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._keep_alive_s = keep_alive_s
        self._proxies = proxies or Proxies()
        self._connector = Connector(tls)
        self._idle: dict[Origin, list[Connection]] = {}  # the newest last
        self._open: dict[Connection, Origin] = {}
        self._found: dict[Origin, Proxy | None] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._all_lost: asyncio.Future[None] | None = None

    async def send(self, request: Request, body: bytes, connect_most_s: float, more: bytes = b"") -> Response:
        """Sends a request; returns its answer once the head has arrived. Raises HttpFault, and OSError for a fault of
        this process. ``connect_most_s``: for a new connection; ``more``: lines of further headers.

        A request whose kept connection is closed at once, before any byte of the answer, is sent again on a new one:
        the server had closed it for being idle, which blames neither the server nor the request. A server that closes
        later may have worked on the request.
        """
        origin = request.origin
        proxy = self._proxy(origin)
        is_absolute = proxy is not None and not origin.is_tls
        if is_absolute and proxy is not None:
            more += proxy.authorization
        head = request.head(len(body), more, is_absolute=is_absolute)
        kept = self._kept(origin)
        if kept is not None:
            sent_s = self._loop.time()
            try:
                return await kept.send(head, body)
            except Disconnected:
                if kept.has_received or self._is_closed or self._loop.time() - sent_s > IDLE_CLOSE_MOST_S:
                    raise
        fresh = Connection(self)
        await self._connector.connect(origin, proxy, fresh, connect_most_s)
        if not fresh.is_open:
            raise NotHttp if fresh.has_received else Disconnected  # a server that speaks first is another protocol's
        self._open[fresh] = origin
        return await fresh.send(head, body)

    async def close(self) -> None:
        """Closes all connections; calls in progress break."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        self._idle.clear()
        await self._connector.close()
        if self._open:
            self._all_lost = self._loop.create_future()
            for connection in [*self._open]:
                connection.close()
            await asyncio.wait((self._all_lost,), timeout=_CLOSE_MOST_S)
            for connection in [*self._open]:
                connection.abort()

    async def __aenter__(self) -> "HttpClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- called by connections --------------------------------------------------------------------------------

    def finished(self, connection: Connection, keep_alive_s: int | None) -> None:
        """Keeps a connection for another request."""
        # A server may close a second early by its clock.
        kept_s = self._keep_alive_s if keep_alive_s is None else min(self._keep_alive_s, keep_alive_s - 1)
        if kept_s <= 0 or self._is_closed:
            connection.close()
            return
        connection.idle_until_s = self._loop.time() + kept_s
        self._idle.setdefault(self._open[connection], []).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_S, self._close_old)

    def lost(self, connection: Connection) -> None:
        """Forgets a connection that is closed."""
        origin = self._open.pop(connection, None)
        idle = self._idle.get(origin) if origin is not None else None
        if idle and connection in idle:
            idle.remove(connection)
        if self._all_lost is not None and not self._open and not self._all_lost.done():
            self._all_lost.set_result(None)

    def _kept(self, origin: Origin) -> Connection | None:
        """Returns the connection that was used last, None without one."""
        idle, now_s = self._idle.get(origin), self._loop.time()
        while idle:
            connection = idle.pop()
            if connection.is_open and now_s < connection.idle_until_s and _is_silent(connection):
                return connection
            connection.close()
        return None

    def _close_old(self) -> None:
        self._sweep, now_s = None, self._loop.time()
        for origin, idle in [*self._idle.items()]:
            kept = []
            for connection in idle:
                if now_s < connection.idle_until_s:
                    kept.append(connection)
                else:
                    connection.close()
            if kept:
                self._idle[origin] = kept
            else:
                del self._idle[origin]
        if self._idle:
            self._sweep = self._loop.call_later(SWEEP_S, self._close_old)

    def _proxy(self, origin: Origin) -> Proxy | None:
        if origin not in self._found:
            self._found[origin] = self._proxies.of(origin)
        return self._found[origin]


def _is_silent(connection: Connection) -> bool:
    """Returns whether its socket holds nothing that the event loop has yet to read: late bytes, or the end."""
    arrivals = select.poll()
    arrivals.register(connection, select.POLLIN)
    return not arrivals.poll(0)
