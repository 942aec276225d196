"""Cancels a request's task and remembers the cause: its client left, its deadline passed, its provider fell silent, or
a breaker opened.

One object per request holds the causes that come from the gateway, so that a cancellation from outside (shutdown) is
never mistaken for one of them.
"""

import asyncio
from enum import Enum

from gateway.http.timer_wheel import NEVER, Timed, running_wheel


class Cause(Enum):
    DISCONNECT = "disconnect"
    DEADLINE = "deadline"
    SILENCE = "silence"
    OVERDUE = "overdue"


class Interrupt(Timed):
    """Cancels the task that made it."""

    def __init__(self) -> None:
        super().__init__(running_wheel())
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self.time = self.wheel.loop.time  # returns seconds on the event loop's clock, which deadlines use
        self._deadline_s = NEVER
        self._silence_s = 0.0  # 0 for no bound
        self._waiting_since = 0.0
        self.is_waiting = False
        self.cause: Cause | None = None  # None unless this object cancelled the task

    def disconnected(self) -> None:
        """Cancels the request, because its client has left."""
        self._fire(Cause.DISCONNECT)

    def set_deadline(self, at: float) -> None:
        self._deadline_s = at
        if at < self.check_s:
            self.watch(at)

    def clear_deadline(self) -> None:
        self._deadline_s = NEVER

    def begin_waiting(self, silence_s: float = 0.0) -> None:
        """Waits for the next bytes of a provider. Silence for longer than ``silence_s``, or than the last value given,
        cancels.
        """
        self._waiting_since, self.is_waiting = self.time(), True
        if silence_s and silence_s != self._silence_s:
            self._silence_s = silence_s
            self.watch(self._waiting_since + silence_s)

    def end_waiting(self) -> None:
        self.is_waiting = False

    def due(self, now_s: float) -> float:
        """Acts on what is due. Returns when to look again: the wheel does not hear of bytes that arrive."""
        if self._deadline_s <= now_s:
            self._deadline_s = NEVER
            self._fire(Cause.DEADLINE)
        silent_s = NEVER
        if self._silence_s:
            silent_s = (self._waiting_since if self.is_waiting else now_s) + self._silence_s
            if silent_s <= now_s:
                self._silence_s, silent_s = 0.0, NEVER
                self._fire(Cause.SILENCE)
        return min(self._deadline_s, silent_s)

    def clear(self) -> None:
        """Removes the deadline and the bound on silence."""
        self._deadline_s, self._silence_s = NEVER, 0.0

    def move_on(self) -> None:
        """Cancels the attempt, because its provider hangs and another candidate may answer."""
        self._fire(Cause.OVERDUE)

    def _fire(self, cause: Cause) -> None:
        if self.cause is None:
            self.cause = cause
            self._task.cancel()

    def take(self, cause: Cause) -> bool:
        """Returns whether the cancellation had this cause. If so, the cancellation is undone and the task may
        continue.
        """
        if self.cause is not cause:
            return False
        self.cause = None
        self._task.uncancel()
        return True

    def close(self) -> None:
        self.clear()
        self.unwatch()
