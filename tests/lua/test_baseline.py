"""baseline: without a `latency_threshold` a call is slow by 3 x the usual latency of its kind, never under 2 s."""

import random
from typing import Any

import pytest

from tests.lua.test_block import block, settle_block
from tests.support.state import Cluster, deployment_policy

HOUR_MS, TOKEN_MS = 3_600_000, 50


def relative(cluster: Cluster, **changed: Any) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=None, **changed), "spare")


def learn(cluster: Cluster, latency_ms: int, times: int = 20, *, stream: bool = False, **ending: Any) -> None:
    cluster.call("a", latency_ms=latency_ms, times=times, stream=stream, **ending)


def usual(cluster: Cluster) -> dict[str, float]:
    return cluster.snapshot(detail=2).deployments[0].baseline_ms


def threshold(cluster: Cluster) -> dict[str, float]:
    return cluster.snapshot(detail=2).deployments[0].slow_above_ms


def is_slow(cluster: Cluster, latency_ms: int, *, stream: bool = False, **ending: Any) -> bool:
    learn(cluster, latency_ms, 1, stream=stream, **ending)
    return "consecutive_slow" in cluster.deployment("a")


@pytest.mark.parametrize(("known", "slow"), [(19, False), (20, True)])
def test_slowness_is_judged_from_the_twentieth_sample_on(cluster: Cluster, known: int, slow: bool) -> None:
    relative(cluster)
    learn(cluster, 100, known)

    assert bool(threshold(cluster)) == slow
    assert is_slow(cluster, 60_000) == slow


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("usual_ms", "latency_ms", "slow"), [(100, 2000, False), (100, 2001, True), (1000, 3000, False), (1000, 3001, True)]
)
def test_slow_is_three_times_as_long_as_usual_and_above_two_seconds(
    cluster: Cluster, usual_ms: int, latency_ms: int, slow: bool, stream: bool
) -> None:
    relative(cluster)
    learn(cluster, usual_ms, stream=stream)

    assert is_slow(cluster, latency_ms, stream=stream) == slow


def test_kinds_of_call_are_kept_apart(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 9000, stream=True)
    learn(cluster, 1000)

    assert usual(cluster) == {"plain": 1000, "stream": 9000}
    assert threshold(cluster) == {"plain": 3000, "stream": 27_000}


def test_tokens_of_a_plain_answer_are_not_its_slowness(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 1000 + 400 * TOKEN_MS, output_tokens=400)

    assert usual(cluster) == {"plain": 1000}
    assert is_slow(cluster, 3000 + 10 * TOKEN_MS, output_tokens=10) is False
    assert is_slow(cluster, 3100 + 10 * TOKEN_MS, output_tokens=10) is True


def test_answer_faster_than_its_tokens_counts_as_nothing(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 1000, output_tokens=400)

    assert usual(cluster) == {"plain": 0}


def test_first_samples_are_a_plain_mean(cluster: Cluster) -> None:
    relative(cluster)
    for latency_ms in range(100, 2100, 100):
        learn(cluster, latency_ms, 1)

    assert usual(cluster) == {"plain": 1050}


def test_further_sample_moves_it_by_a_hundredth(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 1000)
    learn(cluster, 2000, 1)
    up = usual(cluster)["plain"]
    learn(cluster, 10, 1)

    assert (up, usual(cluster)["plain"]) == (1010, 1000)


@pytest.mark.parametrize("outcome", ["failure", "timeout", "overloaded", "throttled", "client_error", "cancelled"])
def test_only_a_success_is_learned(cluster: Cluster, outcome: str) -> None:
    relative(cluster)
    cluster.call("a", outcome, latency_ms=5000)

    assert usual(cluster) == {}


def test_late_result_and_probe_are_not_learned(cluster: Cluster) -> None:
    relative(cluster)
    late = cluster.granted("a")
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.call("a", latency_ms=5000, times=2)
    before = cluster.state("a")
    cluster.settle(late, latency_ms=5000)

    assert (before, usual(cluster)) == ("closed", {})


def test_breaker_that_opened_and_closed_leaves_the_baseline(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 1000)
    cluster.trip("a")
    cluster.recover("a")

    assert usual(cluster) == {"plain": 1000}


def test_reset_forgets_the_baseline(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 1000)
    learn(cluster, 1000, stream=True)
    cluster.force("a", "reset")

    assert usual(cluster) == {}


def test_fixed_threshold_is_that_value_and_learns_nothing(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=700))
    learn(cluster, 100)

    assert (usual(cluster), threshold(cluster)) == ({}, {"plain": 700, "stream": 700})
    assert is_slow(cluster, 701) is True


def test_deployment_that_becomes_slow_is_found_at_once(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 200, 100)
    cluster.call("a", latency_ms=2500, times=3, spare="spare")

    assert cluster.deployment("a")["open_reason"] == "consecutive_slow"


