"""The retry budget of the whole cluster: a fifth of the first attempts, three a second at least, no hoard."""

from typing import Any

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster

START, MOST = 30, 100


def further_attempts(cluster: Cluster, wanted: int) -> int:
    """How many of so many are granted."""
    permits = [d for d in (cluster.acquire("a", attempt=2) for _ in range(wanted)) if isinstance(d, Permit)]
    for permit in permits:
        cluster.settle(permit, "cancelled")
    return len(permits)


def first_attempts(cluster: Cluster, count: int) -> None:
    cluster.call("a", "cancelled", times=count)


def exhausted(cluster: Cluster, **router: Any) -> Cluster:
    cluster.configure("a", **router)
    further_attempts(cluster, START + 5)
    return cluster


def test_fresh_domain_may_retry_a_little(cluster: Cluster) -> None:
    cluster.configure("a")

    assert further_attempts(cluster, 100) == START


def test_every_fifth_first_attempt_buys_a_further_one(cluster: Cluster) -> None:
    exhausted(cluster)
    first_attempts(cluster, 50)

    assert further_attempts(cluster, 100) == 10


def test_quiet_domain_may_retry_three_times_a_second(cluster: Cluster) -> None:
    exhausted(cluster)
    cluster.advance(2000)

    assert further_attempts(cluster, 100) == 6


def test_floor_holds_when_a_request_comes_every_ms(cluster: Cluster) -> None:
    exhausted(cluster, retry_ratio=0)
    for _ in range(1000):
        cluster.advance(1)
        first_attempts(cluster, 1)

    assert further_attempts(cluster, 100) in (2, 3)


def test_quiet_hour_does_not_buy_a_storm(cluster: Cluster) -> None:
    exhausted(cluster)
    cluster.advance(3_600_000)

    assert further_attempts(cluster, 500) == MOST


def test_busy_hour_does_not_buy_a_storm(cluster: Cluster) -> None:
    exhausted(cluster)
    first_attempts(cluster, 600)

    assert further_attempts(cluster, 500) == MOST


def test_budget_is_shared_by_replicas(cluster: Cluster) -> None:
    cluster.configure("a")
    decisions = [cluster.acquire("a", attempt=2, replica=f"r{k % 8}") for k in range(100)]

    assert sum(isinstance(d, Permit) for d in decisions) == START


def test_outage_adds_a_fifth_to_the_load(cluster: Cluster) -> None:
    exhausted(cluster, retry_floor_per_second=0)
    further = 0
    for _ in range(200):
        first_attempts(cluster, 1)
        further += further_attempts(cluster, 2)

    assert further == pytest.approx(40, abs=1)


def test_refused_further_attempt_carries_its_reason(cluster: Cluster) -> None:
    exhausted(cluster)
    rejection = cluster.rejected("a", attempt=2)

    assert (rejection.code, rejection.reason, rejection.verdicts) == ("retry_budget", "retry_budget", ())


def test_further_attempt_that_finds_no_deployment_costs_nothing(cluster: Cluster) -> None:
    exhausted(cluster)
    first_attempts(cluster, 5)
    cluster.force("a", "open")
    for _ in range(10):
        assert cluster.rejected("a", attempt=2).code == "none"
    cluster.force("a", "close")

    assert further_attempts(cluster, 10) == 1


def test_first_attempts_are_never_refused_by_the_budget(cluster: Cluster) -> None:
    exhausted(cluster, retry_ratio=0, retry_floor_per_second=0)

    assert cluster.granted("a").position == 0


def test_another_candidate_without_a_failure_takes_nothing(cluster: Cluster) -> None:
    before = exhausted(cluster).snapshot().failures
    first_attempts(cluster, 10)
    granted = cluster.acquire("a", attempt=0)
    cluster.force("a", "open")
    refused = [cluster.rejected("a", attempt=0).code for _ in range(5)]

    assert isinstance(granted, Permit)
    assert refused == ["none"] * 5
    assert cluster.snapshot().failures == before
    cluster.force("a", "close")
    assert further_attempts(cluster, 10) == 2


def test_fraction_of_a_token_buys_no_attempt(cluster: Cluster) -> None:
    exhausted(cluster, retry_floor_per_second=0)
    first_attempts(cluster, 4)
    early = further_attempts(cluster, 1)
    first_attempts(cluster, 1)

    assert (early, further_attempts(cluster, 1)) == (0, 1)
