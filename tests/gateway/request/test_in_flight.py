"""Requests in flight, counted without a server."""

import asyncio

import pytest

from gateway.request.in_flight import InFlight


def drained(flight: InFlight, timeout_s: float) -> bool:
    return asyncio.run(flight.drain(timeout_s))


def test_nothing_in_flight_is_drained_at_once() -> None:
    flight = InFlight()

    assert drained(flight, 10)
    assert flight.is_draining


@pytest.mark.parametrize("count", [1, 3])
def test_flight_is_over_when_the_last_one_has_landed(count: int) -> None:
    flight = InFlight()
    for _ in range(count):
        flight.begin()
    for _ in range(count - 1):
        flight.end()

    assert not drained(flight, 0.001)
    flight.end()
    assert drained(flight, 10)


def test_drain_waits_for_those_in_flight() -> None:
    async def run() -> bool:
        flight = InFlight()
        flight.begin()
        asyncio.get_running_loop().call_soon(flight.end)
        return await flight.drain(10)

    assert asyncio.run(run())
