"""Cancels a request's task and remembers the cause: its client left, its deadline passed, its provider fell silent, or
a breaker opened.

One object per request holds the causes that come from the gateway, so that a cancellation from outside (shutdown) is
never mistaken for one of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from enum import Enum
from typing import Any

WATCH_AFTER_S = 0.02  # a faster answer need not pay for a task that watches its client
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Cause(Enum):
    DISCONNECT = "disconnect"
    DEADLINE = "deadline"
    SILENCE = "silence"
    OVERDUE = "overdue"


class Interrupt:
    """Cancels the task that made it."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = task.get_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._watch_timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._silence_s = 0.0
        self._silence_timer: asyncio.TimerHandle | None = None
        self._waiting_since = 0.0
        self.is_waiting = False
        self.cause: Cause | None = None  # None unless this object cancelled the task

    def time(self) -> float:
        """Returns seconds on the event loop's clock, which deadlines use."""
        return self._loop.time()

    def watch_disconnect(self, receive: Receive) -> None:
        """Cancels the request from now on, in every phase, when its client disconnects."""
        self._watch_timer = self._loop.call_later(WATCH_AFTER_S, self._start_watch, receive)

    def _start_watch(self, receive: Receive) -> None:
        self._watch = self._loop.create_task(self._disconnected(receive))

    async def _disconnected(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._fire(Cause.DISCONNECT)

    def set_deadline(self, at: float) -> None:
        self.clear_deadline()
        self._timer = self._loop.call_at(at, self._fire, Cause.DEADLINE)

    def clear_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def begin_waiting(self, silence_s: float = 0.0) -> None:
        """Waits for the next bytes of a provider. Silence for longer than ``silence_s``, or than the last value given,
        cancels. One timer that checks afterwards costs less than one timer for each chunk.
        """
        self._waiting_since, self.is_waiting = self._loop.time(), True
        if silence_s and (silence_s != self._silence_s or self._silence_timer is None):
            if self._silence_timer is not None:
                self._silence_timer.cancel()
            self._silence_s = silence_s
            self._silence_timer = self._loop.call_later(silence_s, self._check_silence)

    def end_waiting(self) -> None:
        self.is_waiting = False

    def _check_silence(self) -> None:
        now = self._loop.time()
        due = (self._waiting_since if self.is_waiting else now) + self._silence_s
        if now >= due:
            self._silence_timer = None
            self._fire(Cause.SILENCE)
        else:
            self._silence_timer = self._loop.call_at(due, self._check_silence)

    def clear(self) -> None:
        """Removes the deadline and the bound on silence."""
        self.clear_deadline()
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

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
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
