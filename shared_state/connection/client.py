"""One connection to the store: redis-py opens it (TLS, AUTH, database), hiredis reads it, and replies are
handed over as they come in. No retries: a call of the hot path has a deadline of milliseconds and is sent again only by
its owner, who knows whether that is safe.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from shared_state.connection.address import without_passwords
from shared_state.connection.topology import Topology
from shared_state.errors import ScriptFailed, StateError, StoreRefuses, StoreTimeout, StoreUnavailable

CONNECT_TIMEOUT_S = 1.0
# That a connection may stay silent before it is used. A balancer without a backend, a TLS port or a server that is full
# accepts connections as well, and most of them show within it what they are.
GREETING_S = 0.04
_DISCARD = struct.pack("ii", 1, 0)  # SO_LINGER of no time: unsent bytes are thrown away


def pack(*parts: bytes) -> bytes:
    """Parts of a command in the wire's form (RESP bulk strings), without the leading count."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(parts), pack(*parts))


# What a store says that cannot work now: another may, or the same one later. Of MOVED_ON the topology is to blame.
MOVED_ON = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN")
_UNWELCOME = ("MAXCLIENTS", "DENIED", "NOAUTH", "WRONGPASS")  # nothing of this connection will ever be carried out
_REFUSES = (*MOVED_ON, "OOM", "BUSY", "MISCONF", "NOREPLICAS", "NOPERM", *_UNWELCOME)
_CLOSED = "closed by the store"
_NOT_REDIS = "what answers does not speak the Redis protocol"
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # alert, handshake: the first bytes of a TLS server

# redis-py's own, the operating system's, uvloop's (RuntimeError: the peer closed first) and those of impossible names.
_FOREIGN = (RedisError, OSError, TimeoutError, RuntimeError, UnicodeError)


def _error(message: str) -> StateError:
    if message.startswith("ERR max number of clients"):
        message = f"MAXCLIENTS {message.removeprefix('ERR ')}"
    return (StoreRefuses if message.startswith(_REFUSES) else ScriptFailed)(message)


class _Wire(asyncio.Protocol):
    """Hands over every reply in order, then reports that these were all for now, also when there was none among the
    bytes; an error reply is a StateError. Deaf once its connection is closed or lost.
    """

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=_error, notEnoughData=self)
        self._is_deaf = False
        self._greeted: Callable[[object], None] | None = None

    def listen(
        self, on_reply: Callable[[object], None], on_pause: Callable[[], None], on_lost: Callable[[str], None]
    ) -> None:
        self._on_reply = on_reply
        self._on_pause = on_pause
        self._on_lost = on_lost

    def expect(self, greeted: Callable[[object], None]) -> None:
        """The next reply is for ``greeted``, whenever it comes."""
        self._greeted = greeted

    def data_received(self, data: bytes) -> None:
        reader, is_wanted = self._reader, self._greeted is None
        try:
            reader.feed(data)
            while not self._is_deaf and (reply := reader.gets()) is not self:
                if self._greeted is not None:
                    greeted, self._greeted = self._greeted, None
                    greeted(reply)
                else:
                    is_wanted = True
                    self._on_reply(reply)
        except hiredis.ProtocolError:
            is_tls = data.startswith(_TLS_RECORDS)
            self._lose(_NOT_REDIS + (" but TLS: rediss:// does" if is_tls else ""))
        else:
            if is_wanted and not self._is_deaf:
                self._on_pause()

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(type(error).__name__ if error else _CLOSED)

    def _lose(self, reason: str) -> None:
        if not self._is_deaf:
            self._is_deaf = True
            self._on_lost(reason)

    def close(self) -> None:
        self._is_deaf = True


