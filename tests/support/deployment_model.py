"""What one deployment does, written a second time and from the formulas alone: its leases, its limits, its breaker with
generations and probes. No store, no clock: it is told when and what.
"""

import dataclasses
import math
from collections.abc import Callable

FAILED, NEUTRAL = ("failure", "timeout", "overloaded"), ("client_error", "cancelled", "throttled", "unsupported")
MINUTE_MS, TRIP_MEMORY_MS, SLOW_START_MS, LONGEST_COOLDOWN_MS = 60_000, 60_000, 30_000, 300_000
RELIEF_MS, RELIEF_EVERY_MS = 60_000, 1_000
RESORT_EVERY_MS = 1_000
WAIT_MS = (
    1_000  # told to those who cannot know, and the rest of a provider that throttles and does not say for how long
)
UNSUPPORTED_AFTER = 3  # 404s in a row of an endpoint that has served
UNSUPPORTED_FIRST_MS, UNSUPPORTED_MOST_MS = 5_000, 60_000  # without the endpoint of a kind of call

# From the cooldown in ms to the time at which it ends: the jitter is drawn elsewhere.
Until = Callable[[float], int]


def drawn(seed: int, now_ms: int) -> Until:
    """By the first number of Park and Miller's minimal standard generator."""
    draw = ((seed % 2147483647 or 1) * 16807) % 2147483647 / 2147483647
    return lambda cooldown_ms: int(now_ms + cooldown_ms * (0.9 + 0.2 * draw))


@dataclasses.dataclass(frozen=True)
class Router:
    """What holds for every deployment."""

    failures: int
    slow: int
    probes: int
    successes: int
    max_active: int
    last_resort: bool = False


@dataclasses.dataclass(frozen=True)
class Rules:
    """What holds for one."""

    limit: int
    lease_ms: int
    cooldown_ms: int
    priority: int = 50
    rpm: int | None = None
    group: str | None = None
    group_size: int | None = None


@dataclasses.dataclass(frozen=True)
class Lease:
    started_ms: int
    generation: int
    is_probe: bool
    is_last_resort: bool = False


