"""Deployments as a simulation sees them: how long a call takes, when one fails, and who asks when. All of it is drawn
before the simulation begins, so that every strategy meets the same requests and the same troubles.
"""

import math
import random
from bisect import bisect_right
from itertools import pairwise

import msgspec

ERROR_MS, TIMEOUT_MS = 150, 20_000
ATTEMPTS_MOST = 3


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What comes over a deployment from time to time: errors, or calls that take so many times longer."""

    every_s: float
    for_s: float
    error_rate: float = 0.0
    slower: float = 1.0


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """``sigma``: of the lognormal distribution; ``capacity``: calls at a time before they slow each other down;
    ``price``: of a million tokens; ``priority`` and ``weight``: as somebody sets them who knows only the prospectus.
    """

    id: str
    median_ms: float
    sigma: float
    capacity: int
    price: float
    weight: float = 1.0
    priority: int = 50
    rpm: int | None = None
    error_rate: float = 0.0
    trouble: Trouble | None = None


class Draw(msgspec.Struct, frozen=True):
    """What a call gets by chance: ``z`` is normal, ``u`` uniform; the same wherever it goes."""

    z: float
    u: float


class Request(msgspec.Struct, frozen=True):
    at_ms: float
    draws: tuple[Draw, ...]


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """A Poisson process, with bursts that come like one."""

    per_s: float
    burst_every_s: float
    burst_for_s: float
    burst_times: float


class Deployment:
    """One of a fleet, with the times of its troubles."""

    def __init__(self, behaviour: Behaviour, seed: int, until_s: float) -> None:
        self.behaviour = behaviour
        self.active = 0
        chance = random.Random(f"{seed} {behaviour.id}")
        self._turns_ms: list[float] = []  # in turn where trouble begins and where it ends
        trouble, at_s = behaviour.trouble, 0.0
        while trouble and at_s < until_s:
            at_s += chance.expovariate(1 / trouble.every_s)
            self._turns_ms.append(1000 * at_s)
            at_s += trouble.for_s * (0.5 + chance.random())
            self._turns_ms.append(1000 * at_s)

    def is_troubled(self, at_ms: float) -> bool:
        return bisect_right(self._turns_ms, at_ms) % 2 == 1

    def answer(self, at_ms: float, draw: Draw) -> tuple[str, int]:
        """The outcome of a call that begins now, and after how many ms. Counts itself among the active."""
        own = self.behaviour
        trouble = own.trouble if self.is_troubled(at_ms) else None
        if draw.u < max(own.error_rate, trouble.error_rate if trouble else 0.0):
            return "failure", ERROR_MS
        crowd = max(1.0, self.active / own.capacity)
        took_ms = own.median_ms * math.exp(own.sigma * draw.z) * crowd * (trouble.slower if trouble else 1.0)
        return ("success", math.ceil(took_ms)) if took_ms < TIMEOUT_MS else ("timeout", TIMEOUT_MS)


def requests(traffic: Traffic, seed: int, until_s: float) -> list[Request]:
    chance = random.Random(f"{seed} requests")
    bursts, at_s = [0.0], 0.0
    while at_s < until_s:
        at_s += chance.expovariate(1 / traffic.burst_every_s)
        bursts += (at_s, at_s + traffic.burst_for_s)
        at_s += traffic.burst_for_s
    found = []
    for k, (begins_s, ends_s) in enumerate(pairwise([*bursts, until_s])):
        per_s = traffic.per_s * (traffic.burst_times if k % 2 else 1)
        at_s = begins_s + chance.expovariate(per_s)
        while at_s < min(ends_s, until_s):
            draws = tuple(Draw(chance.gauss(0, 1), chance.random()) for _ in range(ATTEMPTS_MOST))
            found.append(Request(1000 * at_s, draws))
            at_s += chance.expovariate(per_s)
    return found


# The one that is fast is small and dear; the big one is slow and cheap; one fails a few of a hundred calls and now and
# then most of them; one is fast until it is not.
FLEET = (
    Behaviour(id="fast", median_ms=400, sigma=0.3, capacity=10, price=10, weight=2, priority=100, rpm=900),
    Behaviour(id="slow", median_ms=1400, sigma=0.4, capacity=40, price=2, weight=3, priority=40, rpm=2400),
    Behaviour(
        id="flaky",
        median_ms=500,
        sigma=0.3,
        capacity=15,
        price=5,
        weight=2,
        priority=80,
        rpm=1200,
        error_rate=0.03,
        trouble=Trouble(every_s=240, for_s=60, error_rate=0.7),
    ),
    Behaviour(
        id="bursty",
        median_ms=450,
        sigma=0.3,
        capacity=15,
        price=5,
        weight=2,
        priority=60,
        rpm=1200,
        trouble=Trouble(every_s=150, for_s=20, slower=8),
    ),
)
EQUALS = tuple(Behaviour(id=f"equal-{k}", median_ms=500, sigma=0.4, capacity=6, price=5) for k in range(1, 5))
TRAFFIC = Traffic(per_s=15, burst_every_s=120, burst_for_s=8, burst_times=3)
