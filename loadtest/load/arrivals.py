"""Plans when open-loop calls are due, before the first one is sent.

The plan is independent of answers: if a slow server slowed its own load down, the overload under test would disappear
from the figures (coordinated omission).
"""

import math
import random
from collections.abc import Iterator
from itertools import count, islice, takewhile
from typing import Literal

import msgspec

Arrivals = Literal["poisson", "constant", "ramp", "spike"]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How the rate of a ramp or a spike changes; poisson and constant arrivals have none."""

    ramp_from: float = 0.0
    """Calls per second at the start of a ramp."""
    ramp_s: float = 1.0
    """Duration of the ramp; afterwards the rate is constant."""
    spike_times: float = 10.0
    """The rate in the spike, as a multiple of the rate around it."""
    spike_at_s: float = 0.0
    spike_s: float = 1.0


STEADY = Shape()


def plan_arrivals(
    arrivals: Arrivals,
    rate: float,
    *,
    seed: int,
    requests: int | None,
    duration_s: float | None,
    shape: Shape = STEADY,
    share: tuple[int, int] = (0, 1),
) -> Iterator[float]:
    """Yields the seconds from the start at which each call is due, until the first limit is reached.

    `share` (n, of) keeps every of-th call, beginning with the nth: all shares together are exactly the whole plan.
    """
    due = _plan_without_end(arrivals, rate, seed, shape)
    if duration_s is not None:
        due = takewhile(lambda due_s: due_s < duration_s, due)
    return islice(due, share[0], requests, share[1])


def _plan_without_end(arrivals: Arrivals, rate: float, seed: int, shape: Shape) -> Iterator[float]:
    match arrivals:
        case "poisson":
            return poisson(rate, seed)
        case "constant":
            return constant(rate)
        case "ramp":
            return ramp(shape.ramp_from, rate, shape.ramp_s)
        case "spike":
            return spike(rate, shape.spike_times, shape.spike_at_s, shape.spike_s)


def constant(rate: float) -> Iterator[float]:
    # A product, not a running sum: a sum of rounded steps drifts.
    return (index / rate for index in count())


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Independent callers: exponential gaps with mean 1/rate."""
    generator = random.Random(seed)
    due_s = 0.0
    while True:
        due_s += generator.expovariate(rate)
        yield due_s


def ramp(first: float, last: float, over_s: float) -> Iterator[float]:
    """Spaces calls evenly while the rate changes linearly from `first` to `last` and then stays there.

    Until t, first·t + growth·t²/2 calls are due; each call's time is this formula solved for t.
    """
    growth = (last - first) / over_s
    in_ramp = (first + last) / 2 * over_s
    for index in count():
        if index >= in_ramp:
            yield over_s + (index - in_ramp) / last
        else:
            yield 2 * index / (first + math.sqrt(first * first + 2 * growth * index)) if index else 0.0


def spike(rate: float, times: float, at_s: float, for_s: float) -> Iterator[float]:
    """Spaces calls evenly, with `times` the rate from `at_s` for `for_s` seconds."""
    before, within = rate * at_s, rate * times * for_s
    for index in count():
        if index < before:
            yield index / rate
        elif index < before + within:
            yield at_s + (index - before) / (rate * times)
        else:
            yield at_s + for_s + (index - before - within) / rate
