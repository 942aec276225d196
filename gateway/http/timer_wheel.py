"""One timer of the event loop for all deadlines of a replica. Almost no deadline is reached, and a timer of the loop
for each phase of a request costs more than most phases do.
"""

import asyncio
import heapq
import math
from abc import ABC, abstractmethod

GRAIN_S = 0.01  # a deadline is at most this much late, and never early
FAR_S = 1.0  # a later deadline is first checked at a whole second, so that few slots exist
AHEAD_S = 10.0  # the latest first check: a request that ends leaves no empty slot for as long as it might have taken
NEVER = math.inf


class Timed(ABC):
    """An object with deadlines. Subclasses keep them; the wheel calls ``due`` in time for the next one. An object that
    ends calls ``unwatch``.
    """

    def __init__(self, wheel: "TimerWheel") -> None:
        self.wheel = wheel
        self.slot: set[Timed] | None = None
        self.check_s = NEVER  # when the wheel calls ``due``, by the loop's clock

    def watch(self, at_s: float) -> None:
        """Has ``due`` called at ``at_s`` by the loop's clock, or earlier."""
        if at_s < self.check_s:
            self.wheel.place(self, at_s)

    def unwatch(self) -> None:
        """Removes the object from the wheel."""
        if self.slot is not None:
            self.slot.discard(self)
            self.slot, self.check_s = None, NEVER

    @abstractmethod
    def due(self, now_s: float) -> float:
        """Acts on the deadlines up to ``now_s``. Returns the next one, `NEVER` without one."""


class TimerWheel:
    """The deadlines of one event loop, in slots of `GRAIN_S`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._slots: dict[int, set[Timed]] = {}  # by the number of the grain at whose end they are due
        self._numbers: list[int] = []  # a heap of the keys of ``_slots``
        self._timer: asyncio.TimerHandle | None = None
        self._timer_number = 0

    def place(self, timed: Timed, at_s: float) -> None:
        """Moves an object to the slot of ``at_s``, or to an earlier one."""
        now_s = self.loop.time()
        if at_s - now_s > FAR_S:
            at_s = math.floor(min(at_s, now_s + AHEAD_S))
        number = math.ceil(max(at_s, now_s) / GRAIN_S)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = set()
            heapq.heappush(self._numbers, number)
            if self._timer is None or number < self._timer_number:
                self._start(number, now_s)
        if timed.slot is not None:
            timed.slot.discard(timed)
        slot.add(timed)
        timed.slot, timed.check_s = slot, number * GRAIN_S

    def _start(self, number: int, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(max(0.0, number * GRAIN_S - now_s), self._turn)
        self._timer_number = number

    def _turn(self) -> None:
        self._timer, now_s = None, self.loop.time()
        passed: list[Timed] = []
        while self._numbers and self._numbers[0] * GRAIN_S <= now_s:
            passed += self._slots.pop(heapq.heappop(self._numbers))
        for timed in passed:
            if timed.check_s <= now_s:  # it has not ended meanwhile
                timed.slot, timed.check_s = None, NEVER
                self._act(timed, now_s)
        if self._numbers:
            self._start(self._numbers[0], now_s)

    def _act(self, timed: Timed, now_s: float) -> None:
        try:
            timed.watch(timed.due(now_s))
        except Exception as defect:  # the other deadlines must not suffer
            self.loop.call_exception_handler({"message": "defect at a deadline", "exception": defect})


_latest: TimerWheel | None = None


def running_wheel() -> TimerWheel:
    """Returns the wheel of the running event loop."""
    global _latest
    loop = asyncio.get_running_loop()
    if _latest is None or _latest.loop is not loop:
        _latest = TimerWheel(loop)
    return _latest
