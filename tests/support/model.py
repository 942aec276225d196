"""What a deployment does, written a second time and from the formulas alone, to compare the scripts with: leases,
limit, breaker, generations, probes. No store, no clock: it is told when and what.
"""

import dataclasses

from shared_state.records import Permit

NEUTRAL = ("client_error", "cancelled", "throttled")
TRIP_MEMORY_MS = 60_000
COOL_MS = 1_000  # of a provider that throttles and does not say for how long


@dataclasses.dataclass(frozen=True)
class Rules:
    """The policy of a deployment, as far as the model knows it."""

    limit: int
    lease_ms: int
    cooldown_ms: int
    failures: int
    probes: int
    successes: int


@dataclasses.dataclass
class Model:
    """One deployment as the design says it behaves."""

    rules: Rules
    state: str = "closed"
    generation: int = 0
    trips: int = 0
    changed_at_ms: int | None = None
    open_until_ms: int = 0
    consecutive_failures: int = 0
    issued: int = 0
    succeeded: int = 0
    deadline_ms: int | None = None
    cool_until_ms: int = 0
    leases: dict[str, tuple[int, bool]] = dataclasses.field(default_factory=dict)

    def move(self, state: str, now_ms: int) -> None:
        self.state, self.generation, self.changed_at_ms = state, self.generation + 1, now_ms
        self.issued, self.succeeded, self.deadline_ms = 0, 0, None

    def open(self, now_ms: int) -> None:
        if self.state == "closed" and self.changed_at_ms is not None:
            self.trips = max(0, self.trips - (now_ms - self.changed_at_ms) // TRIP_MEMORY_MS)
        self.trips += 1
        self.move("open", now_ms)

    def close(self, now_ms: int) -> None:
        self.move("closed", now_ms)
        self.consecutive_failures = 0

    def active(self, now_ms: int) -> int:
        return sum(now_ms < start + self.rules.lease_ms for start, _ in self.leases.values())

    def expect(self, now_ms: int) -> str:
        """The verdict on a request now; moves the breaker as an acquire does."""
        if self.state == "disabled" or (self.state == "forced_open" and not self.is_over(now_ms)):
            return self.state
        if self.state == "open" and now_ms < self.open_until_ms:
            return "open"
        if self.state == "half_open":
            if self.deadline_ms is not None and now_ms >= self.deadline_ms:
                self.open(now_ms)
                return "open"
            if self.issued >= self.rules.probes:
                return "probing"
        if now_ms < self.cool_until_ms:
            return "cooling"
        if self.active(now_ms) >= self.rules.limit:
            return "full"
        if self.state in ("open", "forced_open"):
            self.move("half_open", now_ms)
        return "granted"

    def is_over(self, now_ms: int) -> bool:
        """Has a forced state ended by itself?"""
        return bool(self.open_until_ms) and now_ms >= self.open_until_ms

    def grant(self, token: str, now_ms: int) -> None:
        is_probe = self.state == "half_open"
        self.leases[token] = (now_ms, is_probe)
        if is_probe:
            self.issued += 1
            self.deadline_ms = self.deadline_ms or now_ms + self.rules.lease_ms

    def settle(self, permit: Permit, outcome: str, now_ms: int) -> None:
        del self.leases[permit.token]
        if outcome == "throttled":
            self.cool_until_ms = max(self.cool_until_ms, now_ms + COOL_MS)
        if permit.generation != self.generation:
            return
        if self.state == "closed" and outcome not in NEUTRAL:
            self.consecutive_failures = 0 if outcome == "success" else self.consecutive_failures + 1
            if self.consecutive_failures == self.rules.failures:
                self.open(now_ms)
        elif self.state == "half_open" and permit.is_probe:
            self.settle_probe(outcome, now_ms)

    def settle_probe(self, outcome: str, now_ms: int) -> None:
        if outcome == "success":
            self.succeeded += 1
        elif outcome in NEUTRAL:
            self.issued -= 1
        else:
            self.open(now_ms)
            return
        if self.succeeded == self.rules.successes:
            self.close(now_ms)
        elif self.issued == self.succeeded:
            self.deadline_ms = None
