"""Makes the calls of a run: an open loop when a rate is given, else a closed loop of callers.

The measurement so far is readable at any time, because Ctrl-C must not lose it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from loadtest.load.arrivals import STEADY, Arrivals, Shape, plan_arrivals
from loadtest.load.measure import Measurement, Sample
from loadtest.load.slo import Slo

BACKLOG_MOST = 100_000  # calls in progress: more would take all memory, and none of them would be in time
BURST = 32  # overdue calls that begin before answers get their turn


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The amount of load; the run ends at `requests` or `duration_s`, whichever comes first."""

    concurrent: int
    """Closed loop: callers. Open loop: most calls in progress; the others wait in the client queue."""
    requests: int | None = None
    duration_s: float | None = None
    rate: float | None = None
    """Calls per second, independent of answers; None means closed loop."""
    arrivals: Arrivals = "poisson"
    shape: Shape = STEADY
    seed: int = 1
    share: tuple[int, int] = (0, 1)
    """Open loop: which calls of the plan are this process's (n, of)."""


class Result(msgspec.Struct):
    """The result of a run so far, of one process or of several."""

    measurement: Measurement
    started: int = 0
    elapsed_s: float = 0.0
    """From the start to the last finished call."""
    due_s: float = 0.0
    """From the start to when the last call was due; in a closed loop, when it began."""
    ok_s: float = 0.0
    """From the start to the last good answer."""
    cpu_s: float = 0.0
    """CPU time of the load generator meanwhile."""
    processes: int = 1
    missing: int = 0
    """Further processes, whose measurements are missing."""
    began_at_ms: float = 0.0
    """Wall clock, since 1970."""

    @property
    def unfinished(self) -> int:
        return self.started - self.measurement.requests

    def merge(self, other: "Result") -> None:
        """Adds the result of another process whose run began at the same moment."""
        self.measurement.merge(other.measurement)
        self.started += other.started
        self.elapsed_s = max(self.elapsed_s, other.elapsed_s)
        self.due_s = max(self.due_s, other.due_s)
        self.ok_s = max(self.ok_s, other.ok_s)
        self.cpu_s += other.cpu_s
        self.processes += other.processes
        self.began_at_ms = self.began_at_ms or other.began_at_ms


class Runner:
    """Makes the calls of one run and collects their measurement."""

    def __init__(
        self,
        call: Callable[[float], Awaitable[Sample]],
        observe: Callable[[Sample], None],
        slo: Slo | None = None,
        backlog: int = BACKLOG_MOST,
    ) -> None:
        self.measurement = Measurement(slo=slo)
        self.started = 0
        self._call = call
        self._observe = observe
        self._backlog = backlog
        self._start_clocks(time.monotonic())

    def _start_clocks(self, began_s: float) -> None:
        self._began_s = self._last_due_s = self._last_ok_s = self._ended_s = began_s
        self._began_cpu_s = self._ended_cpu_s = time.process_time()
        self._began_at_ms = 1000 * (time.time() - time.monotonic() + began_s)

    @property
    def unfinished(self) -> int:
        return self.started - self.measurement.requests

    def result(self) -> Result:
        return Result(
            measurement=self.measurement,
            started=self.started,
            elapsed_s=self._ended_s - self._began_s,
            due_s=self._last_due_s - self._began_s,
            ok_s=self._last_ok_s - self._began_s,
            cpu_s=self._ended_cpu_s - self._began_cpu_s,
            began_at_ms=self._began_at_ms,
        )

    async def run(self, load: Load, began_s: float | None = None) -> None:
        """Makes all calls and returns when the last one has ended. A cancellation ends those in progress.

        `began_s`: when to begin, if not now; a time of the monotonic clock.
        """
        now_s = time.monotonic()
        if began_s is not None:
            await asyncio.sleep(max(began_s - now_s, 0.0))
        self._start_clocks(now_s if began_s is None else began_s)
        if load.rate is None:
            await self._run_closed_loop(load)
        else:
            due = plan_arrivals(
                load.arrivals,
                load.rate,
                seed=load.seed,
                requests=load.requests,
                duration_s=load.duration_s,
                shape=load.shape,
                share=load.share,
            )
            await self._run_open_loop(due)

    async def _run_open_loop(self, due: Iterator[float]) -> None:
        burst = 0
        async with asyncio.TaskGroup() as calls:
            for due_s in due:
                wait_s = self._began_s + due_s - time.monotonic()
                # Answers must get their turn even if calls are late. The event loop rounds waits down to milliseconds:
                # without the lower bound it would spin and take CPU from the server.
                if wait_s > 0 or burst >= BURST:
                    await asyncio.sleep(max(wait_s, 0.001) if wait_s > 0 else 0)
                    burst = 0
                while self.unfinished >= self._backlog:
                    await asyncio.sleep(0.001)  # due times do not move, so this wait is part of the calls' times
                burst += 1
                calls.create_task(self._make_planned_call(self._began_s + due_s))

    async def _make_planned_call(self, due_s: float) -> None:
        self.measurement.late.add(1000 * max(time.monotonic() - due_s, 0.0))
        await self._make_call(due_s)

    async def _run_closed_loop(self, load: Load) -> None:
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
        self._last_due_s = max(due_s, self._last_due_s)
        sample = await self._call(due_s)
        self._ended_s, self._ended_cpu_s = time.monotonic(), time.process_time()
        if sample.failure is None:
            self._last_ok_s = self._ended_s
        self.measurement.add(sample, self._ended_s - self._began_s)
        self._observe(sample)
