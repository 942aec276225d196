"""The last resort: where a request goes when no candidate of any tier is eligible."""

from typing import Any

import pytest

from shared_state.policies import TenantLimits
from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy

SLOW_MS = 2001


@pytest.fixture
def resort(cluster: Cluster) -> Cluster:
    cluster.configure("a", "b", last_resort=True)
    return cluster


def fail(cluster: Cluster, *ids: str) -> None:
    for each in ids:
        cluster.call(each, "failure", times=5)
        assert cluster.state(each) == "open"


def slow_down(cluster: Cluster, deployment_id: str, relief: str) -> None:
    """Opens it for slowness, which takes another one that could serve."""
    permits = [cluster.granted(deployment_id) for _ in range(3)]
    cluster.settle(cluster.granted(deployment_id, relief), "cancelled")
    for permit in permits:
        cluster.settle(permit, latency_ms=SLOW_MS)
    assert cluster.deployment(deployment_id)["open_reason"] == "consecutive_slow"


def resorts(cluster: Cluster, *candidates: Any, count: int, **options: Any) -> list[str]:
    decisions = [cluster.acquire(*candidates, **options) for _ in range(count)]
    granted = [each for each in decisions if isinstance(each, Permit)]
    assert all(each.is_last_resort for each in granted)
    return [each.deployment_id for each in granted]


# -- open for failures ------------------------------------------------------------------------------------------


def test_one_probe_a_second_goes_to_those_that_fail(resort: Cluster) -> None:
    fail(resort, "a", "b")
    got = []
    for _ in range(4):
        got.append(len(resorts(resort, "a", "b", count=5)))
        resort.advance(999)
        got.append(len(resorts(resort, "a", "b", count=5)))
        resort.advance(1)

    assert got == [1, 0] * 4


def test_probes_take_turns_and_wait_for_a_second(resort: Cluster) -> None:
    fail(resort, "a", "b")
    got = []
    for _ in range(4):
        got += resorts(resort, "a", "b", count=1)
        refused = resort.rejected("a", "b")
        resort.advance(1000)

    assert sorted(got[:2]) == sorted(got[2:]) == ["a", "b"]
    assert refused.retry_after_ms == 1000


def test_a_request_is_refused_only_until_the_next_probe(resort: Cluster) -> None:
    fail(resort, "a")
    resorts(resort, "a", count=1)
    resort.advance(400)

    assert resort.rejected("a").retry_after_ms == 600


def test_success_is_the_first_probe(resort: Cluster) -> None:
    fail(resort, "a")
    permit = resort.granted("a")
    assert permit.is_probe
    resort.settle(permit)

    fields = resort.deployment("a")
    assert (fields["state"], fields["probes_issued"], fields["probes_succeeded"]) == ("half_open", "1", "1")
    assert resort.events("a")[-1]["reason"] == "last_resort"
    resort.call("a")
    assert resort.state("a") == "closed"


def test_success_closes_at_once_where_one_probe_is_enough(cluster: Cluster) -> None:
    cluster.configure("a", last_resort=True, probes=1, probe_successes=1)
    fail(cluster, "a")
    cluster.call("a")

    assert cluster.state("a") == "closed"


@pytest.mark.parametrize("outcome", ["failure", "timeout", "overloaded", "client_error", "cancelled", "throttled"])
def test_anything_but_success_changes_nothing(resort: Cluster, outcome: str) -> None:
    fail(resort, "a")
    before = resort.deployment("a")
    resort.settle(resort.granted("a"), outcome)
    after = resort.deployment("a")

    kept = ("state", "generation", "trips", "open_until_ms", "open_reason")
    assert [after[field] for field in kept] == [before[field] for field in kept]
    assert "probes_issued" not in after


def test_result_of_an_older_generation_moves_nothing(resort: Cluster) -> None:
    fail(resort, "a")
    early = resort.granted("a")
    resort.advance(1000)
    resort.settle(resort.granted("a"))
    resort.settle(early, "failure")

    assert resort.deployment("a")["state"] == "half_open"


@pytest.mark.parametrize("action", ["open", "disable", "drain"])
def test_operators_hand_is_obeyed(resort: Cluster, action: str) -> None:
    resort.force("a", action)

    assert resorts(resort, "a", count=3) == []


@pytest.mark.parametrize("options", [{"kind": "chat"}, {}])
def test_what_else_is_checked_still_holds(resort: Cluster, options: dict[str, str]) -> None:
    """The provider's own cooldown, and an endpoint that it does not have."""
    permit = resort.granted("a", **options)
    fail(resort, "a")
    resort.settle(permit, "unsupported" if options else "throttled", retry_after_ms=0 if options else 9000)

    assert resorts(resort, "a", count=3, **options) == []


def test_a_candidate_that_is_only_full_is_waited_for(cluster: Cluster) -> None:
    cluster.configure("a", deployment_policy("b", limit=1), last_resort=True)
    fail(cluster, "a")
    cluster.granted("b")

    assert resorts(cluster, "a", "b", count=3) == []


def test_another_domain_is_called_first(resort: Cluster) -> None:
    fail(resort, "a")

    assert resorts(resort, "a", count=3, has_more=True) == []
    assert resorts(resort, "a", count=1) == ["a"]


def test_switched_off_nothing_is_granted(cluster: Cluster) -> None:
    cluster.configure("a", last_resort=False)
    fail(cluster, "a")

    assert resorts(cluster, "a", count=3) == []


