"""Five weeks of load with a surge each weekday, on virtual time: the store's script says how many replicas there should
be, and replicas start a minute after it asks. What no replica can take waits for two seconds at most, then it is shed.

A request lasts a second, so requests a second are requests at once.
"""

import random
from collections import deque
from typing import Any

import msgspec

from shared_state.policies import AutoscalePolicy
from tests.support.state import Cluster

DAY_S, WEEK_S = 86_400, 604_800
SURGE_AT_S, FLAT_S, DECAY_S = 9 * 3600, 3600, 1800
TIMES = 5  # the load of a surge, of the load before it
START_S, PATIENCE_S = 60, 2
MARGIN_S = 600
STEP_S = 30  # where nothing happens
EPOCH_DAYS = 4  # 1970-01-01 was a Thursday
NEVER_MS = 9_000_000_000_000


class Week(msgspec.Struct, frozen=True):
    """``base``: requests a second outside surges; ``climb_s``: from there to `TIMES` as many; ``growth``: of a week;
    ``late_s``: how much later than in the week before surges come; ``holidays``: days of the run without one.
    """

    base: float = 40.0
    climb_s: int = 600
    growth: float = 0.03
    late_s: int = 0
    holidays: frozenset[int] = frozenset({14})
    is_shuffled: bool = False  # each day's surge at another hour

    def begin_s(self, day: int) -> int | None:
        """When the surge of a day begins, in seconds of that day; None when it has none. Day 0 is a Monday."""
        if day % 7 >= 5 or day in self.holidays:
            return None
        if self.is_shuffled:
            return random.Random(day).randrange(2, 20) * 3600
        return SURGE_AT_S + self.late_s * (day // 7)

    def load(self, second: int) -> float:
        day, base = second // DAY_S, self.base * (1 + self.growth) ** (second // WEEK_S)
        begin_s = self.begin_s(day)
        if begin_s is None:
            return base
        since = second % DAY_S - begin_s
        up = min(1.0, since / self.climb_s) if since >= 0 else 0.0
        down = min(1.0, max(0.0, (since - self.climb_s - FLAT_S) / DECAY_S))
        return base * (1 + (TIMES - 1) * (up - down))

    def is_eventful(self, second: int) -> bool:
        begin_s = self.begin_s(second // DAY_S)
        if begin_s is None:
            begin_s = SURGE_AT_S  # a surge that may be expected
        return -MARGIN_S <= second % DAY_S - begin_s < self.climb_s + MARGIN_S


class Outcome(msgspec.Struct):
    """``known_…``: of surges that came a week before as well."""

    requests: int = 0
    shed: int = 0
    late: int = 0
    known_shed: int = 0
    known_late: int = 0
    replica_hours: float = 0.0


class Replicas:
    """Those that serve, and those that start."""

    def __init__(self, running: int) -> None:
        self.running = running
        self._starting: deque[int] = deque()

    def follow(self, desired: int, second: int) -> None:
        while self._starting and self._starting[0] <= second:
            self._starting.popleft()
            self.running += 1
        missing = desired - self.running - len(self._starting)
        self._starting.extend([second + START_S] * missing)
        for _ in range(-missing):
            if self._starting:
                self._starting.pop()
            else:
                self.running -= 1


class Weeks:
    """One run through the weeks."""

    def __init__(self, cluster: Cluster, policy: AutoscalePolicy, week: Week, seed: int) -> None:
        self.outcome = Outcome()
        self._cluster = cluster
        self._policy = policy
        self._week = week
        self._draw = random.Random(seed)
        self._queue: deque[tuple[int, int]] = deque()  # when they came, how many
        cluster.configure("a")
        monday_ms = -(-cluster.now_ms // (WEEK_S * 1000)) * WEEK_S * 1000 + EPOCH_DAYS * DAY_S * 1000
        cluster.advance(monday_ms - cluster.now_ms)

    def run(self, weeks: int = 5) -> Outcome:
        replicas = Replicas(self._desired(0, round(self._week.base)))
        second = 0
        while second < weeks * WEEK_S:
            step_s = 1 if self._week.is_eventful(second) or self._queue else STEP_S
            second += step_s
            self._cluster.advance(step_s * 1000)
            served = self._serve(second, step_s, replicas.running * self._policy.target_concurrency)
            replicas.follow(self._desired(sum(count for _, count in self._queue), served), second)
            self.outcome.replica_hours += replicas.running * step_s / 3600
        return self.outcome

    def _serve(self, second: int, step_s: int, places: int) -> int:
        mean = self._week.load(second)
        came = max(0, round(self._draw.gauss(mean, mean**0.5)))
        self._queue.append((second, came))
        served = late = shed = 0
        while self._queue:
            at, count = self._queue.popleft()
            if second - at >= PATIENCE_S:
                shed += count
                continue
            taken = min(count, places - served)
            served += taken
            late += taken if at < second else 0
            if taken < count:
                self._queue.appendleft((at, count - taken))
                break
        day = second // DAY_S
        is_known = day >= 7 and self._week.begin_s(day) is not None and self._week.begin_s(day - 7) is not None
        self.outcome.requests += came * step_s
        self.outcome.shed += shed
        self.outcome.late += late
        self.outcome.known_shed += shed * is_known
        self.outcome.known_late += late * is_known
        return served

    def _desired(self, waiting: int, active: int) -> int:
        """Reports the load to the store; returns the replicas that there should be."""
        carry(self._cluster, active)
        signal = self._cluster.autoscale(self._policy, waiting=waiting)
        assert signal is not None
        return signal.desired


def carry(cluster: Cluster, active: int) -> None:
    """So many requests are active, whichever replica has them."""
    before = cluster.cli.do("ZCARD", cluster.keys.leases)
    if active > before:
        words = (word for k in range(before, active) for word in (NEVER_MS, f"r1.x.{k:05}"))
        cluster.cli.do("ZADD", cluster.keys.leases, *words)
    elif active < before:
        cluster.cli.do("ZREMRANGEBYRANK", cluster.keys.leases, active, -1)


def policy(**changed: Any) -> AutoscalePolicy:
    """The defaults, but for a smaller replica."""
    settings = {"target_concurrency": 10, "utilization": 0.7, "min_replicas": 2, "max_replicas": 60}
    return AutoscalePolicy(**{**settings, "scale_down_delay_ms": 300_000, "ahead_ms": 60_000, **changed})
