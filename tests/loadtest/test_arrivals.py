"""The open-loop plan: pure arithmetic of due times."""

import statistics
from itertools import islice, pairwise

import pytest

from loadtest.arrivals import Arrivals, constant, plan_arrivals, poisson


def test_constant_arrivals_are_evenly_spaced_from_zero() -> None:
    assert list(islice(constant(4), 5)) == [0, 0.25, 0.5, 0.75, 1.0]


def test_constant_arrivals_do_not_drift() -> None:
    due_s = next(islice(constant(3), 3_000_000, None))

    assert due_s == 1_000_000


def test_duration_and_rate_fix_the_number_of_constant_arrivals() -> None:
    due = list(plan_arrivals("constant", 300, seed=1, requests=None, duration_s=5))

    assert len(due) == 1500
    assert due[-1] < 5


def test_poisson_gaps_are_exponential_with_mean_one_over_rate() -> None:
    gaps = [later - earlier for earlier, later in pairwise(islice(poisson(100, seed=1), 20_000))]

    assert statistics.fmean(gaps) == pytest.approx(0.01, rel=0.03)
    # An exponential distribution's deviation equals its mean.
    assert statistics.pstdev(gaps) == pytest.approx(0.01, rel=0.05)


def test_poisson_arrivals_repeat_with_the_seed() -> None:
    first, same, other = (list(islice(poisson(10, seed), 5)) for seed in (1, 1, 2))

    assert first == same
    assert first != other


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
@pytest.mark.parametrize(
    ("requests", "duration_s", "least", "most"), [(7, None, 7, 7), (7, 100.0, 7, 7), (10_000, 1.0, 60, 140)]
)
def test_plan_ends_at_the_first_limit(
    arrivals: Arrivals, requests: int, duration_s: float | None, least: int, most: int
) -> None:
    due = list(plan_arrivals(arrivals, 100, seed=1, requests=requests, duration_s=duration_s))

    assert least <= len(due) <= most
    assert due == sorted(due)
