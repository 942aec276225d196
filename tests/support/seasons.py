"""Weeks of traffic for the forecast, on virtual time: what comes to a deployment, hour by hour, written down as
`settle` leaves it, with the real tick after each step.
"""

import math
import random
import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from shared_state.calls import view_replies
from shared_state.connection.call import Reply
from shared_state.snapshots import Forecast
from tests.support.state import Cluster

HOUR_MS, MINUTE_MS, SLICE_MS = 3_600_000, 60_000, 10_000
WEEK = 168
VALID_MS = 180_000
SLICES, SLICE_BYTES = 6, 126  # as in lua/include/window/window.lua


class Traffic(msgspec.Struct, frozen=True):
    """Arrivals a minute, and how long each holds its permit."""

    arrivals: float
    latency_ms: float


def recorded(seed: int, base: float = 600.0, latency_ms: float = 800.0, peak_hour: int = 14) -> list[Traffic]:
    """Seven weeks that look like a company's: busy by day, quiet by night and at the weekend, 2 % more every week,
    noise that stays for some hours, and now and then a burst.
    """
    draw = random.Random(seed)
    wander, hours = 0.0, []
    for hour in range(7 * WEEK):
        day, of_day = hour // 24 % 7, hour % 24
        daily = 1 + 0.6 * math.cos((of_day - peak_hour) / 24 * 2 * math.pi)
        weekly = 0.45 if day in (2, 3) else 1.0  # 1970 began on a Thursday
        wander = 0.8 * wander + draw.gauss(0, 0.04)
        burst = 1.5 if draw.random() < 0.01 else 1.0
        level = base * 1.02 ** (hour / WEEK) * daily * weekly * burst
        arrivals = max(0.0, level * (1 + wander + draw.gauss(0, 0.05)))
        slowness = 1 + 0.3 * math.cos((of_day - peak_hour - 2) / 24 * 2 * math.pi) + draw.gauss(0, 0.03)
        hours.append(Traffic(arrivals, latency_ms * slowness))
    return hours


def missing(seed: int, hours: int) -> set[int]:
    """Hours in which nobody was there to count: some alone, some in a row."""
    draw, gone = random.Random(seed), set[int]()
    for hour in range(hours):
        if draw.random() < 0.01:
            gone |= set(range(hour, hour + draw.choice((1, 1, 2, 6, 12))))
    return gone


class Forecasting:
    """The tick on a cluster whose deployments' windows are written by hand."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._head = cluster.head("forecast")
        self._draw = random.Random(1)

    def tick(self, *ids: str) -> int:
        """How many deployments' minute this was."""
        reply = self.cluster.cli.do(*self._tick(ids or tuple(self.cluster.ids)))
        assert isinstance(reply[0], int)
        return reply[0]

    def _tick(self, ids: Sequence[str]) -> tuple[Any, ...]:
        keys = self.cluster.keys
        names = [keys.domain, keys.policy]
        for each in ids:
            names += [keys.deployment(each), keys.deployment_window(each), keys.forecast(each), keys.season(each)]
        return (*self._head, len(names), *names, VALID_MS)

    def _writes(self, deployment_id: str, traffic: Traffic, at_ms: int) -> Iterator[tuple[Any, ...]]:
        """The window of the last minute, and what is active."""
        index = at_ms // SLICE_MS - 1
        calls = round(traffic.arrivals * 5 / 6)  # the window is 50 s long
        whole = struct.pack(">7I", index, calls, 0, 0, 0, 0, 0) + bytes(98)
        before = index % SLICES
        window = bytes(before * SLICE_BYTES) + whole + bytes((SLICES - 1 - before) * SLICE_BYTES)
        active = round(traffic.arrivals / MINUTE_MS * traffic.latency_ms)
        yield "SET", self.cluster.keys.deployment_window(deployment_id), window
        yield "HSET", self.cluster.keys.deployment(deployment_id), "active", active

    def hour(self, begin_ms: int, traffics: Mapping[str, Traffic], ticks: int = 12) -> None:
        """One hour, in one round trip. ``begin_ms``: by the domain's clock, which the wall's is behind for ever once it
        was set back.
        """
        cluster, commands = self.cluster, []
        for step in range(ticks):
            at_ms = begin_ms + step * 5 * MINUTE_MS + 30_000
            commands.append(("HSET", cluster.keys.domain, "test_clock_ms", at_ms - cluster.behind_ms))
            for name, traffic in traffics.items():
                come = max(0.0, self._draw.gauss(traffic.arrivals, math.sqrt(traffic.arrivals)))
                commands += self._writes(name, Traffic(come, traffic.latency_ms), at_ms)
            commands.append(self._tick(tuple(traffics)))
        cluster.cli.do_all(commands)
        cluster.set_clock(at_ms - cluster.behind_ms)

    def minute(self, traffics: Mapping[str, Traffic]) -> None:
        """One tick, now."""
        writes = [write for name, each in traffics.items() for write in self._writes(name, each, self.cluster.now_ms)]
        self.cluster.cli.do_all([*writes, self._tick(tuple(traffics))])

    def foreseen(self, *ids: str) -> list[Forecast | None]:
        names = [self.cluster.keys.domain, *(self.cluster.keys.forecast(each) for each in ids)]
        reply = self.cluster.run("foreseen", names, [VALID_MS], read_only=True)
        return [view_replies.forecast(cast(Reply, row)) for row in reply]

    def hours(self, series: Mapping[str, Sequence[Traffic]], gone: Container[int] = ()) -> Iterator[int]:
        """Each hour in turn; nobody ticks in those that are ``gone``. Yields when one is over."""
        begin_ms = -(-self.cluster.now_ms // HOUR_MS) * HOUR_MS
        for hour in range(len(next(iter(series.values())))):
            if hour not in gone:
                self.hour(begin_ms + hour * HOUR_MS, {name: each[hour] for name, each in series.items()})
                self.cluster.beat()
            yield hour

    def go_through(self, series: Mapping[str, Sequence[Traffic]]) -> None:
        for _ in self.hours(series):
            pass

    def shown(self, deployment_id: str) -> dict[str, str]:
        """The hash as redis-cli shows it."""
        found = self.cluster.cli.do("HGETALL", self.cluster.keys.forecast(deployment_id))
        return {name.decode(): value.decode() for name, value in found.items()}
