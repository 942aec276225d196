"""One connection to the store, with redis-py's connection but none of its retries: a call of the hot path has a
deadline of milliseconds and is sent again only by its owner, who knows whether that is safe.
"""

import asyncio

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared_state.errors import ScriptFailed, StoreTimeout, StoreUnavailable

CONNECT_TIMEOUT_S = 1.0


def pack(*parts: bytes) -> bytes:
    """Parts of a command in the wire's form (RESP bulk strings), without the leading count."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(parts), pack(*parts))


class Client:
    """A single connection that is opened on demand and thrown away on any doubt."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._connection: AbstractConnection | None = None

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Raises StoreUnavailable."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(min(timeout_s, CONNECT_TIMEOUT_S)):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (RedisError, OSError, TimeoutError) as error:
            await self._discard(connection)
            raise StoreUnavailable(f"the store does not answer: {type(error).__name__}") from error
        self._connection = connection

    async def send(self, packed: list[bytes]) -> None:
        """Raises StoreUnavailable; the connection is gone then."""
        assert self._connection is not None
        try:
            await self._connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError) as error:
            raise await self._lost(error) from error

    async def receive(self) -> object:
        """The next reply, in order. Raises StoreUnavailable; returns a ScriptFailed for an error reply."""
        assert self._connection is not None
        try:
            reply: object = await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            # redis-py takes the prefix (NOSCRIPT, OOM) off the codes it knows.
            return ScriptFailed(" ".join(filter(None, (error.status_code, str(error)))))
        except (RedisConnectionError, RedisTimeoutError, RedisError, OSError) as error:
            raise await self._lost(error) from error
        return reply

    async def _lost(self, error: Exception) -> StoreUnavailable:
        await self.close()
        kind = StoreTimeout if isinstance(error, RedisTimeoutError) else StoreUnavailable
        return kind(f"connection to the store lost: {type(error).__name__}")

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._discard(connection)

    async def _discard(self, connection: AbstractConnection) -> None:
        await connection.disconnect(nowait=True)
