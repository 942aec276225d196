"""How long a store is waited for, in time that is the store's.

A replica that has no CPU, or whose event loop is held up, hears a reply late through no fault of the store. So the
waiting is counted in ticks: a late tick counts as one in time.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

TICK_S = 0.025
JITTER_S = 0.005  # by which a timer of an idle process may be late
SLOW_SECONDS = 5  # in a row, in each of which most decisions missed the deadline


class Patience(NamedTuple):
    """``deadline_ms``: after so much silence a call is sent again on a new connection, and a decision that took longer
    counts as slow; ``lost_after_ms``: after so much silence, or without a decision for so long, the store is lost.
    ``has_standby``: another store takes over, so that one refused connection is enough and a slow store is left too.
    """

    deadline_ms: int = 250
    lost_after_ms: int = 1000
    has_standby: bool = False


class PatienceClock:
    """Seconds for which this process has waited and could have heard a reply. ``on_tick`` is called about every
    ``tick_s`` while the clock runs; it stops when that returns False.
    """

    def __init__(self, tick_s: float, on_tick: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tick_s = tick_s
        self._most_s = tick_s + JITTER_S
        self._on_tick = on_tick
        self._waited_s = 0.0
        self._ticked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        if self._timer is None:
            return self._waited_s
        return self._waited_s + min(self._loop.time() - self._ticked_at, self._most_s)

    def run(self) -> None:
        if self._timer is None:
            self._ticked_at = self._loop.time()
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._waited_s = self.now()
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._waited_s = self.now()
        self._timer = None
        if self._on_tick():
            self.run()


class Pace:
    """Is a store that answers too slow to be used? ``SLOW_SECONDS`` in a row whose median decision missed the deadline,
    counting only seconds that had decisions.
    """

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._second = 0
        self._decisions = self._late = self._slow_seconds = 0

    def note(self, took_s: float) -> None:
        self._decisions += 1
        self._late += took_s > self._deadline_s

    @property
    def is_slow(self) -> bool:
        return self._slow_seconds >= SLOW_SECONDS

    def see(self, now_s: float) -> None:
        """Judges the last second once it is over."""
        if int(now_s) != self._second and self._decisions:
            self._slow_seconds = self._slow_seconds + 1 if 2 * self._late > self._decisions else 0
            self._second, self._decisions, self._late = int(now_s), 0, 0

    def forget(self) -> None:
        self._decisions = self._late = self._slow_seconds = 0
