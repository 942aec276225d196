"""Decides how long to wait for a store, measured in time during which a reply could have been received.

A replica without CPU time, or with a blocked event loop, receives a reply late through no fault of the store. Waiting
is therefore counted in ticks, and a late tick counts no more than a punctual one.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from shared_state.connection.call import Call
from shared_state.errors import StoreTimeout

TICK_S = 0.025
JITTER_S = 0.005  # delay of a timer in an idle process
SLOW_SECONDS = 5  # in a row, in each of which most decisions missed the deadline


class Patience(NamedTuple):
    """The timeouts of one store."""

    deadline_ms: int = 250  # of silence, then a call is sent again; a decision that took longer counts as slow
    lost_after_ms: int = 1000  # of silence, or without a decision, then the store is lost
    has_standby: bool = False  # another store takes over after one refused connection, or when this one is slow


def overdue(
    patience: Patience, now_s: float, received_s: float, sent: Call | None, queued: Call | None, is_slow: bool
) -> tuple[StoreTimeout, bool] | None:
    """Returns the error for the oldest call, and whether the store is lost or only its connection; None while the call
    may wait. ``received_s``: when the last bytes came, by the clock of patience like ``now_s``; ``sent``, ``queued``:
    the oldest call in flight and in the queue; ``is_slow``: the store answers, but too slowly to be used.
    """
    oldest = sent or queued
    if oldest is None:
        return None
    lost_after_s = patience.lost_after_ms / 1000
    silent_s = now_s - max(received_s, oldest.queued_at)
    if silent_s >= lost_after_s:
        return StoreTimeout(f"the store was silent for {lost_after_s:g} s"), True
    if oldest.is_urgent and now_s - oldest.queued_at >= lost_after_s:
        return StoreTimeout(f"the store did not decide within {lost_after_s:g} s"), True
    if is_slow:
        return StoreTimeout(f"the store's decisions take longer than {patience.deadline_ms} ms"), True
    if sent is not None and sent.sendings == 1 and silent_s >= patience.deadline_ms / 1000:
        return StoreTimeout("the store missed its deadline"), False
    return None


class PatienceClock:
    """Counts the seconds during which this process waited and could have received a reply. ``on_tick`` is called about
    every ``tick_s`` while the clock runs; the clock stops when it returns False.
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
    """Judges whether a store that answers is too slow to be used: ``SLOW_SECONDS`` in a row whose median decision
    missed the deadline. Seconds without decisions do not count.
    """

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._second = 0
        self._decisions = self._late = self._slow_seconds = 0

    def note(self, took_s: float) -> None:
        """Counts one decision."""
        self._decisions += 1
        self._late += took_s > self._deadline_s

    @property
    def is_slow(self) -> bool:
        return self._slow_seconds >= SLOW_SECONDS

    def end_second(self, now_s: float) -> None:
        """Judges the previous second, if it has ended."""
        if int(now_s) != self._second and self._decisions:
            self._slow_seconds = self._slow_seconds + 1 if 2 * self._late > self._decisions else 0
            self._second, self._decisions, self._late = int(now_s), 0, 0

    def reset(self) -> None:
        self._decisions = self._late = self._slow_seconds = 0
