"""Makes the calls of a run: open loop when a rate is asked for, else a closed loop of callers.

What has been measured so far is readable at any time, because Ctrl-C must not lose it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from loadtest.arrivals import Arrivals, plan_arrivals
from loadtest.measure import Measurement, Sample


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How much to ask for; the run ends at `requests` or `duration_s`, whichever comes first."""

    concurrent: int
    """Closed loop: callers. Open loop: calls on the wire at once; the rest wait in the client queue."""
    requests: int | None = None
    duration_s: float | None = None
    rate: float | None = None
    """Calls per second, whatever the answers do; None means closed loop."""
    arrivals: Arrivals = "poisson"
    seed: int = 1


class Run:
    """One run and what came of it so far."""

    def __init__(self, call: Callable[[float], Awaitable[Sample]], observe: Callable[[Sample], None]) -> None:
        self.measurement = Measurement()
        self.started = 0
        self._call = call
        self._observe = observe
        self._start_clocks()

    def _start_clocks(self) -> None:
        self._began_s = self._last_due_s = self._last_ok_s = self._ended_s = time.monotonic()
        self._began_cpu_s = self._ended_cpu_s = time.process_time()

    @property
    def unfinished(self) -> int:
        return self.started - self.measurement.requests

    @property
    def elapsed_s(self) -> float:
        """From the start to the last finished call."""
        return self._ended_s - self._began_s

    @property
    def due_s(self) -> float:
        """From the start to when the last call was due."""
        return self._last_due_s - self._began_s

    @property
    def ok_s(self) -> float:
        """From the start to the last good answer; a straggler that times out must not dilute the rate."""
        return self._last_ok_s - self._began_s

    @property
    def cpu_s(self) -> float:
        """What this process used meanwhile."""
        return self._ended_cpu_s - self._began_cpu_s

    async def drive(self, load: Load) -> None:
        """Returns when the last call has ended; a cancellation ends those still running."""
        self._start_clocks()
        if load.rate is None:
            await self._drive_closed_loop(load)
        else:
            due = plan_arrivals(
                load.arrivals, load.rate, seed=load.seed, requests=load.requests, duration_s=load.duration_s
            )
            await self._drive_open_loop(due)

    async def _drive_open_loop(self, due: Iterator[float]) -> None:
        async with asyncio.TaskGroup() as calls:
            for due_s in due:
                wait_s = self._began_s + due_s - time.monotonic()
                # Late or not, the loop must get its turn. The event loop rounds to milliseconds, down to
                # none at all: without the lower bound it would spin, and take its CPU from the server.
                await asyncio.sleep(max(wait_s, 0.001) if wait_s > 0 else 0)
                calls.create_task(self._make_call(self._began_s + due_s))

    async def _drive_closed_loop(self, load: Load) -> None:
        ends_s = None if load.duration_s is None else self._began_s + load.duration_s

        async def keep_calling() -> None:
            while load.requests is None or self.started < load.requests:
                now_s = time.monotonic()
                if ends_s is not None and now_s >= ends_s:
                    return
                await self._make_call(now_s)

        async with asyncio.TaskGroup() as callers:
            for _ in range(load.concurrent):
                callers.create_task(keep_calling())

    async def _make_call(self, due_s: float) -> None:
        self.started += 1
        self._last_due_s = due_s
        sample = await self._call(due_s)
        self._ended_s, self._ended_cpu_s = time.monotonic(), time.process_time()
        if sample.failure is None:
            self._last_ok_s = self._ended_s
        self.measurement.add(sample)
        self._observe(sample)
