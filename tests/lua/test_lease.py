"""Leases: the only count of active requests; each ends by settle, by expiry or with its replica."""

import pytest

from tests.support.state import Cluster, deployment_policy


def scores(cluster: Cluster, name: str = "a") -> dict[str, float]:
    entries = cluster.cli.do("ZRANGE", cluster.keys.deployment_leases(name), 0, -1, "WITHSCORES")
    return {token.decode(): float(score) for token, score in zip(entries[::2], entries[1::2], strict=True)}


def test_lease_shows_when_its_request_started(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(1234)
    permit = cluster.granted("a")

    assert scores(cluster) == {permit.token: cluster.now_ms}


def test_lease_of_a_probe_is_marked(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    permit = cluster.granted("a")

    assert scores(cluster) == {permit.token: cluster.now_ms + 0.5}


def test_lease_expires_by_itself(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1, lease_ms=75_000))
    cluster.granted("a")
    cluster.advance(74_999)
    cluster.rejected("a")
    cluster.advance(1)

    cluster.granted("a")


def test_expired_lease_is_active_nowhere(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.granted("a")
    cluster.advance(75_000)

    assert (cluster.snapshot().active, cluster.snapshot().deployments[0].active, cluster.beat().active) == (0, 0, 0)


def test_marked_lease_is_no_longer_than_any_other(cluster: Cluster) -> None:
    """A probe's mark and that of the first byte are fractions of a millisecond in the score."""
    cluster.configure(deployment_policy("a", limit=1, lease_ms=75_000))
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.beat(answered=(cluster.granted("a", stream=True),))
    cluster.advance(75_000)

    assert (cluster.snapshot().active, cluster.snapshot().deployments[0].active) == (0, 0)
    cluster.beat()
    assert cluster.active("a") == 0


def test_resending_brings_no_expired_lease_back(cluster: Cluster) -> None:
    """It is decided anew, or there would be more calls than leases."""
    cluster.configure(deployment_policy("a", limit=1, lease_ms=75_000))
    permit = cluster.granted("a")
    cluster.advance(75_000)
    cluster.granted("a")

    assert cluster.rejected("a", token=permit.token, resend=True).verdicts == ("full",)


def test_expired_leases_are_removed_by_a_heartbeat(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for _ in range(10):
        cluster.granted("a", "b")
    cluster.advance(75_000)
    cluster.beat()

    assert (cluster.active("a"), cluster.active("b")) == (0, 0)
    assert cluster.cli.do("EXISTS", cluster.keys.leases) == 0


def test_leases_last_as_long_as_their_deployment_allows(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", lease_ms=10_000), deployment_policy("b", lease_ms=100_000))
    cluster.granted("a")
    cluster.granted("b")
    cluster.advance(50_000)

    assert [d.active for d in cluster.snapshot().deployments] == [0, 1]
    assert cluster.snapshot().active == 1


def test_set_of_the_domain_is_the_sum_of_all(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    permits = [cluster.granted("a", "b", "c") for _ in range(30)]
    for permit in permits[::3]:
        cluster.settle(permit)
    own = set().union(*(scores(cluster, name) for name in "abc"))
    whole = {token.decode() for token in cluster.cli.do("ZRANGE", cluster.keys.leases, 0, -1)}

    assert whole == own == {p.token for k, p in enumerate(permits) if k % 3}


def test_oldest_active_request_has_its_age(cluster: Cluster) -> None:
    cluster.configure("a")
    first = cluster.granted("a")
    cluster.advance(4000)
    cluster.granted("a")
    cluster.advance(1000)
    ages = [cluster.snapshot().deployments[0].oldest_ms]
    cluster.settle(first)
    ages.append(cluster.snapshot().deployments[0].oldest_ms)

    assert ages == [5000, 1000]


def test_drained_deployment_keeps_its_active_requests(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    cluster.force("a", "drain")
    before = cluster.snapshot().deployments[0].active
    cluster.settle(permit)

    assert (before, cluster.snapshot().deployments[0].active) == (1, 0)


@pytest.mark.parametrize("outcome", ["success", "failure", "timeout", "throttled", "client_error", "cancelled"])
def test_every_outcome_ends_the_lease(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    cluster.settle(cluster.granted("a"), outcome)

    assert (cluster.active("a"), cluster.beat().active) == (0, 0)
