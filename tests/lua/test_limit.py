"""Requests per minute by GCRA: exactly the limit at once, then one per interval."""

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy


def admitted(cluster: Cluster, callers: int) -> int:
    """Of so many callers at this moment; each ends at once."""
    permits = [d for d in (cluster.acquire("a", priority=0) for _ in range(callers)) if isinstance(d, Permit)]
    for permit in permits:
        cluster.settle(permit, "cancelled")
    return len(permits)


def test_limit_of_hundred_admits_exactly_hundred_at_once(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=100))

    assert admitted(cluster, 150) == 100


def test_then_one_per_six_hundred_ms(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=100))
    admitted(cluster, 100)
    counts = []
    for _ in range(10):
        cluster.advance(599)
        counts.append(admitted(cluster, 5))
        cluster.advance(1)
        counts.append(admitted(cluster, 5))

    assert counts == [0, 1] * 10


@pytest.mark.parametrize("rpm", [1, 3, 7, 9, 11, 13, 59, 61, 99, 333, 501])
def test_any_limit_admits_exactly_itself_at_once(cluster: Cluster, rpm: int) -> None:
    cluster.configure(deployment_policy("a", rpm=rpm, limit=10_000), max_active=100_000)

    assert admitted(cluster, rpm + 10) == rpm


@pytest.mark.parametrize("rpm", [7, 9])
def test_greedy_callers_get_exactly_the_limit_in_an_hour(cluster: Cluster, rpm: int) -> None:
    cluster.configure(deployment_policy("a", rpm=rpm))
    count = admitted(cluster, rpm)
    for _ in range(180):
        cluster.advance(20_000)
        count += admitted(cluster, rpm // 3 + 2)

    assert count == rpm + 60 * rpm


def test_whole_limit_is_back_after_a_minute(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=60))
    admitted(cluster, 60)
    cluster.advance(60_000)

    assert admitted(cluster, 70) == 60


def test_quiet_hour_buys_no_larger_burst(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=60))
    admitted(cluster, 60)
    cluster.advance(3_600_000)

    assert admitted(cluster, 70) == 60


def test_limit_is_shared_by_replicas(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=10))
    decisions = [cluster.acquire("a", replica=f"r{k}") for k in range(20)]

    assert sum(isinstance(d, Permit) for d in decisions) == 10


def test_rejected_caller_uses_nothing_up(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=60))
    admitted(cluster, 600)
    cluster.advance(1000)

    assert admitted(cluster, 10) == 1


def test_rejection_tells_when_the_next_is_admitted(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=7))
    admitted(cluster, 7)
    cluster.advance(1234)
    wait_ms = cluster.rejected("a").retry_after_ms
    cluster.advance(wait_ms - 1)
    before = admitted(cluster, 1)
    cluster.advance(1)

    assert (before, admitted(cluster, 1)) == (0, 1)


def test_exhausted_deployment_leaves_its_requests_to_the_next(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=1), "b")
    cluster.granted("a")

    assert cluster.granted("a", "b").deployment_id == "b"


# -- requests and tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rpm", "tpm"), [(3, 100_000), (1000, 300)], ids=["requests run out", "tokens run out"])
def test_deployment_with_both_limits_keeps_each_of_them(cluster: Cluster, rpm: int, tpm: int) -> None:
    cluster.configure(deployment_policy("a", rpm=rpm, tpm=tpm))
    decisions = [cluster.acquire("a", tokens=100) for _ in range(5)]

    assert [isinstance(d, Permit) for d in decisions] == [True] * 3 + [False] * 2
    assert cluster.rejected("a", tokens=100).verdicts == ("rate_limited",)


def test_refusal_names_the_wait_of_the_limit_that_is_used_up(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=1, tpm=100_000))
    cluster.granted("a", tokens=1)

    assert cluster.rejected("a", tokens=1).retry_after_ms == 60_000


def test_correction_returns_at_most_what_the_estimate_took(cluster: Cluster) -> None:
    """The estimate of one call is more than a minute has, so it took a whole minute and no more."""
    cluster.configure(deployment_policy("a", tpm=1000))
    large = cluster.granted("a", tokens=5000)
    cluster.advance(30_000)
    cluster.granted("a", tokens=500)
    cluster.settle(large, tokens=1000)

    assert cluster.rejected("a", tokens=100).verdicts == ("rate_limited",)
    cluster.advance(6000)
    cluster.granted("a", tokens=100)
