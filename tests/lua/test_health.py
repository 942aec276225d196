"""Health and score, against the formulas written a second time in Python."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_state.scripts import Script
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli


def clamp(value: float, low: float = 0.0, high: float = 1.0) -> float:
    return max(low, min(high, value))


def error_factor(calls: int, failures: int) -> float:
    return clamp(1 - ((failures + 0.1) / (calls + 10)) / 0.5)


def expected_health(calls: int, failures: int, slow: int) -> float:
    speed_factor = clamp(1 - (slow / calls if calls else 0) / 0.5)
    return 100 * (0.6 * error_factor(calls, failures) + 0.4 * speed_factor)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(good=st.integers(0, 30), failed=st.integers(0, 30), slow=st.integers(0, 30))
def test_health_is_errors_and_speed(
    cli: RedisCli, scripts: dict[str, Script], good: int, failed: int, slow: int
) -> None:
    cluster = Cluster(cli, scripts)
    cluster.configure("a", breaker_enabled=False)
    cluster.call("a", times=good)
    cluster.call("a", "failure", times=failed)
    cluster.call("a", latency_ms=2001, times=slow)

    health = cluster.snapshot().deployments[0].health_score
    assert health == pytest.approx(expected_health(good + failed + slow, failed, slow), abs=0.051)


def test_one_bad_call_in_two_is_not_half(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a")
    cluster.call("a", "failure")

    assert cluster.snapshot().deployments[0].health_score > 85


def test_half_open_deployment_has_half_its_health(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.advance(3_600_000)
    cluster.granted("a")

    assert cluster.snapshot().deployments[0].health_score == pytest.approx(98.8 / 2, abs=0.051)


@pytest.mark.parametrize("action", ["open", "disable", "drain"])
def test_deployment_taken_out_by_hand_has_no_health(cluster: Cluster, action: str) -> None:
    cluster.configure("a")
    cluster.force("a", action)

    assert cluster.snapshot().deployments[0].health_score == 0


def test_open_deployment_has_no_health(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")

    assert cluster.snapshot().deployments[0].health_score == 0


def test_health_comes_back_when_the_bad_minute_has_left_the_window(cluster: Cluster) -> None:
    cluster.configure("a", breaker_enabled=False)
    cluster.call("a", "failure", times=50)
    cluster.advance(60_000)
    cluster.granted("a")

    assert cluster.deployment("a")["health_score"] == "98.8"


def test_beat_brings_health_back_without_traffic(cluster: Cluster) -> None:
    """However little traffic the bad minute had."""
    cluster.configure("a", breaker_enabled=False)
    cluster.call("a", "failure", times=15)
    cluster.advance(60_000)
    cluster.beat()

    assert cluster.deployment("a")["health_score"] == "98.8"


def test_no_number_in_the_hash_has_more_digits_than_a_reader_wants(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=70), "b", "c")
    for k in range(7):
        cluster.call("a", latency_ms=100 + 37 * k)
        cluster.advance(333)
    cluster.granted("a", attempt=2)
    cluster.trip("b")
    cluster.beat()

    values = [*cluster.deployment("a").values(), *cluster.deployment("b").values(), *cluster.domain().values()]
    assert [v for v in values if len(v.partition(".")[2]) > 4] == []


# -- score ------------------------------------------------------------------------------------------------------


def test_score_weighs_load_latency_and_errors(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=10), deployment_policy("b", limit=10))
    cluster.call("a", latency_ms=100, times=8)
    cluster.call("a", "failure", times=2)
    cluster.call("b", latency_ms=400)
    for _ in range(4):
        cluster.granted("b")
    a, b = cluster.explain("a", "b").candidates

    health_a, error_a = expected_health(10, 2, 0), error_factor(10, 2)
    health_b, error_b = expected_health(1, 0, 0), error_factor(1, 0)
    assert a.score == pytest.approx(health_a * (0.3 * 1 + 0.4 * 1 + 0.3 * error_a), abs=0.06)
    assert b.score == pytest.approx(health_b * (0.3 * 0.6 + 0.4 * 0.25 + 0.3 * error_b), abs=0.06)


def test_fast_deployment_that_is_away_makes_no_other_look_slow(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=30)
    cluster.call("b", latency_ms=300)
    cluster.force("a", "open")
    _, b = cluster.explain("a", "b").candidates

    assert b.score == cluster.explain("b").candidates[0].score


def test_latency_costs_at_most_nine_tenths_of_its_weight(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=10)
    cluster.call("b", latency_ms=1999)
    b = cluster.explain("a", "b").candidates[1]

    assert b.score == pytest.approx(expected_health(1, 0, 0) * (0.3 + 0.04 + 0.3 * error_factor(1, 0)), abs=0.06)


def test_unknown_latency_is_no_disadvantage(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=100, times=100)
    a, b = cluster.explain("a", "b").candidates

    assert math.isclose(a.score, b.score, rel_tol=0.02)


def test_weights_of_the_score_are_settings(cluster: Cluster) -> None:
    cluster.configure("a", "b", load_weight=0, latency_weight=1, error_weight=0)
    cluster.call("a", latency_ms=100)
    cluster.call("b", latency_ms=200)
    a, b = cluster.explain("a", "b").candidates

    assert b.score / a.score == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    ("since_ms", "share"), [(0, 0.1), (3000, 0.1), (15_000, 0.5), (29_999, 1.0), (30_000, 1.0), (60_000, 1.0)]
)
def test_recovered_deployment_starts_slowly(cluster: Cluster, since_ms: int, share: float) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    cluster.recover("a")
    cluster.advance(since_ms)
    a, b = cluster.explain("a", "b").candidates

    assert a.score / b.score == pytest.approx(share, abs=0.01)