def test_resent_call_gets_the_same_grant(resort: Cluster) -> None:
    fail(resort, "a")
    first = resort.granted("a", token="r1.plain.9")
    again = resort.granted("a", token="r1.plain.9", resend=True)

    assert (again.is_last_resort, again.is_probe, again.generation) == (True, True, first.generation)


def test_dry_run_names_the_last_resort_and_takes_nothing(resort: Cluster) -> None:
    fail(resort, "a")
    verdicts = [resort.explain("a").candidates[0].verdict for _ in range(2)]

    assert verdicts == ["last_resort", "last_resort"]
    assert resorts(resort, "a", count=2) == ["a"]


# -- open for slowness ------------------------------------------------------------------------------------------


def test_slow_one_serves_within_half_its_limit(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=9), "b", last_resort=True)
    slow_down(cluster, "a", relief="b")
    fail(cluster, "b")

    assert resorts(cluster, "a", "b", count=10) == ["a"] * 4
    assert cluster.rejected("a", "b").verdicts == ("full", "open")


def test_slow_one_serves_when_the_healthy_one_is_full(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=9), deployment_policy("b", limit=1), last_resort=True)
    slow_down(cluster, "a", relief="b")
    cluster.granted("b")

    assert resorts(cluster, "a", "b", count=10) == ["a"] * 4


def test_own_model_goes_before_a_fallback_and_the_faster_before_the_slower(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c", "d", last_resort=True)
    for each, latency_ms in (("a", 9000), ("b", 5000), ("c", 2500)):
        permits = [cluster.granted(each) for _ in range(3)]
        cluster.settle(cluster.granted(each, "d"), "cancelled")
        for permit in permits:
            cluster.settle(permit, latency_ms=latency_ms)
    fail(cluster, "d")

    assert cluster.granted("a", "b", ("c", 1), ("d", 1)).deployment_id == "b"


def test_slow_success_of_the_last_resort_ends_the_trip(cluster: Cluster) -> None:
    """No other deployment can take the traffic any more: slowness is no reason to stay open."""
    cluster.configure("a", "b", last_resort=True)
    slow_down(cluster, "a", relief="b")
    fail(cluster, "b")
    cluster.settle(cluster.granted("a", "b"), latency_ms=SLOW_MS)

    assert cluster.state("a") == "half_open"


def test_half_open_one_that_has_answered_serves_more_than_its_probes(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=20), last_resort=True, probes=2, probe_successes=2)
    fail(cluster, "a")
    cluster.settle(cluster.granted("a"))
    decisions = [cluster.acquire("a") for _ in range(20)]
    granted = [each for each in decisions if isinstance(each, Permit)]

    assert [(each.is_probe, each.is_last_resort) for each in granted] == [(True, False)] + [(False, True)] * 9


def test_resent_call_beyond_the_probes_gets_the_same_grant(cluster: Cluster) -> None:
    cluster.configure("a", last_resort=True, probes=1, probe_successes=2)
    fail(cluster, "a")
    cluster.settle(cluster.granted("a"))
    first = cluster.granted("a", token="r1.plain.9")
    again = cluster.granted("a", token="r1.plain.9", resend=True)

    assert [(each.is_last_resort, each.is_probe) for each in (first, again)] == [(True, False)] * 2


@pytest.mark.parametrize("is_slow", [False, True])
def test_providers_own_cooldown_is_the_wait(resort: Cluster, is_slow: bool) -> None:
    throttled = resort.granted("a")
    if is_slow:
        slow_down(resort, "a", relief="b")
    else:
        fail(resort, "a")
    resort.settle(throttled, "throttled", retry_after_ms=9000)

    assert resort.rejected("a").retry_after_ms == 9000


def test_slow_one_at_half_its_limit_is_waited_for(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=4), "b", last_resort=True)
    slow_down(cluster, "a", relief="b")
    [first, _] = [cluster.granted("a") for _ in range(2)]
    refused = cluster.rejected("a", waiting=1)
    cluster.settle(first, "cancelled")

    assert refused.verdicts == ("full",)
    assert cluster.granted("a", waiting=1).is_last_resort


def test_slow_one_with_fewer_calls_serves_first(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=4), "b", last_resort=True)
    slow_down(cluster, "a", relief="b")
    busy, other = TenantLimits(name="busy"), TenantLimits(name="other")
    [first, _] = [cluster.granted("a", tenant=busy) for _ in range(2)]
    cluster.rejected("a", tenant=other, waiting=1)
    cluster.settle(first, "cancelled")

    assert cluster.rejected("a", tenant=busy).verdicts == ("behind",)
    assert cluster.granted("a", tenant=other, waiting=1).is_last_resort


def test_dead_replicas_last_resort_gives_no_probe_back(cluster: Cluster) -> None:
    """Granted in the ms in which another one moved the breaker, it is as old as the new generation."""
    cluster.configure(deployment_policy("a", limit=8), "b", last_resort=True)
    slow_down(cluster, "a", relief="b")
    served = [cluster.granted("a", replica=replica) for replica in ("r1", "r2")]
    cluster.settle(served[0])
    cluster.reap_chunk("r2", "a")

    fields = cluster.deployment("a")
    assert (fields["probes_issued"], fields["probes_succeeded"], fields["active"]) == ("1", "1", "1")
