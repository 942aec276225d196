"""The client of one store: a single connection, opened on demand. It never retries: a call of the hot path has a
deadline of milliseconds, and only its owner, who knows whether that is safe, sends it again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import cast

from shared_state.connection.commands import command
from shared_state.connection.link import (
    CONNECT_TIMEOUT_S,
    NOT_REDIS,
    UNWELCOME,
    Link,
    lost_connection,
    open_link,
    refusal,
)
from shared_state.connection.topology import Topology
from shared_state.errors import StateError, StoreRefuses, StoreTimeout, StoreUnavailable

# That a connection may stay silent before it is used. A balancer without a backend, a TLS port or a server that is full
# accepts connections as well, and most of them reveal themselves within it.
GREETING_S = 0.04


async def _exchange(link: Link, *commands: tuple[bytes, ...]) -> list[object]:
    """Sends commands and returns their replies. Raises StoreUnavailable."""
    replies: list[object] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pause() -> None:
        if len(replies) >= len(commands) and not done.done():
            done.set_result(None)

    def lost(reason: str) -> None:
        if not done.done():
            done.set_exception(refusal(replies, reason))

    link.wire.listen(replies.append, pause, lost)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            link.write(b"".join([command(*parts) for parts in commands]))
            await done
    except TimeoutError as error:
        raise StoreTimeout("the store does not answer in time") from error
    if len(replies) > len(commands):
        raise StoreUnavailable(f"{NOT_REDIS}: it sent more replies than it received commands")
    return replies


async def query(url: str, *commands: tuple[bytes, ...]) -> list[object]:
    """Returns the replies of the server at ``url``, over a separate connection; an error reply is a StateError in the
    list. Raises StoreUnavailable.
    """
    link = await open_link(url)
    try:
        return await _exchange(link, *commands)
    finally:
        link.close()


def _unwelcome(greeting: object) -> StoreUnavailable | None:
    """Returns the error that the reply to a PING reveals about the connection. Calls will meet any other error."""
    if isinstance(greeting, StateError):
        is_final = isinstance(greeting, StoreRefuses) and str(greeting).startswith(UNWELCOME)
        return cast(StoreRefuses, greeting) if is_final else None
    return None if greeting == b"PONG" else StoreUnavailable(NOT_REDIS)


class Client:
    """A single connection, opened on demand and dropped after any fault. The server is located each time, because the
    master may have changed. ``key``: any key of the domain. Raises ValueError for an invalid url.
    """

    def __init__(self, url: str, key: bytes = b"") -> None:
        self._topology = Topology(url, key)
        self._link: Link | None = None

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
        """Connects within two seconds. ``on_reply`` gets every reply; ``on_pause`` follows the last of the replies that
        arrived together; ``on_lost`` is called once, unless `close` came first. Raises StoreUnavailable.
        """
        self.close()  # of a caller that failed before
        link = await open_link(await self._topology.locate(query))
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
        link.wire.listen(on_reply, on_pause, lambda reason: lost(lost_connection(reason)))
        link.write(command(b"PING"))
        try:
            with contextlib.suppress(TimeoutError):  # a distant or hung store: deadlines decide
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
        """Sends calls. Replies arrive in the order of the calls; none arrives after the connection is lost."""
        assert self._link is not None
        self._link.write(b"".join(packed))

    async def execute(self, *commands: tuple[bytes, ...]) -> list[object]:
        """Queries the server that takes our calls now, as `query` does."""
        return await query(await self._topology.locate(query), *commands)

    def close(self) -> None:
        """Closes the connection. No reply arrives afterwards."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