class _Link(NamedTuple):
    """An open connection. redis-py's object is kept because its stream would close the transport when collected."""

    transport: asyncio.Transport
    connection: AbstractConnection
    wire: _Wire

    def write(self, data: bytes) -> None:
        """Writes nothing to a connection that the peer has closed; the event loop reports the loss."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """At once: what is still on its way out must not be carried out later, when nobody waits for it."""
        self.wire.close()
        with contextlib.suppress(OSError, ValueError):  # the latter: uvloop's, of a connection that is closed already
            if (opened := self.transport.get_extra_info("socket")) is not None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        self.transport.abort()
        self.connection._reader = self.connection._writer = (
            None  # closed already: nothing is left for redis-py to close
        )


async def _open(url: str) -> _Link:
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
        with contextlib.suppress(*_FOREIGN):
            await connection.disconnect(nowait=True)
        if isinstance(error, _FOREIGN):
            raise StoreUnavailable(without_passwords(_why_not(error), url)) from error
        raise
    if connection._writer is None or connection._reader is None:
        raise StoreUnavailable(f"the store does not answer: {_CLOSED}")
    transport = cast(asyncio.Transport, connection._writer.transport)
    link = _Link(transport, connection, _Wire())
    _take_over(link, connection._reader)
    return link


def _why_not(error: BaseException) -> str:
    if isinstance(error, ResponseError):
        return f"the store refuses the connection: {error}"
    reason = str(error) or type(error).__name__
    if isinstance(error, InvalidResponse):
        reason = _NOT_REDIS
    elif isinstance(error, RuntimeError):
        reason = _CLOSED
    elif "WRONG_VERSION_NUMBER" in reason:
        reason += " (it does not speak TLS: redis:// is for such a port)"
    return f"the store does not answer: {reason}"


def _take_over(link: _Link, reader: asyncio.StreamReader) -> None:
    """Checks redis-py's stream, which alone has seen what the peer sent or did unasked: it refuses or has closed the
    connection. Raises StoreUnavailable.
    """
    replies: list[object] = []
    losses: list[str] = []
    link.wire.listen(replies.append, lambda: None, losses.append)
    unasked, has_ended = bytes(cast(Any, reader)._buffer), cast(Any, reader)._eof
    link.transport.set_protocol(link.wire)
    if unasked:
        link.wire.data_received(unasked)
    if unasked or has_ended or link.transport.is_closing():
        link.close()
        raise _refusal(replies, losses[0] if losses else _CLOSED)


def _refusal(replies: list[object], reason: str) -> StoreUnavailable:
    """A server that closes may have sent a reason."""
    last = replies[-1] if replies else None
    if isinstance(last, StoreUnavailable):
        return last
    return _lost(str(last) if isinstance(last, StateError) else reason)


def _lost(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"connection to the store lost: {reason}")


async def _exchange(link: _Link, *commands: tuple[bytes, ...]) -> list[object]:
    """Raises StoreUnavailable."""
    replies: list[object] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pause() -> None:
        if len(replies) >= len(commands) and not done.done():
            done.set_result(None)

    def lost(reason: str) -> None:
        if not done.done():
            done.set_exception(_refusal(replies, reason))

    link.wire.listen(replies.append, pause, lost)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            link.write(b"".join([command(*parts) for parts in commands]))
            await done
    except TimeoutError as error:
        raise StoreTimeout("the store does not answer in time") from error
    if len(replies) > len(commands):
        raise StoreUnavailable(f"{_NOT_REDIS}: it sends more than it was asked for")
    return replies


async def ask(url: str, *commands: tuple[bytes, ...]) -> list[object]:
    """Replies of the server at ``url``, on a connection of their own; an error reply is a StateError in the list.
    Raises StoreUnavailable.
    """
    link = await _open(url)
    try:
        return await _exchange(link, *commands)
    finally:
        link.close()


def _unwelcome(greeting: object) -> StoreUnavailable | None:
    """What the reply to a PING says about the connection. Any other error is for the calls to meet."""
    if isinstance(greeting, StateError):
        is_final = isinstance(greeting, StoreRefuses) and str(greeting).startswith(_UNWELCOME)
        return cast(StoreRefuses, greeting) if is_final else None
    return None if greeting == b"PONG" else StoreUnavailable(_NOT_REDIS)


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
        self.close()  # of a caller that failed before
        link = await _open(await self._topology.locate(ask))
        losses: list[StoreUnavailable] = []
        answered = asyncio.Event()

        def lost(error: StoreUnavailable) -> None:
            losses.append(error)
            answered.set()
            if self._link is link:
                self.close()
                on_lost(error)

        def greeted(reply: object) -> None:
            answered.set()
            if (problem := _unwelcome(reply)) is not None:
                lost(problem)

        link.wire.expect(greeted)
        link.wire.listen(on_reply, on_pause, lambda reason: lost(_lost(reason)))
        link.write(command(b"PING"))
        try:
            with contextlib.suppress(TimeoutError):  # far away, or hung: that is for deadlines to find out
                async with asyncio.timeout(GREETING_S):
                    await answered.wait()
        except asyncio.CancelledError:
            link.close()
            raise
        if losses:
            link.close()
            raise losses[0]
        self._link = link

    def send(self, packed: Iterable[bytes]) -> None:
        """Replies come in the order of what was sent; when the connection is lost, none comes."""
        assert self._link is not None
        self._link.write(b"".join(packed))

    async def execute(self, *commands: tuple[bytes, ...]) -> list[object]:
        """As `ask`, of the server that takes our calls now."""
        return await ask(await self._topology.locate(ask), *commands)

    def close(self) -> None:
        """No reply comes any more."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
