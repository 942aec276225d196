"""Background tasks. An unexpected end is logged with the task's name and counted; a permanent task starts again after a
pause.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

PAUSE_FIRST_S, PAUSE_MOST_S = 0.25, 2.0  # at most, because a replica without a heartbeat for 5 s counts as dead
STABLE_S = 30.0  # a task that lasted this long starts again after the first pause

# Of this process, by the name of the task.
failures: Counter[str] = Counter({"event loop": 0})

_log = logging.getLogger("pllm.tasks")

Work = Callable[[], Coroutine[Any, Any, None]]


class Kept:
    """A task that runs until ``stop``, or until it ends while it is no longer ``is_wanted``; before that it starts
    again. Without ``is_wanted`` it never returns by itself.
    """

    def __init__(self, name: str, work: Work, is_wanted: Callable[[], bool] | None = None) -> None:
        self._name = name
        self._work = work
        self._is_wanted = is_wanted
        self._loop = asyncio.get_running_loop()
        self._pause_s = PAUSE_FIRST_S
        self._timer: asyncio.TimerHandle | None = None
        self.is_over = False
        failures[name] += 0  # a counter that begins with its first failure shows no increase
        self._begin()

    def _begin(self) -> None:
        self._timer = None
        self._began_s = self._loop.time()
        self._task = self._loop.create_task(self._work(), name=self._name)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = asyncio.CancelledError("cancelled") if task.cancelled() else task.exception()
        if self.is_over:
            return
        if error is None and self._is_wanted is not None:
            self.is_over = not self._is_wanted()
            if not self.is_over:
                self._begin()
            return
        if self._loop.time() - self._began_s >= STABLE_S:
            self._pause_s = PAUSE_FIRST_S
        report(self._name, error or RuntimeError("the task has returned"), f"again in {self._pause_s:g} s")
        self._timer = self._loop.call_later(self._pause_s, self._begin)
        self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S)

    async def stop(self) -> None:
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def once(
    name: str, work: Coroutine[Any, Any, Any], expected: type[Exception] | tuple[type[Exception], ...] = ()
) -> "asyncio.Task[Any]":
    """Starts a task that may end or be cancelled. ``expected``: errors that are not defects."""

    def ended(task: "asyncio.Task[Any]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, expected):
            report(name, error)

    failures[name] += 0
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(ended)
    return task


def report(name: str, error: BaseException, what_now: str = "") -> None:
    failures[name] += 1
    _log.error("task %r failed: %r%s", name, error, f", {what_now}" if what_now else "", exc_info=error)


def report_of_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Counts and logs the exceptions that no task and no caller has caught; the event loop calls it."""
    failures["event loop"] += 1
    loop.default_exception_handler(context)
