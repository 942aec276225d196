"""How many replicas there should be, as the shared store says: this replica tells it once a second how many requests
wait here, and keeps the answer for those who ask.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from shared_state.errors import StateError
from shared_state.failover import Failover
from shared_state.snapshots import ScalingSignal

ASK_EVERY_S = 1.0
FRESH_S = 5.0  # as long as a silent replica is believed

_log = logging.getLogger("pllm.scaling")


class Scaling:
    """Asks from ``start`` to ``stop``. ``waiting``: how many requests wait on this replica."""

    def __init__(
        self, failover: Failover, waiting: Callable[[], int], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._failover = failover
        self._waiting = waiting
        self._now = now
        self._latest: ScalingSignal | None = None
        self._asked_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_wanted(self) -> bool:
        return self._failover.shared.configuration.autoscale is not None

    @property
    def latest(self) -> ScalingSignal | None:
        """None once the shared store has not been heard for a while: what one replica sees alone is not the load."""
        return self._latest if self._now() - self._asked_s <= FRESH_S else None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="scaling")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def ask(self) -> ScalingSignal | None:
        """None while the shared store is not in use, or knows of no cluster yet. Raises StateError."""
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
            try:
                with contextlib.suppress(StateError):  # the heartbeat says what is wrong with the store
                    await self.ask()
            except Exception:
                _log.exception("defect in the autoscaling signal")
            await asyncio.sleep(ASK_EVERY_S)
