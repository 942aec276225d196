"""This replica's heartbeat: tells the cluster it lives, puts the configuration back after a flush, and reaps the
leases of replicas that died.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from shared_state.errors import StateError
from shared_state.store import Store

BEAT_EVERY_S = 1.0

_log = logging.getLogger("pllm.replicas")


class Replica:
    """Beats from ``start`` to ``stop``. What ``is_draining`` says is shown to the others."""

    def __init__(
        self, store: Store, address: str, version: str, is_draining: Callable[[], bool] = lambda: False
    ) -> None:
        self._store = store
        self._address = address
        self._version = version
        self._started_at_ms = int(time.time() * 1000)
        self._task: asyncio.Task[None] | None = None
        self._is_draining = is_draining

    async def start(self) -> None:
        await self._store.configure()
        await self._beat()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                await self._beat()
            except StateError as error:
                _log.warning("heartbeat failed: %s", error)

    async def _beat(self) -> None:
        beat = await self._store.beat(self._address, self._version, self._started_at_ms, self._is_draining())
        # Lost in a flush, or put back after one by a replica that still runs an older configuration.
        if beat.policy_version < self._store.configuration_version:
            await self._store.configure()
        for dead in beat.dead_replicas:
            removed = await self._store.reap(dead)
            _log.warning("replica %s is dead: %d of its leases reaped", dead, removed)
