"""What is freed goes to whoever waits with the highest priority and the least share, on whichever replica."""

import pytest

from shared_state.policies import TenantLimits
from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy

FLOOD, TEAM = (TenantLimits(name=name) for name in ("flood", "team"))
HEAVY = TenantLimits(name="heavy", weight=3.0)


@pytest.fixture(autouse=True)
def full(cluster: Cluster) -> list[Permit]:
    """Four places, all of them taken by one tenant."""
    cluster.configure(deployment_policy("a", limit=4))
    return [cluster.granted("a", tenant=FLOOD) for _ in range(4)]


def waits(cluster: Cluster, tenant: TenantLimits, priority: int = 50) -> None:
    rejection = cluster.rejected("a", tenant=tenant, priority=priority, waiting=1, replica="r2")
    assert rejection.verdicts == ("full",)


def test_freed_place_is_kept_for_the_tenant_that_has_less(cluster: Cluster, full: list[Permit]) -> None:
    waits(cluster, TEAM)
    cluster.settle(full[0])

    assert cluster.rejected("a", tenant=FLOOD, waiting=1).verdicts == ("behind",)
    assert isinstance(cluster.acquire("a", tenant=TEAM, waiting=1), Permit)


def test_who_got_it_no_longer_waits(cluster: Cluster, full: list[Permit]) -> None:
    waits(cluster, TEAM)
    for permit in full[:2]:
        cluster.settle(permit)
    cluster.granted("a", tenant=TEAM, waiting=1)

    assert isinstance(cluster.acquire("a", tenant=FLOOD), Permit)
    assert "waiters" not in cluster.deployment("a")


def test_those_behind_one_that_got_it_still_wait(cluster: Cluster, full: list[Permit]) -> None:
    waits(cluster, TEAM)
    for permit in full[:2]:
        cluster.settle(permit)
    cluster.granted("a", tenant=TEAM, waiting=2)

    assert cluster.rejected("a", tenant=FLOOD).verdicts == ("behind",)
    assert isinstance(cluster.acquire("a", tenant=TEAM, waiting=1), Permit)


def test_equal_shares_hold_no_tenant_back(cluster: Cluster, full: list[Permit]) -> None:
    for permit in full[:2]:
        waits(cluster, TEAM)
        cluster.settle(permit)
        cluster.granted("a", tenant=TEAM, waiting=1)
    waits(cluster, TEAM)
    cluster.settle(full[2])

    assert isinstance(cluster.acquire("a", tenant=FLOOD), Permit)


def test_weight_counts(cluster: Cluster, full: list[Permit]) -> None:
    for number in range(3):
        waits(cluster, HEAVY)
        cluster.settle(full[number])
        assert cluster.rejected("a", tenant=FLOOD).verdicts == ("behind",)
        cluster.granted("a", tenant=HEAVY, waiting=1)


def test_waiting_that_is_not_reported_again_is_over(cluster: Cluster, full: list[Permit]) -> None:
    waits(cluster, TEAM)
    cluster.settle(full[0])
    cluster.advance(401)

    assert isinstance(cluster.acquire("a", tenant=FLOOD), Permit)


@pytest.mark.parametrize(("priority", "is_granted"), [(25, False), (50, True), (75, True)])
def test_higher_priority_that_waits_goes_first_whatever_its_share(
    cluster: Cluster, full: list[Permit], priority: int, is_granted: bool
) -> None:
    waits(cluster, FLOOD, priority)
    cluster.settle(full[0])

    assert isinstance(cluster.acquire("a", tenant=TEAM), Permit) is is_granted


def test_tenant_refused_without_waiting_holds_no_other_back(cluster: Cluster, full: list[Permit]) -> None:
    cluster.rejected("a", tenant=TEAM)
    cluster.settle(full[0])

    assert isinstance(cluster.acquire("a", tenant=FLOOD), Permit)


def test_those_who_wait_are_bounded(cluster: Cluster) -> None:
    for number in range(40):
        waits(cluster, TenantLimits(name=f"t{number}"))

    assert cluster.deployment("a")["waiters"].count("at_ms") == 16


def test_refusal_of_one_that_is_held_back_tells_it_to_wait(cluster: Cluster, full: list[Permit]) -> None:
    waits(cluster, TEAM)
    cluster.settle(full[0])

    assert cluster.rejected("a", tenant=FLOOD).retry_after_ms == 100
    assert cluster.domain()["waiting_until_ms"]


def test_probe_is_never_held_back(cluster: Cluster, full: list[Permit]) -> None:
    """Who waits with less may never come; without its probe the breaker stays open."""
    waits(cluster, TEAM)
    cluster.settle(full[0], "cancelled")
    cluster.force("a", "open", ttl_ms=1)
    cluster.advance(1)

    assert cluster.granted("a", tenant=FLOOD).is_probe
