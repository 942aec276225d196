"""How late this process's event loop is: every answer waits for it, and nothing else shows when it is too busy."""

import asyncio

from shared_state.histogram import Histogram

EVERY_S = 0.25
SATURATED_S = 0.5  # by which the loop is late, twice in a row: a process that was stopped once is not saturated
LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class LoopLag:
    """``lags``: by how much a timer came too late, four times a second."""

    def __init__(self) -> None:
        self.lags = Histogram(LAG_S)
        self._late_ticks = 0
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + EVERY_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        lag_s = max(0.0, now - self._due)
        self.lags.observe(lag_s)
        self._late_ticks = self._late_ticks + 1 if lag_s >= SATURATED_S else 0
        self._due = now + EVERY_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def is_saturated(self) -> bool:
        """More requests would only wait: each costs a seventh when it is shed from its bytes."""
        return self._late_ticks >= 2

    def stop(self) -> None:
        self._timer.cancel()
