"""What a forecast does to clients: real acquire, settle and tick on virtual time, before providers that are queues.

Three deployments of one model, each slowest at another time of day, and a demand that is highest in the afternoon.
First without a forecast, which also says what there is to learn; then with one that has learned it for three weeks,
with one whose hours were shuffled afterwards, so that it is sure of itself and wrong, and with one that never saw but
shuffled hours.
"""

import heapq
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from shared_state.records import Permit
from shared_state.scripts import Script
from tests.support.seasons import HOUR_MS, MINUTE_MS, WEEK, Forecasting, Traffic
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisQueue

Forecast = Literal["off", "right", "shuffled", "learned shuffled"]
DAY = 24
CELLS_BYTES = 16  # of an hour in the season's string
WARM_MS, MEASURED_MS = MINUTE_MS + 1000, 2 * MINUTE_MS
RETRY_MS = 25  # a request waits for a deployment that is full


class Provider(msgspec.Struct, frozen=True):
    """``places``: requests at a time, the rest wait there; ``slowest``: its hour of the day, 1.7 times as slow."""

    name: str
    places: int
    service_ms: float
    slowest: int

    def service(self, hour: int) -> float:
        return self.service_ms * (1.35 + 0.35 * math.cos((hour - self.slowest) / DAY * 2 * math.pi))


PROVIDERS = (Provider("a", 8, 500, 10), Provider("b", 8, 500, 16), Provider("c", 6, 400, 22))
LIMIT_OVER_PLACES = 1.5


def demand(hour: int, load: float) -> float:
    """Requests a second; ``load``: the share of what all could carry that comes at the busiest hour."""
    whole = sum(each.places / each.service_ms * 1000 / 1.35 for each in PROVIDERS)
    return whole * load * (0.65 + 0.35 * math.cos((hour - 15) / DAY * 2 * math.pi))


class Rig:
    """One cluster, one way to foresee, the same requests as every other rig of this seed."""

    def __init__(
        self, queue: RedisQueue, scripts: Mapping[str, Script], seed: int, load: float, forecast: Forecast
    ) -> None:
        self._queue = queue
        self.cluster = cluster = Cluster(queue, scripts)
        self.load = load
        self.seed = seed
        self.forecast = forecast
        self.forecasting = Forecasting(cluster)
        self.names = tuple(each.name for each in PROVIDERS)
        self.latencies: list[float] = []
        self.shares: list[float] = []  # after each tick, of each deployment that has one
        self.seen: dict[int, dict[str, Traffic]] = {}
        policies = [deployment_policy(p.name, limit=round(p.places * LIMIT_OVER_PLACES)) for p in PROVIDERS]
        ahead_ms = None if forecast == "off" else 5 * MINUTE_MS
        cluster.configure(*policies, forecast_ahead_ms=ahead_ms, forecast_cut=0.1, breaker_enabled=False)

    def learn(self, seen: dict[int, dict[str, Traffic]], weeks: int = 3) -> None:
        """Weeks of the days that were seen, with noise."""
        draw = random.Random(self.seed)
        known = sorted(seen)
        series: dict[str, list[Traffic]] = {name: [] for name in self.names}
        for hour in range(weeks * WEEK):
            before = max((k for k in known if k <= hour % DAY), default=known[-1] - DAY)
            after = min((k for k in known if k > hour % DAY), default=known[0] + DAY)
            part = (hour % DAY - before) / (after - before)
            for name in self.names:
                a, b = seen[before % DAY][name], seen[after % DAY][name]
                arrivals = a.arrivals + part * (b.arrivals - a.arrivals)
                latency_ms = a.latency_ms + part * (b.latency_ms - a.latency_ms)
                series[name].append(Traffic(arrivals * draw.gauss(1, 0.05), latency_ms * draw.gauss(1, 0.03)))
        if self.forecast == "learned shuffled":
            for each in series.values():
                draw.shuffle(each)
        self.forecasting.go_through(series)
        if self.forecast == "shuffled":
            self._shuffle(draw)

    def _shuffle(self, draw: random.Random) -> None:
        """Each deployment's hours in an order of their own."""
        for name in self.names:
            key = self.cluster.keys.season(name)
            whole = self.cluster.cli.do("GET", key)
            hours = [whole[k : k + CELLS_BYTES] for k in range(0, len(whole), CELLS_BYTES)]
            draw.shuffle(hours)
            self.cluster.cli.do("SET", key, b"".join(hours))

    def _note_shares(self) -> None:
        for name in self.names:
            share = self.cluster.deployment(name).get("forecast_share")
            self.shares += [float(share)] if share else []

    def run(self, hours: Sequence[int]) -> None:
        """Some minutes from the middle of each hour of a day."""
        midnight_ms = -(-self.cluster.now_ms // (DAY * HOUR_MS)) * DAY * HOUR_MS
        for hour in hours:
            self._hour(hour, midnight_ms + hour * HOUR_MS + HOUR_MS // 2)

    def _hour(self, hour: int, begin_ms: int) -> None:
        draw = random.Random(f"{self.seed} {hour}")
        free = {each.name: [0.0] * each.places for each in PROVIDERS}
        services = {each.name: each.service(hour) for each in PROVIDERS}
        order = itertools.count()
        ends_ms = WARM_MS + MEASURED_MS
        events: list[tuple[float, int, _Request | _Ending | None]] = []
        for at_ms in _arrivals(draw, demand(hour, self.load), ends_ms):
            heapq.heappush(events, (at_ms, next(order), _Request(at_ms, draw.lognormvariate(-0.045, 0.3))))
        for at_ms in range(WARM_MS, ends_ms, MINUTE_MS):
            heapq.heappush(events, (at_ms, next(order), None))
        granted: dict[str, list[float]] = {name: [] for name in self.names}
        while events:
            at_ms, _, event = heapq.heappop(events)
            self.cluster.set_clock(begin_ms + round(at_ms))
            if event is None:
                self.forecasting.tick()
                self._note_shares()
            elif isinstance(event, _Ending):
                latency_ms = round(at_ms - event.granted_ms)
                self._queue.hold(*self.cluster.settling(event.permit, latency_ms=latency_ms))
                if event.arrived_ms >= WARM_MS:
                    self.latencies.append(at_ms - event.arrived_ms)
                    granted[event.permit.deployment_id].append(at_ms - event.granted_ms)
            else:
                decision = self.cluster.acquire(*self.names, priority=0, seed=draw.getrandbits(31))
                if isinstance(decision, Permit):
                    places, service_ms = free[decision.deployment_id], services[decision.deployment_id]
                    end_ms = max(at_ms, heapq.heappop(places)) + event.work * service_ms
                    heapq.heappush(places, end_ms)
                    heapq.heappush(events, (end_ms, next(order), _Ending(decision, event.arrived_ms, at_ms)))
                else:
                    heapq.heappush(events, (at_ms + RETRY_MS, next(order), event))
        self.seen[hour] = {
            name: Traffic(len(each) / MEASURED_MS * MINUTE_MS, sum(each) / max(1, len(each)))
            for name, each in granted.items()
        }


class _Request(msgspec.Struct, frozen=True):
    """``work``: as a factor of what its provider takes."""

    arrived_ms: float
    work: float


class _Ending(msgspec.Struct, frozen=True):
    permit: Permit
    arrived_ms: float
    granted_ms: float


def _arrivals(draw: random.Random, per_second: float, ends_ms: int) -> Iterator[float]:
    at_ms = draw.expovariate(per_second) * 1000
    while at_ms < ends_ms:
        yield at_ms
        at_ms += draw.expovariate(per_second) * 1000


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
