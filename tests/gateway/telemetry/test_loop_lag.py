"""The lag of the event loop, and when the loop is saturated."""

import asyncio
import time

import pytest

from gateway.telemetry.loop_lag import LoopLag
from tests.support.stores import eventually, on_loop


def hold_up(for_s: float) -> None:
    ends_s = time.monotonic() + for_s
    while time.monotonic() < ends_s:
        pass


@on_loop
async def test_loop_is_saturated_when_it_is_late_twice_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.telemetry.loop_lag.EVERY_S", 0.02)
    monkeypatch.setattr("gateway.telemetry.loop_lag.SATURATED_S", 0.2)
    lag, seen = LoopLag(), []
    for _ in range(2):
        ticks = sum(lag.lags.counts)
        hold_up(0.3)
        while sum(lag.lags.counts) == ticks:
            await asyncio.sleep(0)
        seen.append(lag.is_saturated())
    await eventually(lambda: not lag.is_saturated())
    lag.stop()

    assert seen == [False, True]
