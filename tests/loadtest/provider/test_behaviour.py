"""The script's decisions as pure values."""

import statistics
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from loadtest.provider.behaviour import Behaviour, Plan, Script, merge


def delays_ms(count: int, **fields: Any) -> list[float]:
    script = Script(Behaviour(**fields))
    return [1000 * script.plan_call().delay_s for _ in range(count)]


def test_default_behaviour_answers_at_once() -> None:
    assert Script(Behaviour()).plan_call() == Plan(delay_s=0.0, error_status=None, is_stalled=False)


@pytest.mark.parametrize("distribution", ["fixed", "uniform", "exponential", "lognormal"])
@pytest.mark.parametrize("spread", [0.2, 1.0])
def test_every_distribution_keeps_the_mean(distribution: str, spread: float) -> None:
    delays = delays_ms(20_000, latency_ms=100.0, latency_distribution=distribution, latency_spread=spread)

    assert statistics.fmean(delays) == pytest.approx(100, rel=0.05)
    assert min(delays) >= 0


@pytest.mark.parametrize("distribution", ["uniform", "exponential", "lognormal"])
def test_more_spread_means_more_deviation(distribution: str) -> None:
    deviations = [
        statistics.pstdev(delays_ms(5_000, latency_ms=100.0, latency_distribution=distribution, latency_spread=spread))
        for spread in (0.0, 0.25, 0.5, 1.0)
    ]

    assert deviations[0] == pytest.approx(0, abs=1e-9)
    assert all(less < more for less, more in pairwise(deviations))


def test_uniform_stays_within_its_spread() -> None:
    delays = delays_ms(1_000, latency_ms=100.0, latency_distribution="uniform", latency_spread=0.3)

    assert 70 <= min(delays) < 75
    assert 125 < max(delays) <= 130


def test_rates_are_shares_of_the_calls() -> None:
    script = Script(Behaviour(stall_rate=0.2, error_rate=0.5))
    plans = [script.plan_call() for _ in range(10_000)]

    assert sum(plan.is_stalled for plan in plans) / 10_000 == pytest.approx(0.2, abs=0.02)
    # Of the calls that are not stalled.
    assert sum(plan.error_status == 500 for plan in plans) / 10_000 == pytest.approx(0.4, abs=0.02)


def test_same_seed_makes_the_same_plans() -> None:
    behaviour = Behaviour(latency_ms=10, latency_distribution="exponential", stall_rate=0.1, error_rate=0.3, seed=5)
    first, second = Script(behaviour), Script(behaviour)

    assert [first.plan_call() for _ in range(100)] == [second.plan_call() for _ in range(100)]


def test_naming_the_seed_starts_over() -> None:
    script = Script(Behaviour(latency_ms=10, latency_distribution="exponential"))
    first = [script.plan_call() for _ in range(5)]
    script.change({"seed": 1})

    assert [script.plan_call() for _ in range(5)] == first


def test_other_changes_do_not_start_over() -> None:
    script = Script(Behaviour(latency_ms=10, latency_distribution="exponential"))
    first = script.plan_call()
    script.change({"chunks": 3})

    assert script.plan_call() != first


def test_fail_first_comes_before_stalls() -> None:
    script = Script(Behaviour(fail_first=1, stall_rate=1, error_status=503))

    assert script.plan_call().error_status == 503
    assert script.plan_call().is_stalled


def test_close_first_comes_before_errors() -> None:
    script = Script(Behaviour(close_first=1, fail_first=1))

    assert script.plan_call().is_closed
    assert script.plan_call().error_status == 500


def test_merge_leaves_the_original_alone() -> None:
    original = Behaviour()
    merged = merge(original, {"chunks": 2, "retry_after_s": 1})

    assert (merged.chunks, merged.retry_after_s) == (2, 1.0)
    assert original == Behaviour()


def test_wrong_merge_names_the_field() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.chunks"):
        merge(Behaviour(), {"chunks": 1.5})
