"""Receives messages of the other replicas through the store, over a connection that only listens. A lost connection
loses messages, so a caller that waits for one also polls from time to time. Every client of the store may publish, so
invalid messages are counted and ignored.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import cast

from shared_state.background import Kept
from shared_state.connection.client import Client
from shared_state.connection.commands import command
from shared_state.errors import StateError

RETRY_FIRST_S, RETRY_MOST_S = 0.25, 5.0
PING_EVERY_S = 10.0
LOG_EVERY_S = 60.0  # a flood of nonsense must not become a flood of lines

# Messages of this process that made no sense, by the last part of their channel's name.
ignored: Counter[str] = Counter(dict.fromkeys(("freed", "reload", "tenants"), 0))

_log = logging.getLogger("pllm.state")


class Subscription:
    """Listens to ``channels`` from ``start`` to ``stop``; ``on_message`` is called with the channel and the message,
    and raises ValueError for an invalid message.
    """

    def __init__(
        self,
        client: Client,
        channels: tuple[bytes, ...],
        on_message: Callable[[bytes, bytes], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._logged_s = float("-inf")
        self._client = client
        self._channels = channels
        self._on_message = on_message
        self._kept: Kept | None = None
        self._lost = asyncio.Event()
        self._is_answering = True
        self._is_refused = False

    def start(self) -> None:
        self._kept = Kept("news", self._run)

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()
        self._client.close()

    async def _run(self) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            try:
                await self._listen()
                retry_s = RETRY_FIRST_S
            except StateError as error:
                _log.debug("no messages from the store: %s", error)
                retry_s = min(2 * retry_s, RETRY_MOST_S)
            finally:
                self._client.close()
            await asyncio.sleep(retry_s)

    async def _listen(self) -> None:
        """Listens until the connection is lost or no longer answers. Raises StateError."""
        self._lost.clear()
        await self._client.connect(self._on_reply, lambda: None, lambda _error: self._lost.set())
        self._client.send([command(b"SUBSCRIBE", *self._channels)])
        while not self._lost.is_set():
            self._is_answering = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), PING_EVERY_S)
            if not self._is_answering:
                return
            if not self._lost.is_set():
                self._client.send([command(b"PING")])

    def _on_reply(self, reply: object) -> None:
        self._is_answering = True
        if isinstance(reply, StateError):
            if not self._is_refused:
                self._is_refused = True
                _log.warning("no messages from the store, so waiting requests wait a moment longer: %s", reply)
            return
        kind, *rest = cast(list[object], reply)
        if kind == b"message":
            self._take(cast(bytes, rest[0]), cast(bytes, rest[1]))

    def _take(self, channel: bytes, message: bytes) -> None:
        try:
            self._on_message(channel, message)
        except ValueError:
            kind, now = channel.rpartition(b":")[2].decode(), self._now()
            ignored[kind] += 1
            if now - self._logged_s >= LOG_EVERY_S:
                self._logged_s = now
                shown, count = ascii(message[:40]), ignored.total()
                _log.warning("ignored %s on the channel %s, which no replica sends; %d in all", shown, kind, count)
