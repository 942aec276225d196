"""One connection to the store: redis-py opens it (TLS, AUTH, database), hiredis reads it, and replies are
handed over as they come in. No retries: a call of the hot path has a deadline of milliseconds and is sent again only by
its owner, who knows whether that is safe.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared_state.errors import ScriptFailed, StateError, StoreRefuses, StoreTimeout, StoreUnavailable
from shared_state.topology import Topology

CONNECT_TIMEOUT_S = 1.0
_DISCARD = struct.pack("ii", 1, 0)  # SO_LINGER of no time: unsent bytes are thrown away


def pack(*parts: bytes) -> bytes:
    """Parts of a command in the wire's form (RESP bulk strings), without the leading count."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(parts), pack(*parts))


# What a store says that cannot work now: another may, or the same one later. Of MOVED_ON the topology is to blame.
MOVED_ON = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN")
_REFUSES = (*MOVED_ON, "OOM", "BUSY", "MISCONF", "NOREPLICAS", "NOAUTH", "NOPERM", "WRONGPASS")


def _error(message: str) -> StateError:
    return (StoreRefuses if message.startswith(_REFUSES) else ScriptFailed)(message)


class _Wire(asyncio.Protocol):
    """Hands over every reply in order, then says that these were all for now; an error reply is a StateError."""

    def __init__(
        self, on_reply: Callable[[object], None], on_pause: Callable[[], None], on_lost: Callable[[str], None]
    ) -> None:
        self._reader = hiredis.Reader(replyError=_error, notEnoughData=self)
        self._on_reply = on_reply
        self._on_pause = on_pause
        self._on_lost = on_lost

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not self:
                self._on_reply(reply)
        except hiredis.ProtocolError:
            self._on_lost("ProtocolError")
        else:
            self._on_pause()

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost(type(error).__name__ if error else "closed by the store")


class _Link(NamedTuple):
    """An open connection. redis-py's object is kept because its stream would close the transport when collected."""

    transport: asyncio.Transport
    connection: AbstractConnection

    def close(self) -> None:
        """At once: what is still on its way out must not be carried out later, when nobody waits for it."""
        if (opened := self.transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        self.transport.abort()
        self.connection._reader = self.connection._writer = (
            None  # closed already: nothing is left for redis-py to close
        )


async def _open(url: str, wire: _Wire) -> _Link:
    """Raises StoreUnavailable."""
    pool = ConnectionPool.from_url(
        url,
        protocol=2,
        socket_timeout=None,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # two round trips, and rights that a user of few has not
    )
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException as error:
        await connection.disconnect(nowait=True)
        if isinstance(error, RedisError | OSError | TimeoutError):
            raise StoreUnavailable(f"the store does not answer: {error or type(error).__name__}") from error
        raise
    # The handshake is over and nothing comes unasked, so the reader that is replaced here holds nothing.
    assert connection._writer is not None
    transport = cast(asyncio.Transport, connection._writer.transport)
    transport.set_protocol(wire)
    return _Link(transport, connection)


async def ask(url: str, *commands: tuple[bytes, ...]) -> list[object]:
    """Replies of the server at ``url``, on a connection of their own; an error reply is a StateError in the list.
    Raises StoreUnavailable.
    """
    replies: list[object] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pause() -> None:
        if len(replies) == len(commands) and not done.done():
            done.set_result(None)

    def lost(reason: str) -> None:
        if not done.done():
            done.set_exception(StoreUnavailable(f"connection to the store lost: {reason}"))

    link = await _open(url, _Wire(replies.append, pause, lost))
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            link.transport.write(b"".join([command(*parts) for parts in commands]))
            await done
    except TimeoutError as error:
        raise StoreTimeout("the store does not answer in time") from error
    finally:
        link.close()
    return replies


class Client:
    """A single connection that is opened on demand and thrown away on any doubt. Where to is asked each time: what was
    the master may be one no longer. ``key``: any key of the domain. Raises ValueError for a url that cannot be right.
    """

    def __init__(self, url: str, key: bytes = b"") -> None:
        self._topology = Topology(url, key)
        self._link: _Link | None = None

    @property
    def is_cluster(self) -> bool:
        return self._topology.is_cluster

    @property
    def is_connected(self) -> bool:
        return self._link is not None

    async def connect(
        self,
        on_reply: Callable[[object], None],
        on_pause: Callable[[], None],
        on_lost: Callable[[StoreUnavailable], None],
    ) -> None:
        """``on_reply`` gets every reply, ``on_pause`` follows the last of those that came in together, ``on_lost`` is
        called once, unless `close` came first. Takes two seconds at most. Raises StoreUnavailable.
        """
        link: _Link | None = None

        def lost(reason: str) -> None:
            if link is not None and self._link is link:
                self.close()
                on_lost(StoreUnavailable(f"connection to the store lost: {reason}"))

        link = await _open(await self._topology.locate(ask), _Wire(on_reply, on_pause, lost))
        self._link = link

    def send(self, packed: Iterable[bytes]) -> None:
        """Replies come in the order of what was sent; when the connection is lost, none comes."""
        assert self._link is not None
        self._link.transport.write(b"".join(packed))

    async def execute(self, *commands: tuple[bytes, ...]) -> list[object]:
        """As `ask`, of the server that takes our calls now."""
        return await ask(await self._topology.locate(ask), *commands)

    def close(self) -> None:
        """No reply comes any more."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
