"""How long a store is waited for, in time that is the store's."""

import asyncio
import time

from shared_state.connection.patience import Pace, PatienceClock
from tests.support.stores import eventually, on_loop


class Ticks:
    def __init__(self, most: int) -> None:
        self.count, self.most = 0, most

    def __call__(self) -> bool:
        self.count += 1
        return self.count < self.most


def busy(for_s: float) -> None:
    ends_s = time.monotonic() + for_s
    while time.monotonic() < ends_s:
        pass


@on_loop
async def test_clock_stands_still_until_something_is_waited_for() -> None:
    clock = PatienceClock(0.01, Ticks(3))
    before = clock.now()
    clock.run()
    await eventually(lambda: clock.now() > 0.02)
    await eventually(lambda: clock._timer is None)
    stopped_at = clock.now()

    assert before == 0
    assert 0.029 < stopped_at <= 3 * 0.015
    await asyncio.sleep(0)
    assert clock.now() == stopped_at


@on_loop
async def test_late_tick_counts_as_one_in_time() -> None:
    clock = PatienceClock(0.01, Ticks(1))
    clock.run()
    busy(0.2)
    held_up = clock.now()
    await eventually(lambda: clock._timer is None)

    assert held_up <= 0.015
    assert clock.now() <= 0.015


@on_loop
async def test_stopped_clock_keeps_what_it_has_counted() -> None:
    clock = PatienceClock(0.01, Ticks(100))
    clock.run()
    await eventually(lambda: clock.now() > 0.02)
    clock.stop()
    counted = clock.now()
    clock.stop()
    busy(0.1)
    stopped = clock.now()
    clock.run()

    assert stopped == counted > 0.02
    assert clock.now() - counted < 0.005
    clock.stop()


def seconds(pace: Pace, *took_s: tuple[float, ...]) -> list[bool]:
    """One second after the other with these decisions: was the store slow after it?"""
    seen = []
    for second, decisions in enumerate(took_s, 1):
        for took in decisions:
            pace.note(took)
        pace.end_second(second + 0.5)
        seen.append(pace.is_slow)
    return seen


SLOW, FAST = (0.3, 0.3, 0.1), (0.3, 0.1, 0.1)


def test_store_is_slow_after_five_seconds_of_late_decisions() -> None:
    assert seconds(Pace(0.25), *[SLOW] * 6) == [False] * 4 + [True] * 2


def test_one_second_in_time_begins_anew() -> None:
    assert seconds(Pace(0.25), *[SLOW] * 4, FAST, *[SLOW] * 5) == [False] * 9 + [True]


def test_second_without_decisions_changes_nothing() -> None:
    assert seconds(Pace(0.25), *[SLOW] * 4, (), SLOW) == [False] * 5 + [True]


def test_half_is_not_most() -> None:
    assert not any(seconds(Pace(0.25), *[(0.3, 0.1)] * 9))


def test_store_that_was_left_begins_anew() -> None:
    pace = Pace(0.25)
    seconds(pace, *[SLOW] * 5)
    pace.reset()

    assert not pace.is_slow
