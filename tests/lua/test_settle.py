"""settle: a lease ends once, and its outcome is learned by those it tells something about."""

import math

import pytest

from shared_state.snapshots import DeploymentSnapshot
from tests.support.state import KEPT_MS, Cluster, deployment_policy

NEUTRAL = ("throttled", "client_error", "cancelled")
COUNTED = ("failure", "timeout", "overloaded")


def learned(cluster: Cluster) -> DeploymentSnapshot:
    return cluster.snapshot().deployments[0]


def test_settling_twice_is_once(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    known = [cluster.settle(permit).is_known for _ in range(3)]

    assert known == [True, False, False]
    assert (learned(cluster).requests, cluster.snapshot().requests) == (1, 1)


def test_active_never_goes_below_zero(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    for _ in range(3):
        cluster.settle(permit)

    assert (cluster.beat().active, learned(cluster).active) == (0, 0)


def test_second_settle_cannot_trip(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    for _ in range(20):
        cluster.settle(permit, "failure")

    assert cluster.state("a") == "closed"


def test_settle_of_a_flushed_deployment_is_unknown(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    cluster.cli.do("DEL", cluster.keys.deployment("a"))
    cluster.advance(KEPT_MS)

    assert not cluster.settle(permit).is_known


@pytest.mark.parametrize("outcome", COUNTED)
def test_fault_of_the_provider_counts_as_a_failed_call(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    cluster.call("a", outcome)

    assert (learned(cluster).requests, learned(cluster).failures) == (1, 1)


@pytest.mark.parametrize("outcome", NEUTRAL)
def test_neutral_outcome_is_not_a_call(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    for permit in [cluster.granted("a") for _ in range(30)]:
        cluster.settle(permit, outcome)

    assert (learned(cluster).requests, learned(cluster).state, learned(cluster).health_score) == (0, "closed", 98.8)


@pytest.mark.parametrize("outcome", [*COUNTED, *NEUTRAL])
def test_only_success_enters_the_latency(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    cluster.call("a", latency_ms=1000)
    cluster.call("a", outcome, latency_ms=1)

    assert 914 <= learned(cluster).p50_ms <= 1086
    assert (learned(cluster).avg_ms, learned(cluster).ewma_ms) == (1000, 1000)


@pytest.mark.parametrize(("latency_ms", "slow"), [(2000, 0), (2001, 1)])
def test_stream_is_slow_when_its_first_byte_is(cluster: Cluster, latency_ms: int, slow: int) -> None:
    cluster.configure("a")
    cluster.settle(cluster.granted("a", stream=True), latency_ms=latency_ms, output_tokens=300)

    assert learned(cluster).slow == slow


@pytest.mark.parametrize(
    ("latency_ms", "output_tokens", "slow"),
    [(2000, 0, 0), (2001, 0, 1), (2150, 3, 0), (2151, 3, 1), (17_000, 300, 0), (17_001, 300, 1)],
)
def test_whole_answer_may_take_fifty_ms_more_for_each_token(
    cluster: Cluster, latency_ms: int, output_tokens: int, slow: int
) -> None:
    cluster.configure("a")
    cluster.call("a", latency_ms=latency_ms, output_tokens=output_tokens)

    assert learned(cluster).slow == slow


def test_without_token_allowance_the_plain_threshold_rules(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", token_allowance_ms=0))
    cluster.call("a", latency_ms=2001, output_tokens=300)

    assert learned(cluster).slow == 1


def test_latency_threshold_of_the_deployment_wins(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=50))
    cluster.call("a", latency_ms=51)

    assert learned(cluster).slow == 1


def test_throttled_deployment_cools_until_retry_after(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "throttled", retry_after_ms=7000)
    cluster.advance(6999)

    assert cluster.rejected("a").verdicts == ("cooling",)
    cluster.advance(1)
    cluster.granted("a")


def test_throttled_deployment_cools_a_second_without_a_retry_after(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "throttled")

    assert cluster.rejected("a").retry_after_ms == 1000


def test_shorter_retry_after_does_not_end_a_longer_one(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = [cluster.granted("a") for _ in range(2)]
    cluster.settle(permits[0], "throttled", retry_after_ms=7000)
    cluster.settle(permits[1], "throttled", retry_after_ms=10)

    assert cluster.rejected("a").retry_after_ms == 7000


@pytest.mark.parametrize(("told_ms", "cools_ms"), [(2000, 9000), (12_000, 12_000)])
def test_time_of_another_replica_only_extends_a_retry_after(cluster: Cluster, told_ms: int, cools_ms: int) -> None:
    cluster.configure("a")
    cluster.call("a", "throttled", retry_after_ms=9000)
    cluster.reassert("a", cool_ms=told_ms)

    assert cluster.rejected("a").retry_after_ms == cools_ms


def test_retry_after_of_a_day_cools_no_longer_than_the_longest_cooldown(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "throttled", retry_after_ms=86_400_000)

    assert cluster.rejected("a").retry_after_ms == 300_000


def test_overloaded_provider_that_names_a_time_gets_it(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "overloaded", retry_after_ms=7000)

    assert cluster.rejected("a").verdicts == ("cooling",)


def test_provider_whose_answer_reports_an_empty_limit_cools(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "success", retry_after_ms=9000)
    rejection = cluster.rejected("a")

    assert (rejection.verdicts, rejection.retry_after_ms) == (("cooling",), 9000)


def test_overloaded_provider_that_names_no_time_does_not_cool(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "overloaded")

    cluster.granted("a")


def test_latency_average_rises_at_once(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", latency_ms=100)
    cluster.call("a", latency_ms=900)

    assert learned(cluster).ewma_ms == 900


@pytest.mark.parametrize("elapsed_ms", [1, 1000, 10_000, 60_000])
def test_latency_average_falls_with_a_time_constant_of_ten_seconds(cluster: Cluster, elapsed_ms: int) -> None:
    cluster.configure("a")
    cluster.call("a", latency_ms=900)
    cluster.advance(elapsed_ms)
    cluster.call("a", latency_ms=100)

    expected = 100 + 800 * math.exp(-elapsed_ms / 10_000)
    assert learned(cluster).ewma_ms == pytest.approx(expected, abs=0.06)


def test_attempt_that_a_fallback_saved_is_no_failed_request(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", "failure", final=False)
    cluster.call("b")

    assert (cluster.snapshot().requests, cluster.snapshot().failures) == (1, 0)


def test_final_failure_is_a_failed_request(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "timeout")
    cluster.call("a", "throttled")

    assert (cluster.snapshot().requests, cluster.snapshot().failures) == (2, 2)


@pytest.mark.parametrize("outcome", ["client_error", "cancelled"])
def test_invalid_request_is_no_failure_of_a_deployment(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    cluster.call("a", outcome)

    assert (cluster.snapshot().requests, cluster.snapshot().failures) == (0, 0)


def test_request_whose_further_attempt_is_refused_has_failed(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.force("b", "open")
    cluster.call("a", "failure", final=False)
    cluster.rejected("b", attempt=2)

    assert (cluster.snapshot().requests, cluster.snapshot().failures) == (1, 1)


def test_late_result_of_an_earlier_generation_does_not_move_the_breaker(cluster: Cluster) -> None:
    cluster.configure("a")
    late = [cluster.granted("a") for _ in range(10)]
    cluster.trip("a")
    cluster.recover("a")
    for permit in late:
        cluster.settle(permit, "failure")

    assert (learned(cluster).state, learned(cluster).consecutive_failures) == ("closed", 0)


def test_late_results_do_not_lie_in_wait_in_the_new_window(cluster: Cluster) -> None:
    cluster.configure("a")
    late = [cluster.granted("a") for _ in range(30)]
    cluster.trip("a")
    cluster.recover("a")
    for permit in late:
        cluster.settle(permit, "timeout", latency_ms=60_000)
    cluster.call("a", "failure")

    assert (learned(cluster).state, learned(cluster).requests) == ("closed", 1)


def test_late_success_does_not_make_the_recovered_deployment_look_slow(cluster: Cluster) -> None:
    cluster.configure("a")
    late = cluster.granted("a")
    cluster.trip("a")
    cluster.recover("a")
    before = learned(cluster)
    cluster.settle(late, latency_ms=50_000)

    assert (learned(cluster).ewma_ms, learned(cluster).p99_ms) == (before.ewma_ms, before.p99_ms)


def test_late_result_still_counts_for_its_request(cluster: Cluster) -> None:
    cluster.configure("a")
    late = cluster.granted("a")
    cluster.force("a", "close")
    cluster.settle(late, "failure")

    assert (cluster.snapshot().requests, cluster.snapshot().failures) == (1, 1)


def test_late_rate_limit_still_cools(cluster: Cluster) -> None:
    cluster.configure("a")
    late = cluster.granted("a")
    cluster.force("a", "close")
    cluster.settle(late, "throttled", retry_after_ms=7000)

    assert cluster.rejected("a").verdicts == ("cooling",)


def test_failure_shows_in_the_hash_at_once(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a")
    cluster.call("a", "failure")

    assert (cluster.deployment("a")["requests"], cluster.deployment("a")["failures"]) == ("2", "1")


def test_hash_is_at_most_a_quarter_second_behind_its_calls(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=3)
    cluster.advance(250)
    cluster.call("a")

    assert cluster.deployment("a")["requests"] == "4"
