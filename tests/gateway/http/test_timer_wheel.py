"""Deadlines on the wheel, in virtual time: never early, and late by one grain at most."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.http.timer_wheel import AHEAD_S, GRAIN_S, NEVER, Timed, TimerWheel, running_wheel


class Loop:
    """The part of an event loop that a wheel uses. Counts its timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.begun = 0
        self.defects: list[BaseException] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], object]) -> Any:
        timer = (self.now + delay, call)
        self.timers.append(timer)
        self.begun += 1
        return type("Handle", (), {"cancel": lambda _self: self.timers.remove(timer)})()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.defects.append(context["exception"])

    def run_until(self, end: float) -> None:
        while due := [timer for timer in self.timers if timer[0] <= end]:
            timer = min(due, key=lambda each: each[0])
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[1]()
        self.now = end


class Deadline(Timed):
    """One deadline. ``over``: when it was found to be over."""

    def __init__(self, wheel: TimerWheel, loop: Loop) -> None:
        super().__init__(wheel)
        self._loop = loop
        self.at = NEVER
        self.checks = 0
        self.over: list[float] = []

    def set(self, at: float) -> None:
        self.at = at
        self.watch(at)

    def due(self, now_s: float) -> float:
        self.checks += 1
        if self.at <= now_s:
            self.over.append(self._loop.now)
            self.at = NEVER
        return self.at


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def wheel(loop: Loop) -> TimerWheel:
    return TimerWheel(cast(asyncio.AbstractEventLoop, loop))


@pytest.mark.parametrize("at", [0.0, 0.001, 0.0149, 0.5, 1.234, 9.999, 10.5, 75.003, 3600.0])
def test_deadline_is_met_in_its_grain(wheel: TimerWheel, loop: Loop, at: float) -> None:
    deadline = Deadline(wheel, loop)
    deadline.set(at)
    loop.run_until(at + 1)

    assert len(deadline.over) == 1
    assert at <= deadline.over[0] <= at + GRAIN_S + 1e-9


def test_many_deadlines_are_met_each_in_its_grain(wheel: TimerWheel, loop: Loop) -> None:
    draw = random.Random(7).random
    deadlines = [(Deadline(wheel, loop), 40 * draw()) for _ in range(500)]
    for deadline, at in deadlines:
        deadline.set(at)
    loop.run_until(50)

    assert all(at <= deadline.over[0] <= at + GRAIN_S + 1e-9 for deadline, at in deadlines)


def test_deadline_may_move_either_way(wheel: TimerWheel, loop: Loop) -> None:
    later, sooner = Deadline(wheel, loop), Deadline(wheel, loop)
    later.set(0.5)
    later.set(3)
    sooner.set(3)
    sooner.set(0.5)
    loop.run_until(10)

    assert (later.over, sooner.over) == ([3.0], [0.5])


def test_object_that_has_ended_is_left_alone_and_let_go(wheel: TimerWheel, loop: Loop) -> None:
    deadline = Deadline(wheel, loop)
    deadline.set(30)
    deadline.unwatch()
    loop.run_until(60)

    assert (deadline.checks, deadline.slot, loop.timers) == (0, None, [])


def test_cancelled_deadlines_share_their_timers(wheel: TimerWheel, loop: Loop) -> None:
    """A thousand requests a second, each with a minute to go, which are answered after a millisecond."""
    for number in range(3000):
        loop.run_until(number / 1000)
        deadline = Deadline(wheel, loop)
        deadline.set(loop.now + 60)
        deadline.unwatch()
    loop.run_until(100)

    assert loop.begun <= 3 + AHEAD_S


def test_deadline_far_away_is_checked_every_few_seconds_only(wheel: TimerWheel, loop: Loop) -> None:
    deadline = Deadline(wheel, loop)
    deadline.set(600)
    loop.run_until(601)

    assert deadline.over == [600.0]
    assert deadline.checks <= 600 / (AHEAD_S - 1) + 2


def test_object_that_another_ends_at_the_same_moment_is_left_alone(wheel: TimerWheel, loop: Loop) -> None:
    ended = Deadline(wheel, loop)

    class Ending(Timed):
        def due(self, _now_s: float) -> float:
            ended.unwatch()
            return NEVER

    Ending(wheel).watch(0.5)
    ended.set(0.51)
    loop.now = 0.6  # the loop was busy
    loop.run_until(1)

    assert ended.checks == 0


def test_defect_of_one_is_reported_and_spares_the_others(wheel: TimerWheel, loop: Loop) -> None:
    class Broken(Timed):
        def due(self, now_s: float) -> float:
            raise ArithmeticError

    others = [Deadline(wheel, loop) for _ in range(20)]
    Broken(wheel).watch(0.5)
    for each in others:
        each.set(0.5)
    loop.run_until(1)

    assert [type(defect) for defect in loop.defects] == [ArithmeticError]
    assert all(each.over == [0.5] for each in others)


async def wheels() -> tuple[TimerWheel, TimerWheel]:
    return running_wheel(), running_wheel()


def test_each_loop_has_one_wheel() -> None:
    (first, again), (other, _) = asyncio.run(wheels()), asyncio.run(wheels())

    assert first is again
    assert first is not other
