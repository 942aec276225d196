"""What pins do, written a second time: who holds one, until when, and what a grant changes. Pins are named by opaque
hashes; no store, no clock.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from tests.support.deployment_model import Deployment

REFRESH = 8  # a pin is written again after this part of its ttl
SAMPLES = 8  # of a deployment's cache, which the average of shares is about

FIRST = "+"  # before the hash of a first turn that only its beginning names

# Of each hash: when its pin was written or last used, its deployment, and whether only first turns have used it.
Placed = Mapping[str, tuple[int, str, bool]]


@dataclasses.dataclass(frozen=True)
class Pin:
    """One of a request, its session's first. ``home``: its deployment; ``is_hidden``: a first turn does not see it."""

    name: str
    home: str | None
    is_first: bool = False
    is_hidden: bool = False


InForce = Sequence[Pin]


@dataclasses.dataclass(frozen=True)
class Grant:
    """What a grant does to pins. ``passed``: the hashes whose deployment was passed over."""

    word: str
    passed: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Pins:
    """``may_lose``: the number of pins is so small that they may go before their time."""

    ttl_ms: int
    band: float
    entries: int
    may_lose: bool = False
    placed: dict[str, tuple[int, str, bool]] = dataclasses.field(default_factory=dict)

    def in_force(self, hashes: Sequence[str], now_ms: int, stored: Placed | None = None) -> InForce:
        """With ``stored``, which is checked, also where the model cannot know whether a pin is still there."""
        if stored is not None:
            self.check(stored, now_ms)
        held, pins = self.placed if stored is None else stored, []
        for each in hashes:
            is_first, name = each.startswith(FIRST), each.removeprefix(FIRST)
            _, home, is_unproven = held[name] if self.is_held(name, held, now_ms) else (0, None, False)
            is_hidden = is_first and is_unproven
            pins.append(Pin(name, None if is_hidden else home, is_first, is_hidden))
        return pins

    def is_held(self, name: str, held: Placed, now_ms: int) -> bool:
        return name in held and now_ms - held[name][0] < self.ttl_ms

    def check(self, stored: Placed, now_ms: int) -> None:
        problems = self.problems(stored, now_ms)
        assert not problems, problems

    def problems(self, stored: Placed, now_ms: int) -> list[str]:
        """Each pin is that of the deployment that served last, and in force for its time; all others are unchanged."""
        return [*filter(None, (self.problem(name, stored, now_ms) for name in {*stored, *self.placed}))]

    def problem(self, name: str, stored: Placed, now_ms: int) -> str | None:
        used_ms, *mine = self.placed.get(name, (0, "", False))
        if self.is_held(name, stored, now_ms):
            at_ms, *held = stored[name]
            if held != mine:
                return f"the pin of {name} is {held}, and should be {mine}"
            is_fresh = at_ms <= used_ms < at_ms + self.ttl_ms / REFRESH
            return None if is_fresh else f"{name} was written at {at_ms} and used at {used_ms}"
        may_be_gone = not any(mine) or self.may_lose or now_ms - used_ms >= self.ttl_ms * (1 - 1 / REFRESH)
        return None if may_be_gone else f"{name} is lost"

    def after(self, pins: InForce, name: str, grant: Grant, now_ms: int) -> "Pins":
        """With what a grant to the deployment changes: the session's pin, and those that no other deployment holds."""
        if grant.word == "none":
            return self
        placed = dict(self.placed)
        for position, pin in enumerate(pins):
            is_free = position == 0 or pin.home in (None, name) or pin.name in grant.passed
            if is_free and not pin.is_hidden:
                placed[pin.name] = now_ms, name, pin.is_first and pin.home is None
        return dataclasses.replace(self, placed=placed)

    def end(self, hashes: Sequence[str], name: str) -> None:
        """A call failed for good there."""
        for pin in (each.removeprefix(FIRST) for each in hashes):
            if self.placed.get(pin, (0, "", False))[1] == name:
                del self.placed[pin]


def measure(deployment: Deployment, share: float) -> None:
    deployment.cache_hit = float(f"{deployment.cache_hit + (share - deployment.cache_hit) / SAMPLES:.3f}")
