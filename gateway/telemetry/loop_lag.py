"""The lag of this process's event loop. Every response waits for the loop, and no other figure shows its overload."""

import asyncio

from shared_state.histogram import Histogram

EVERY_S = 0.25
SATURATED_S = 0.5  # of lag, twice in a row: a process that was paused once is not saturated
LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class LoopLag:
    """Measures four times a second how late a timer fires. ``lags``: a histogram of it, in seconds."""

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
        """Returns whether more requests would only wait. Shedding one before it is parsed costs a seventh as much."""
        return self._late_ticks >= 2

    def stop(self) -> None:
        self._timer.cancel()
