"""When open-loop calls are due, decided before the first one is sent.

The plan never looks at answers: a slow server must not slow its own load down, or the overload it
was tested for disappears from the numbers (coordinated omission).
"""

import random
from collections.abc import Iterator
from itertools import count, islice, takewhile
from typing import Literal

Arrivals = Literal["poisson", "constant"]


def plan_arrivals(
    arrivals: Arrivals, rate: float, *, seed: int, requests: int | None, duration_s: float | None
) -> Iterator[float]:
    """Seconds from the start at which each call is due; ends at whichever limit comes first."""
    due = poisson(rate, seed) if arrivals == "poisson" else constant(rate)
    if duration_s is not None:
        due = takewhile(lambda due_s: due_s < duration_s, due)
    return islice(due, requests)


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
