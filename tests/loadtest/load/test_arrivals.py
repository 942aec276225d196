"""The open-loop plan: pure arithmetic of due times."""

import statistics
from itertools import islice, pairwise

import pytest

from loadtest.load.arrivals import Arrivals, Shape, constant, plan_arrivals, poisson, ramp, spike


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


@pytest.mark.parametrize("arrivals", ["poisson", "constant", "ramp", "spike"])
@pytest.mark.parametrize(
    ("requests", "duration_s", "least", "most"), [(7, None, 7, 7), (7, 100.0, 7, 7), (10_000, 1.0, 60, 140)]
)
def test_plan_ends_at_the_first_limit(
    arrivals: Arrivals, requests: int, duration_s: float | None, least: int, most: int
) -> None:
    shape = Shape(ramp_from=80, ramp_s=0.5, spike_times=1.3, spike_at_s=0.2, spike_s=0.2)
    due = list(plan_arrivals(arrivals, 100, seed=1, requests=requests, duration_s=duration_s, shape=shape))

    assert least <= len(due) <= most
    assert due == sorted(due)


def count_between(due: list[float], first_s: float, last_s: float) -> int:
    return sum(first_s <= due_s < last_s for due_s in due)


def test_ramp_climbs_in_a_straight_line_and_then_stays() -> None:
    due = list(islice(ramp(0, 100, 10), 1000))

    assert [count_between(due, second, second + 1) for second in (0, 4, 9, 12)] == pytest.approx(
        [5, 45, 95, 100], abs=1
    )
    assert due == sorted(due)


def test_ramp_may_go_down_or_nowhere() -> None:
    down = list(islice(ramp(100, 10, 10), 600))

    assert count_between(down, 0, 10) == pytest.approx(550, abs=1)
    assert list(islice(ramp(4, 4, 10), 5)) == [0, 0.25, 0.5, 0.75, 1.0]


def test_spike_is_so_many_times_the_rate_for_so_long() -> None:
    due = list(islice(spike(10, 5, 2, 3), 400))

    assert [count_between(due, *span) for span in ((0, 2), (2, 5), (5, 7))] == [20, 150, 20]
    assert due == sorted(due)


@pytest.mark.parametrize("arrivals", ["poisson", "constant", "ramp", "spike"])
def test_shares_of_a_plan_are_together_the_plan(arrivals: Arrivals) -> None:
    def plan(share: tuple[int, int] = (0, 1)) -> list[float]:
        return list(plan_arrivals(arrivals, 100, seed=3, requests=50, duration_s=2, share=share))

    assert sorted(due_s for number in range(3) for due_s in plan((number, 3))) == plan()
