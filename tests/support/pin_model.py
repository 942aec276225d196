"""What pins do, written a second time: who holds one, until when, and what a grant changes. Pins are named by opaque
hashes; no store, no clock.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from tests.support.deployment_model import Deployment

REFRESH = 8  # a pin is written again after this part of its ttl
SAMPLES = 8  # of a deployment's cache, which the average of shares is about

# The hashes of one request, its session's first, each with the deployment that it is pinned to.
InForce = Sequence[tuple[str, str | None]]
# Of each stored hash: when it was written, and its deployment.
Stored = Mapping[str, tuple[int, str]]


@dataclasses.dataclass(frozen=True)
class Grant:
    """What a grant does to pins. ``passed``: the hashes whose deployment was passed over."""

    word: str
    passed: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Pins:
    """``placed``: of each hash, when its pin was last used, and its deployment; ``may_lose``: the number of pins is so
    small that they may go before their time.
    """

    ttl_ms: int
    band: float
    entries: int
    may_lose: bool = False
    placed: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)

    def in_force(self, hashes: Sequence[str], stored: Stored, now_ms: int) -> InForce:
        """Where the model cannot know whether a pin is still there, the store is read."""
        self.check(stored, now_ms)
        return [(name, stored[name][1] if self.is_stored(name, stored, now_ms) else None) for name in hashes]

    def is_stored(self, name: str, stored: Stored, now_ms: int) -> bool:
        return name in stored and now_ms - stored[name][0] < self.ttl_ms

    def check(self, stored: Stored, now_ms: int) -> None:
        problems = self.problems(stored, now_ms)
        assert not problems, problems

    def problems(self, stored: Stored, now_ms: int) -> list[str]:
        """Each pin is that of the deployment that served last, and in force for its time; all others are unchanged."""
        return [*filter(None, (self.problem(name, stored, now_ms) for name in {*stored, *self.placed}))]

    def problem(self, name: str, stored: Stored, now_ms: int) -> str | None:
        used_ms, home = self.placed.get(name, (0, ""))
        if self.is_stored(name, stored, now_ms):
            at_ms, deployment = stored[name]
            if deployment != home:
                return f"{name} is pinned to {deployment}, and {home or 'no deployment'} served it last"
            is_fresh = at_ms <= used_ms < at_ms + self.ttl_ms / REFRESH
            return None if is_fresh else f"{name} was written at {at_ms} and used at {used_ms}"
        may_be_gone = not home or self.may_lose or now_ms - used_ms >= self.ttl_ms * (1 - 1 / REFRESH)
        return None if may_be_gone else f"{name} is lost"

    def after(self, pins: InForce, name: str, grant: Grant, now_ms: int) -> "Pins":
        """With what a grant to the deployment changes: the session's pin, and those that no other deployment holds."""
        if grant.word == "none":
            return self
        placed = dict(self.placed)
        for position, (pin, home) in enumerate(pins):
            if position == 0 or home in (None, name) or pin in grant.passed:
                placed[pin] = now_ms, name
        return dataclasses.replace(self, placed=placed)

    def end(self, hashes: Sequence[str], name: str) -> None:
        """A call failed for good there."""
        for pin in hashes:
            if self.placed.get(pin, (0, ""))[1] == name:
                del self.placed[pin]


def measure(deployment: Deployment, share: float) -> None:
    deployment.cache_hit = float(f"{deployment.cache_hit + (share - deployment.cache_hit) / SAMPLES:.3f}")