@dataclasses.dataclass
class Deployment:
    """``moves``: from, to, generation, at_ms of each transition; ``unsupported``: until when, by kind of call;
    ``relief_ms``: when a decision last noted that another candidate could take its traffic; ``resort_ms``: when a
    probe of the last resort last came here; ``is_slow``: slowness opened it; ``served_ms``: when it last succeeded.
    """

    router: Router
    rules: Rules
    version: int
    state: str = "closed"
    generation: int = 0
    trips: int = 0
    changed_ms: int | None = None
    ends_ms: int | None = None
    failures: int = 0
    slow: int = 0
    relief_ms: int | None = None
    resort_ms: int = 0
    is_slow: bool = False
    served_ms: int | None = None
    cache_hit: float = 1.0
    issued: int = 0
    succeeded: int = 0
    deadline_ms: int | None = None
    cool_until_ms: int = 0
    arrival_ms: float = 0
    unsupported: dict[str, int] = dataclasses.field(default_factory=dict)
    missing: dict[str, int] = dataclasses.field(default_factory=dict)
    unsupported_for: dict[str, int] = dataclasses.field(default_factory=dict)
    leases: dict[str, Lease] = dataclasses.field(default_factory=dict)
    moves: list[tuple[str, str, int, int]] = dataclasses.field(default_factory=list)

    # -- leases ---------------------------------------------------------------------------------------------

    def live(self, now_ms: int) -> dict[str, Lease]:
        return {token: lease for token, lease in self.leases.items() if now_ms < lease.started_ms + self.rules.lease_ms}

    def active(self, now_ms: int) -> int:
        return len(self.live(now_ms))

    def ramp(self, now_ms: int) -> float:
        """The slow start of a breaker that has closed."""
        if self.state != "closed" or not self.generation or self.changed_ms is None:
            return 1.0
        return min(1.0, max(0.1, (now_ms - self.changed_ms) / SLOW_START_MS))

    def busy(self, now_ms: int) -> float:
        """Load after one more request; one that has just recovered weighs less."""
        return (self.active(now_ms) + 1) / self.ramp(now_ms)

    # -- breaker --------------------------------------------------------------------------------------------

    def move(self, state: str, now_ms: int) -> None:
        self.moves.append((self.state, state, self.generation + 1, now_ms))
        self.state, self.generation, self.changed_ms = state, self.generation + 1, now_ms
        self.issued, self.succeeded, self.deadline_ms = 0, 0, None

    def open(self, now_ms: int, until: Until, is_slow: bool = False) -> None:
        self.is_slow = is_slow
        if self.state == "closed" and self.changed_ms is not None:
            self.trips = max(0, self.trips - (now_ms - self.changed_ms) // TRIP_MEMORY_MS)
        self.trips += 1
        self.move("open", now_ms)
        cooldown_ms = min(self.rules.cooldown_ms * 2 ** (self.trips - 1), LONGEST_COOLDOWN_MS)
        self.ends_ms = until(cooldown_ms)
        assert 0.9 * cooldown_ms - 1 <= self.ends_ms - now_ms <= 1.1 * cooldown_ms

    def close(self, now_ms: int) -> None:
        self.move("closed", now_ms)
        self.failures, self.slow, self.ends_ms, self.served_ms = 0, 0, None, None

    def is_over(self, now_ms: int) -> bool:
        """Has an open or forced state ended by itself?"""
        return self.ends_ms is not None and now_ms >= self.ends_ms

    def is_overdue(self, now_ms: int) -> bool:
        """Do probes not report?"""
        return self.state == "half_open" and self.deadline_ms is not None and now_ms >= self.deadline_ms

    def note_relief(self, has_relief: bool, now_ms: int) -> None:
        """Noted once a second, forgotten at once."""
        if not has_relief:
            self.relief_ms = None
        elif self.relief_ms is None or now_ms - self.relief_ms >= RELIEF_EVERY_MS:
            self.relief_ms = now_ms

    def has_relief(self, now_ms: int) -> bool:
        return self.relief_ms is not None and now_ms - self.relief_ms <= RELIEF_MS

    def lacks(self, kind: str, now_ms: int) -> bool:
        return now_ms < self.unsupported.get(kind, 0)

    def verdict(self, now_ms: int, kind: str = "") -> tuple[str, float]:
        """May a request go here now, and if not, for how long?"""
        if self.lacks(kind, now_ms):
            return "unsupported", self.unsupported[kind] - now_ms
        if self.state == "disabled":
            return "disabled", WAIT_MS
        if self.state in ("open", "forced_open") and not self.is_over(now_ms):
            return self.state, WAIT_MS if self.ends_ms is None else self.ends_ms - now_ms
        if self.state == "half_open" and self.issued >= self.router.probes:
            return "probing", min(WAIT_MS, (self.deadline_ms or math.inf) - now_ms)
        return self.room(self.rules.limit, now_ms)

    def room(self, limit: int, now_ms: int) -> tuple[str, float]:
        """The verdict but for the breaker."""
        if now_ms < self.cool_until_ms:
            return "cooling", self.cool_until_ms - now_ms
        if self.active(now_ms) >= limit:
            return "full", WAIT_MS
        if self.rules.rpm and (early_ms := self.next_arrival(now_ms) - MINUTE_MS - now_ms) > 0:
            return "rate_limited", early_ms
        return "eligible", 0

    def serves_as_last_resort(self) -> bool:
        """Slow is not broken, and a half-open one that has just answered is on its way back."""
        return (self.state == "open" and self.is_slow) or (self.state == "half_open" and self.succeeded > 0)

    @property
    def half_limit(self) -> int:
        return max(1, self.rules.limit // 2)

    def next_arrival(self, now_ms: int) -> float:
        """The generic cell rate algorithm; a whole minute may come at once."""
        return max(now_ms, self.arrival_ms) + MINUTE_MS / self.rules.rpm if self.rules.rpm else self.arrival_ms

    def headroom(self, now_ms: int) -> float:
        return 1 - max(0, self.arrival_ms - now_ms) / MINUTE_MS if self.rules.rpm else 1

    def grant(self, token: str, now_ms: int, is_last_resort: bool = False) -> Lease:
        if is_last_resort:
            self.arrival_ms = self.next_arrival(now_ms)
            self.leases[token] = Lease(now_ms, self.generation, self.state == "open", True)
            return self.leases[token]
        if self.state in ("open", "forced_open"):
            self.move("half_open", now_ms)
        is_probe = self.state == "half_open"
        if is_probe:
            self.issued += 1
            self.deadline_ms = self.deadline_ms or now_ms + self.rules.lease_ms
        self.arrival_ms = self.next_arrival(now_ms)
        self.leases[token] = Lease(now_ms, self.generation, is_probe)
        return self.leases[token]

    def settle(
        self,
        lease: Lease,
        outcome: str,
        is_slow: bool,
        retry_after_ms: int,
        now_ms: int,
        until: Until,
        kind: str = "",
    ) -> None:
        if outcome == "success":
            self.unsupported.pop(kind, None)
            self.unsupported_for.pop(kind, None)
            self.missing[kind] = 0
        elif outcome == "unsupported" and kind and not self.lacks(kind, now_ms):
            if kind in self.missing:
                self.missing[kind] += 1
            if self.missing.get(kind, UNSUPPORTED_AFTER) >= UNSUPPORTED_AFTER:
                for_ms = min(UNSUPPORTED_MOST_MS, 2 * self.unsupported_for.get(kind, UNSUPPORTED_FIRST_MS // 2))
                self.unsupported[kind], self.unsupported_for[kind] = now_ms + for_ms, for_ms
        if outcome == "throttled" or (outcome in ("overloaded", "success") and retry_after_ms):
            self.cool_until_ms = max(self.cool_until_ms, now_ms + (retry_after_ms or WAIT_MS))
        if outcome == "success" and (self.state != "closed" or lease.generation == self.generation):
            self.served_ms = now_ms
        if lease.generation != self.generation:
            return
        if self.state == "closed":
            if outcome in FAILED:
                self.failures += 1
            elif outcome == "success":
                self.failures, self.slow = 0, self.slow + 1 if is_slow else 0
            is_too_slow = is_slow and outcome == "success" and self.slow >= self.router.slow
            if self.failures >= self.router.failures:
                self.open(now_ms, until)
            elif is_too_slow and self.has_relief(now_ms):
                self.open(now_ms, until, is_slow=True)
        elif self.state == "open" and lease.is_last_resort:
            if outcome == "success" and not (is_slow and self.has_relief(now_ms)):
                self.move("half_open", now_ms)
                self.issued = self.succeeded = 1
        elif self.state == "half_open" and lease.is_probe:
            if outcome in NEUTRAL:
                self.give_back()
            elif outcome in FAILED or (is_slow and self.has_relief(now_ms)):
                self.open(now_ms, until, is_slow=outcome not in FAILED)
            else:
                self.succeeded += 1
                self.rest()
                if self.succeeded == self.router.successes:
                    self.close(now_ms)

    def give_back(self) -> None:
        self.issued = max(0, self.issued - 1)
        self.rest()

    def rest(self) -> None:
        """The deadline runs only while a probe is out."""
        if self.issued <= self.succeeded:
            self.deadline_ms = None
