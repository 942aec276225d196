"""The two loops, with calls whose end the test controls."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from loadtest.load.measure import Sample
from loadtest.load.runner import BURST, Load, Runner

Calls = Callable[[float], Awaitable[Sample]]


def ok_sample(due_s: float) -> Sample:
    return Sample(url="u", failure=None, total_ms=1000 * (time.monotonic() - due_s), queue_ms=0.0)


async def answer_at_once(due_s: float) -> Sample:
    return ok_sample(due_s)


def run_load(calls: Calls, load: Load) -> Runner:
    async def run() -> Runner:
        runner = Runner(calls, lambda _: None)
        await runner.run(load)
        return runner

    return asyncio.run(run())


def test_closed_loop_never_exceeds_its_callers() -> None:
    under_way: set[float] = set()
    most = 0

    async def calls(due_s: float) -> Sample:
        nonlocal most
        under_way.add(id(asyncio.current_task()))
        most = max(most, len(under_way))
        await asyncio.sleep(0)
        under_way.discard(id(asyncio.current_task()))
        return ok_sample(due_s)

    runner = run_load(calls, Load(concurrent=7, requests=100))

    assert (most, runner.started, runner.measurement.ok, runner.unfinished) == (7, 100, 100, 0)


def test_closed_loop_ends_at_its_duration() -> None:
    async def calls(due_s: float) -> Sample:
        await asyncio.sleep(0)
        return ok_sample(due_s)

    runner = run_load(calls, Load(concurrent=2, duration_s=0.1))

    assert 0.05 < runner.result().elapsed_s < 5
    assert runner.measurement.ok > 2


def test_open_loop_does_not_wait_for_answers() -> None:
    """The first answer comes only after the last call has been sent: a closed loop would hang here."""
    last_sent = asyncio.Event()
    sent = 0

    async def calls(due_s: float) -> Sample:
        nonlocal sent
        sent += 1
        if sent == 50:
            last_sent.set()
        await asyncio.wait_for(last_sent.wait(), 5)
        return ok_sample(due_s)

    runner = run_load(calls, Load(concurrent=1, rate=1000, requests=50, arrivals="constant"))

    assert runner.measurement.ok == 50


def test_open_loop_keeps_due_times_when_it_is_late() -> None:
    due: list[float] = []

    async def calls(due_s: float) -> Sample:
        if not due:
            time.sleep(0.05)  # noqa: ASYNC251  a loop that is blocked is the case under test
        due.append(due_s)
        return ok_sample(due_s)

    run_load(calls, Load(concurrent=1, rate=1000, requests=20, arrivals="constant"))

    offsets = [due_s - due[0] for due_s in due]
    assert offsets == pytest.approx([index / 1000 for index in range(20)], abs=1e-6)


def test_open_loop_sends_at_its_rate() -> None:
    runner = run_load(answer_at_once, Load(concurrent=1, rate=500, duration_s=0.3, arrivals="constant"))

    assert runner.started == 150
    assert 0.29 <= runner.result().elapsed_s < 5


def test_cancelled_run_keeps_its_measurement() -> None:
    async def calls(due_s: float) -> Sample:
        if runner.measurement.ok == 3:
            await asyncio.sleep(60)
        return ok_sample(due_s)

    async def main() -> None:
        running = asyncio.create_task(runner.run(Load(concurrent=2, requests=100)))
        async with asyncio.timeout(5):
            while runner.unfinished < 2 or runner.measurement.ok < 3:
                await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    runner = Runner(calls, lambda _: None)
    asyncio.run(main())

    assert (runner.measurement.ok, runner.unfinished) == (3, 2)


def test_backlog_is_bounded_and_still_counts_from_when_calls_were_due() -> None:
    most = 0

    async def calls(due_s: float) -> Sample:
        nonlocal most
        most = max(most, runner.unfinished)
        await asyncio.sleep(0.02)
        return ok_sample(due_s)

    runner = Runner(calls, lambda _: None, backlog=40)
    asyncio.run(runner.run(Load(concurrent=1, rate=50_000, requests=200, arrivals="constant")))

    # As many as one burst may be begun before they are counted.
    assert most <= 40 + BURST
    assert runner.measurement.ok == 200
    assert runner.measurement.ok_total.most_ms > 50