@pytest.mark.parametrize("pause_ms", [100, 30_000, 600_000])
def test_baseline_never_grows_by_more_than_half_in_an_hour(cluster: Cluster, pause_ms: int) -> None:
    relative(cluster)
    learn(cluster, 1000)
    start_ms, seen = cluster.now_ms, [(cluster.now_ms, 1000.0)]
    while cluster.now_ms < start_ms + 3 * HOUR_MS and len(seen) < 400:
        cluster.advance(pause_ms)
        learn(cluster, 60_000, 1)
        seen.append((cluster.now_ms, usual(cluster)["plain"]))

    assert seen[-1][1] > 1000
    for at_ms, baseline in seen:
        assert baseline <= 1.5 * min(before for when, before in seen if at_ms - HOUR_MS <= when <= at_ms) + 0.1


def test_pause_of_a_day_lets_it_grow_as_much_as_an_hour(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 1000)
    cluster.advance(24 * HOUR_MS)
    learn(cluster, 60_000, 1000)

    assert 1400 <= usual(cluster)["plain"] <= 1500


def test_baseline_falls_freely(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 10_000)
    learn(cluster, 100, 500)

    assert usual(cluster)["plain"] < 300


def test_jitter_does_not_pull_the_baseline_down_to_the_fastest_call(cluster: Cluster) -> None:
    relative(cluster)
    draw = random.Random(7)
    for _ in range(600):
        learn(cluster, round(draw.expovariate(1 / 1000)), 1)
        cluster.advance(1000)

    assert 700 <= usual(cluster)["plain"] <= 1400


def test_block_teaches_the_baseline_what_single_calls_do(cluster: Cluster) -> None:
    relative(cluster)
    settle_block(cluster, block(cluster, "a", count=22), "success", latency_ms=1000)
    together = usual(cluster)
    cluster.force("a", "reset")
    learn(cluster, 1000, 22)

    assert together == usual(cluster) == {"plain": 1000}


def test_block_is_judged_by_the_baseline_that_its_own_calls_complete(cluster: Cluster) -> None:
    relative(cluster)
    learn(cluster, 100, 19)
    permits = block(cluster, "a", count=2)
    settle_block(cluster, permits, "success", latency_ms=9000)

    assert cluster.deployment("a")["consecutive_slow"] == "1"


@pytest.mark.parametrize(("usual_ms", "waited_ms", "state"), [(None, 4001, "open"), (5000, 29_000, "closed")])
def test_calls_are_overdue_by_twice_the_threshold_or_two_floors_while_it_is_unknown(
    cluster: Cluster, usual_ms: int | None, waited_ms: int, state: str
) -> None:
    relative(cluster)
    if usual_ms:
        learn(cluster, usual_ms, stream=True)
    for _ in range(3):
        cluster.granted("a", ("spare", 1), stream=True)
    cluster.relieve("a")
    while waited_ms > 0:
        cluster.advance(min(1000, waited_ms))
        waited_ms -= 1000
        cluster.beat()

    assert cluster.state("a") == state


@pytest.mark.parametrize(("waited_ms", "state"), [(29_000, "closed"), (31_000, "open")])
def test_without_relief_only_thirty_seconds_of_silence_are_overdue(
    cluster: Cluster, waited_ms: int, state: str
) -> None:
    relative(cluster)
    learn(cluster, 100, stream=True)
    for _ in range(3):
        cluster.granted("a", stream=True)
    for _ in range(waited_ms // 1000):
        cluster.advance(1000)
        cluster.beat()

    assert cluster.state("a") == state


def test_queue_that_makes_progress_is_not_overdue_without_relief(cluster: Cluster) -> None:
    """Of sixteen streams one begins every five seconds."""
    relative(cluster)
    learn(cluster, 100, stream=True)
    permits = [cluster.granted("a", stream=True) for _ in range(16)]
    for permit in permits:
        for _ in range(5):
            cluster.advance(1000)
            cluster.beat()
        cluster.settle(permit, latency_ms=5000)

    assert cluster.state("a") == "closed"


def test_deployment_that_never_answered_is_not_overdue_without_relief(cluster: Cluster) -> None:
    """It may be loading its model."""
    relative(cluster)
    for _ in range(3):
        cluster.granted("a", stream=True)
    for _ in range(60):
        cluster.advance(1000)
        cluster.beat()

    assert cluster.state("a") == "closed"


@pytest.mark.parametrize("before", ["812.123456 20 1000.500000 1700000000000", "", "nonsense", "5"])
def test_field_that_an_earlier_release_or_a_hand_wrote_begins_anew(cluster: Cluster, before: str) -> None:
    relative(cluster)
    cluster.cli.do("HSET", cluster.keys.deployment("a"), "baseline_plain", before)
    learn(cluster, 1100)

    assert usual(cluster) == {"plain": 1100}
    assert threshold(cluster) == {"plain": 3300}
