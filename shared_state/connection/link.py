"""An open connection to one server: redis-py opens it (TLS, AUTH, database), hiredis parses it, and replies are passed
on as they arrive.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from shared_state.connection.address import without_passwords
from shared_state.errors import ScriptFailed, StateError, StoreRefuses, StoreUnavailable

CONNECT_TIMEOUT_S = 1.0
_DISCARD = struct.pack("ii", 1, 0)  # SO_LINGER of no time: unsent bytes are thrown away

# Error codes of a store that cannot work now: another may, or the same one later. MOVED_ON: the topology has changed.
MOVED_ON = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN")
UNWELCOME = ("MAXCLIENTS", "DENIED", "NOAUTH", "WRONGPASS")  # nothing of this connection will ever be carried out
_REFUSES = (*MOVED_ON, "OOM", "BUSY", "MISCONF", "NOREPLICAS", "NOPERM", *UNWELCOME)
_CLOSED = "closed by the store"
NOT_REDIS = "the server does not speak the Redis protocol"
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # alert, handshake: the first bytes of a TLS server

# redis-py's own, the operating system's, uvloop's (RuntimeError: the peer closed first) and those of impossible names.
_FOREIGN = (RedisError, OSError, TimeoutError, RuntimeError, UnicodeError)


def _error(message: str) -> StateError:
    if message.startswith("ERR max number of clients"):
        message = f"MAXCLIENTS {message.removeprefix('ERR ')}"
    return (StoreRefuses if message.startswith(_REFUSES) else ScriptFailed)(message)


class Wire(asyncio.Protocol):
    """Passes on every reply in order, then reports that no more are complete, even after bytes that completed none. An
    error reply becomes a StateError. Silent once its connection is closed or lost.
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
        """Passes the next reply to ``greeted``, whenever it arrives."""
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
            self._lose(NOT_REDIS + (" but TLS: rediss:// does" if is_tls else ""))
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


class Link(NamedTuple):
    """An open connection. redis-py's object is kept because its stream would close the transport when collected."""

    transport: asyncio.Transport
    connection: AbstractConnection
    wire: Wire

    def write(self, data: bytes) -> None:
        """Writes nothing to a connection that the peer has closed; the event loop reports the loss."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Closes at once: bytes that are still queued must not be executed later, when no caller waits for them."""
        self.wire.close()
        with contextlib.suppress(OSError, ValueError):  # the latter: uvloop's, of a connection that is closed already
            if (opened := self.transport.get_extra_info("socket")) is not None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        self.transport.abort()
        self.connection._reader = self.connection._writer = (
            None  # closed already: nothing is left for redis-py to close
        )


async def open_link(url: str) -> Link:
    """Opens a connection. Raises StoreUnavailable."""
    pool = ConnectionPool.from_url(
        url,
        protocol=2,
        socket_timeout=None,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # saves two round trips, and rights that the user may lack
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
    link = Link(transport, connection, Wire())
    _take_over(link, connection._reader)
    return link


def _why_not(error: BaseException) -> str:
    if isinstance(error, ResponseError):
        return f"the store refuses the connection: {error}"
    reason = str(error) or type(error).__name__
    if isinstance(error, InvalidResponse):
        reason = NOT_REDIS
    elif isinstance(error, RuntimeError):
        reason = _CLOSED
    elif "WRONG_VERSION_NUMBER" in reason:
        reason += " (the server does not speak TLS: use redis:// for this port)"
    return f"the store does not answer: {reason}"


def _take_over(link: Link, reader: asyncio.StreamReader) -> None:
    """Checks redis-py's stream for bytes or an end that the peer sent unasked: then the peer refuses or has closed the
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
        raise refusal(replies, losses[0] if losses else _CLOSED)


def refusal(replies: list[object], reason: str) -> StoreUnavailable:
    """Returns the error of a closed connection, with the reason if the server sent one."""
    last = replies[-1] if replies else None
    if isinstance(last, StoreUnavailable):
        return last
    return lost_connection(str(last) if isinstance(last, StateError) else reason)


def lost_connection(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"connection to the store lost: {reason}")
