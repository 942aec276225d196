"""acquire: one lease or a reason, exactly as many as the limit, the same answer when asked again."""

import pytest

from shared_state.errors import NotConfigured
from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy


def test_grant_names_deployment_and_generation(cluster: Cluster) -> None:
    cluster.configure("a", "b")

    permit = cluster.granted("a", "b", strategy="priority")

    assert permit.deployment_id == ("a", "b")[permit.position]
    assert (permit.generation, permit.is_probe) == (0, False)


def test_hundred_callers_of_four_replicas_get_as_many_permits_as_the_limit(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=5))

    decisions = [cluster.acquire("a", replica=f"r{k % 4}") for k in range(100)]

    assert sum(isinstance(d, Permit) for d in decisions) == 5
    assert cluster.active("a") == 5


def test_limits_of_all_candidates_are_used_up_before_a_rejection(cluster: Cluster) -> None:
    cluster.configure(*(deployment_policy(name, limit=3) for name in "abc"))
    for _ in range(9):
        cluster.granted("a", "b", "c")

    assert cluster.rejected("a", "b", "c").verdicts == ("full", "full", "full")


def test_settled_permit_makes_room_for_one(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1))
    permit = cluster.granted("a")
    cluster.rejected("a")
    cluster.settle(permit, "cancelled")

    cluster.granted("a")
    cluster.rejected("a")


