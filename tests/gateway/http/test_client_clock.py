"""Waits for a client, in virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.http.client_clock import ClientClock, Timeouts
from gateway.http.timer_wheel import TimerWheel

TIMEOUTS = Timeouts(keep_alive=75, head=10, body=20, body_bytes=1000, stall=30, linger=2)


class Loop:
    """The part of an event loop that a clock uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[..., object], tuple[Any, ...], list[bool]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[..., object], *values: Any) -> Any:
        is_cancelled: list[bool] = []
        self._timers.append((self.now + delay, call, values, is_cancelled))
        return type("Handle", (), {"cancel": lambda _self: is_cancelled.append(True)})()

    def run_until(self, end: float) -> None:
        while True:
            due = [timer for timer in self._timers if timer[0] <= end]
            if not due:
                break
            timer = min(due, key=lambda each: each[0])
            self._timers.remove(timer)
            self.now, call, values, is_cancelled = timer
            if not is_cancelled:
                call(*values)
        self.now = end


class Transport:
    def __init__(self, size: int) -> None:
        self.size = size
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.is_aborted = True


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def clock(loop: Loop) -> ClientClock:
    return ClientClock(TimerWheel(cast(asyncio.AbstractEventLoop, loop)), TIMEOUTS)


def test_head_has_its_time_from_its_first_byte(clock: ClientClock, loop: Loop) -> None:
    over: list[float] = []
    loop.run_until(7)
    clock.await_head(2, lambda: over.append(loop.now))
    loop.run_until(100)

    assert over == [12]


def test_one_wait_replaces_the_other(clock: ClientClock, loop: Loop) -> None:
    over: list[str] = []
    clock.await_request(lambda: over.append("request"))
    clock.linger(lambda: over.append("linger"))
    loop.run_until(100)
    clock.await_request(lambda: over.append("again"))
    clock.stop()
    loop.run_until(300)

    assert over == ["linger"]


@pytest.mark.parametrize(("rate", "ends"), [(49, 20), (51, None)])
def test_body_must_come_at_a_rate(clock: ClientClock, loop: Loop, rate: float, ends: float | None) -> None:
    """In bytes a second."""
    over: list[float] = []
    clock.await_body(lambda: int(rate * loop.now), lambda: over.append(loop.now))
    loop.run_until(500)

    assert over == ([] if ends is None else [ends])


def test_body_that_stops_has_at_most_two_intervals(clock: ClientClock, loop: Loop) -> None:
    over: list[float] = []
    clock.await_body(lambda: min(int(loop.now * 500), 12_000), lambda: over.append(loop.now))
    loop.run_until(500)

    assert over == [60]


def test_complete_body_is_not_awaited(clock: ClientClock, loop: Loop) -> None:
    over: list[float] = []
    clock.await_body(lambda: None if loop.now > 15 else 0, lambda: over.append(loop.now))
    loop.run_until(500)

    assert over == []


def test_client_that_takes_nothing_is_cut_off(clock: ClientClock, loop: Loop) -> None:
    transport = Transport(100_000)
    clock.await_taking(cast(asyncio.WriteTransport, transport))
    for at in (29, 58, 87):
        loop.run_until(at)
        assert not transport.is_aborted
        transport.size -= 1
    loop.run_until(117)
    assert not transport.is_aborted
    loop.run_until(87 + 30 + 5)

    assert transport.is_aborted


def test_client_that_has_never_taken_anything_has_its_time_once(clock: ClientClock, loop: Loop) -> None:
    transport = Transport(100_000)
    clock.await_taking(cast(asyncio.WriteTransport, transport))
    loop.run_until(29.9)
    assert not transport.is_aborted
    loop.run_until(30)

    assert transport.is_aborted


def test_client_that_has_taken_all_is_not_watched(clock: ClientClock, loop: Loop) -> None:
    transport = Transport(100_000)
    clock.await_taking(cast(asyncio.WriteTransport, transport))
    clock.taken()
    loop.run_until(500)

    assert not transport.is_aborted
