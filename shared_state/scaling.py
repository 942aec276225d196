"""The number of replicas that the cluster should have, as the shared store computes it. This replica reports its
waiting requests once a second, and keeps the latest result for its readers.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from shared_state.background import Kept
from shared_state.errors import StateError
from shared_state.failover import Failover
from shared_state.snapshots import ScalingSignal

ASK_EVERY_S = 1.0
FRESH_S = 5.0  # for as long as the report of a silent replica counts


class Scaling:
    """Reports from ``start`` to ``stop``. ``waiting``: returns the number of requests that wait on this replica."""

    def __init__(
        self, failover: Failover, waiting: Callable[[], int], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._failover = failover
        self._waiting = waiting
        self._now = now
        self._latest: ScalingSignal | None = None
        self._asked_s = 0.0
        self._kept: Kept | None = None

    @property
    def is_wanted(self) -> bool:
        return self._failover.shared.configuration.autoscale is not None

    @property
    def latest(self) -> ScalingSignal | None:
        """The latest result; None when the shared store has not answered for a while, because one replica alone does
        not see the load.
        """
        return self._latest if self._now() - self._asked_s <= FRESH_S else None

    def start(self) -> None:
        self._kept = Kept("scaling", self._run)

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()

    async def ask(self) -> ScalingSignal | None:
        """Reports and returns the result; None while the shared store is not in use, or knows of no cluster yet. Raises
        StateError.
        """
        if self._failover.state != "shared":
            return None
        others = [each.shared.memory for each in self._failover.parts.values() if each is not self._failover]
        elsewhere = sum(len(memory.live) for memory in others) if others else None
        signal = await self._failover.shared.autoscale(self._waiting(), elsewhere)
        if signal is not None:
            self._latest, self._asked_s = signal, self._now()
        return signal

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(StateError):  # the heartbeat logs the fault of the store
                await self.ask()
            await asyncio.sleep(ASK_EVERY_S)