def test_hash_shows_as_many_active_requests_as_there_are_leases(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = [cluster.granted("a") for _ in range(7)]
    shown = [cluster.deployment("a")["active"]]
    cluster.settle(permits[0])
    shown.append(cluster.deployment("a")["active"])

    assert shown == ["7", "6"]


def test_unknown_policy_is_not_configured(cluster: Cluster) -> None:
    with pytest.raises(NotConfigured):
        cluster.acquire("a")


def test_unknown_deployment_is_not_configured_and_writes_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    before = cluster.dump()

    with pytest.raises(NotConfigured):
        cluster.acquire("a", "b")
    assert cluster.dump() == before


def test_rejection_gives_a_verdict_for_each_candidate(cluster: Cluster) -> None:
    cluster.configure(
        deployment_policy("full", limit=1),
        deployment_policy("rate_limited", rpm=1),
        *("open", "probing", "forced_open", "disabled", "cooling"),
    )
    cluster.trip("probing")
    cluster.cool_down("probing")
    for _ in range(3):
        cluster.granted("probing")
    cluster.granted("full")
    cluster.call("rate_limited")
    cluster.call("cooling", "throttled", retry_after_ms=9000)
    cluster.trip("open")
    cluster.force("forced_open", "open")
    cluster.force("disabled", "disable")
    names = ("disabled", "forced_open", "open", "probing", "cooling", "full", "rate_limited")

    assert cluster.rejected(*names).verdicts == names


def test_rejection_tells_the_earliest_time_to_come_again(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", "throttled", retry_after_ms=9000)
    cluster.call("b", "throttled", retry_after_ms=4000)
    cluster.advance(1000)

    assert cluster.rejected("a", "b").retry_after_ms == 3000


def test_open_breaker_tells_when_it_lets_a_probe_through(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    wait_ms = cluster.rejected("a").retry_after_ms
    cluster.advance(wait_ms - 1)
    cluster.rejected("a")
    cluster.advance(1)

    assert cluster.granted("a").is_probe


def test_rejected_caller_holds_no_lease(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.rejected("a")

    assert cluster.beat().active == 0


def test_resent_acquire_gets_the_same_grant_and_no_second_lease(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    first = cluster.granted("a", "b", "c", token="r1.plain.7")

    again = cluster.granted("a", "b", "c", token="r1.plain.7", resend=True)

    assert (again.position, again.generation, again.is_probe) == (first.position, first.generation, first.is_probe)
    assert cluster.beat().active == 1


def test_resent_acquire_of_a_probe_gets_the_same_probe(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    first = cluster.granted("a", token="r1.plain.7")
    again = cluster.granted("a", token="r1.plain.7", resend=True)

    assert (again.is_probe, again.generation) == (True, first.generation)
    assert cluster.deployment("a")["probes_issued"] == "1"


def test_resent_acquire_keeps_its_grant_at_the_concurrency_limit(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1))
    cluster.granted("a", token="r1.plain.7")

    cluster.granted("a", token="r1.plain.7", resend=True)


def test_resent_acquire_keeps_its_grant_though_the_domain_sheds_by_now(cluster: Cluster) -> None:
    cluster.configure("a", max_active=1, critical_reserve=0)
    cluster.granted("a", token="r1.plain.7")

    cluster.granted("a", token="r1.plain.7", resend=True)


def test_resent_further_attempt_keeps_its_grant_though_the_budget_is_used_up(cluster: Cluster) -> None:
    cluster.configure("a", retry_ratio=0, retry_floor_per_second=0)
    tokens = [f"r1.plain.{k}" for k in range(30)]
    for token in tokens:
        cluster.granted("a", attempt=2, token=token)
    cluster.rejected("a", attempt=2)

    cluster.granted("a", attempt=2, token=tokens[-1], resend=True)


def test_call_that_was_overtaken_by_its_own_repetition_is_granted_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.settle(cluster.granted("a", token="r1.plain.7", resend=True, era=2))
    late = cluster.rejected("a", token="r1.plain.7", era=1)
    others = [cluster.granted("a", replica="r2", era=1), cluster.granted("a", replica="r1", era=2)]

    assert late.reason == "overtaken"
    assert cluster.active("a") == len(others)


def test_replica_that_leaves_takes_its_era_along(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.settle(cluster.granted("a", era=5))
    before = cluster.domain().get("era:r1")
    cluster.beat("r1", gone=True)

    assert (before, "era:r1" in cluster.domain()) == ("5", False)


def test_doubt_is_answered_with_the_grant_and_takes_nothing_else(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=10))
    permit = cluster.granted("a", token="r1.plain.7")
    before = cluster.deployment("a")
    again = cluster.granted("a", token="r1.plain.7", resend=2)
    unknown = cluster.rejected("a", token="r1.plain.8", resend=2)

    assert again.generation == permit.generation
    assert (unknown.code, unknown.reason) == ("none", "not_granted")
    assert cluster.deployment("a") == before
    assert cluster.active("a") == 1


def test_resent_acquire_of_an_older_generation_cannot_move_the_breaker(cluster: Cluster) -> None:
    cluster.configure("a", failure_threshold=1)
    cluster.granted("a", token="r1.plain.7")
    cluster.advance(1)
    cluster.trip("a")
    cluster.recover("a")
    again = cluster.granted("a", token="r1.plain.7", resend=True)
    cluster.settle(again, "failure")

    assert cluster.state("a") == "closed"


def test_resent_acquire_of_the_very_ms_in_which_the_breaker_closed_still_counts(cluster: Cluster) -> None:
    cluster.configure("a", failure_threshold=1)
    cluster.trip("a")
    cluster.recover("a")
    first = cluster.granted("a", token="r1.plain.7")
    again = cluster.granted("a", token="r1.plain.7", resend=True)
    cluster.settle(again, "failure")

    assert again.generation == first.generation
    assert cluster.state("a") == "open"


def test_resent_acquire_that_was_never_carried_out_is_decided_now(cluster: Cluster) -> None:
    cluster.configure("a")

    cluster.granted("a", token="r1.plain.7", resend=True)
    assert cluster.active("a") == 1


def test_every_reply_has_a_later_place_in_the_order(cluster: Cluster) -> None:
    cluster.configure("a")
    sequences = []
    for replica in ("r1", "r2", "r1"):
        permit = cluster.granted("a", replica=replica)
        sequences += [permit.sequence, cluster.settle(permit).sequence, cluster.beat(replica).sequence]
        cluster.force("a", "open")
        sequences.append(cluster.rejected("a").sequence)
        cluster.force("a", "close")

    assert sequences == sorted(set(sequences))


def test_first_caller_sets_the_epoch_for_all(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.cli.do("HSET", cluster.keys.domain, "epoch", "elder")
    cluster.granted("a")

    assert cluster.beat().epoch == "elder"


def test_critical_priority_and_bulk_are_alike_while_nothing_is_scarce(cluster: Cluster) -> None:
    cluster.configure("a")

    for priority in (0, 25, 50, 75, 100):
        cluster.granted("a", priority=priority)
