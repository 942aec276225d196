"""health_check: one check per interval for the cluster; it ends a cooldown early and moves no breaker."""

import pytest

from tests.support.state import Cluster

INTERVAL_MS = 10_000


@pytest.fixture
def tripped(cluster: Cluster) -> Cluster:
    """Its breaker has just opened; nothing has been checked."""
    cluster.configure("a")
    cluster.trip("a")
    return cluster


def claimed(cluster: Cluster) -> int:
    """The generation of a check that is due."""
    generation = cluster.claim_check("a", INTERVAL_MS)
    assert generation is not None, cluster.deployment("a")
    return generation


def end_cooldown(cluster: Cluster) -> None:
    cluster.advance(INTERVAL_MS)
    assert cluster.report_check("a", claimed(cluster))


def test_first_check_is_due_one_interval_after_the_breaker_opened(tripped: Cluster) -> None:
    tripped.advance(INTERVAL_MS - 1)
    early = tripped.claim_check("a", INTERVAL_MS)
    tripped.advance(1)

    assert early is None
    assert tripped.claim_check("a", INTERVAL_MS) == int(tripped.deployment("a")["generation"])


def test_check_is_claimed_once_per_interval_by_any_replica(tripped: Cluster) -> None:
    claims = []
    for _ in range(5):
        tripped.advance(INTERVAL_MS // 2)
        claims.append([tripped.claim_check("a", INTERVAL_MS) is not None for _replica in range(3)])

    assert claims == [[False] * 3, [True, False, False], [False] * 3, [True, False, False], [False] * 3]


@pytest.mark.parametrize("state", ["closed", "half_open", "forced_open", "disabled", "cooled_down"])
def test_only_an_open_breaker_that_cools_down_is_checked(cluster: Cluster, state: str) -> None:
    cluster.configure("a")
    if state in ("half_open", "cooled_down"):
        cluster.trip("a")
        cluster.cool_down("a")
    if state == "half_open":
        assert cluster.granted("a").is_probe
    if state in ("forced_open", "disabled"):
        cluster.force("a", "open" if state == "forced_open" else "disable", ttl_ms=60_000)
    cluster.advance(INTERVAL_MS)
    before = cluster.dump()

    assert cluster.claim_check("a", INTERVAL_MS) is None
    assert not cluster.report_check("a", int(cluster.deployment("a")["generation"]))
    assert cluster.dump() == before


def test_unknown_deployment_is_not_checked(cluster: Cluster) -> None:
    cluster.configure("a")

    assert cluster.claim_check("b") is None
    assert cluster.deployment("b") == {}


def test_healthy_answer_makes_the_next_request_the_probe(tripped: Cluster) -> None:
    tripped.advance(INTERVAL_MS)
    generation = claimed(tripped)
    rejected = tripped.rejected("a").verdicts
    ended = tripped.report_check("a", generation)
    state = tripped.state("a")

    assert (rejected, ended, state) == (("open",), True, "open")
    assert tripped.granted("a").is_probe
    assert tripped.state("a") == "half_open"


def test_unhealthy_answer_leaves_the_cooldown_as_it_was(tripped: Cluster) -> None:
    before = tripped.deployment("a")
    tripped.advance(INTERVAL_MS)
    ended = tripped.report_check("a", claimed(tripped), 503, healthy=False)
    after = tripped.deployment("a")

    assert not ended
    assert after == before | {"checked_at_ms": str(tripped.now_ms), "check_status": "503"}


def test_answer_for_an_older_generation_is_ignored(tripped: Cluster) -> None:
    tripped.advance(INTERVAL_MS)
    generation = claimed(tripped)
    tripped.recover("a")
    tripped.trip("a")
    before = tripped.dump()

    assert not tripped.report_check("a", generation)
    assert tripped.dump() == before


def test_ended_cooldown_is_an_event(tripped: Cluster) -> None:
    end_cooldown(tripped)
    last = tripped.events("a")[-1]

    assert (last["from"], last["to"], last["reason"]) == ("open", "open", "health_check")
    assert last["generation"] == tripped.deployment("a")["generation"]


def test_report_that_is_sent_again_changes_nothing(tripped: Cluster) -> None:
    end_cooldown(tripped)
    tripped.advance(5)
    before = tripped.dump()

    assert not tripped.report_check("a", int(tripped.deployment("a")["generation"]))
    assert tripped.dump() == before


def test_check_whose_probe_failed_is_not_believed_in_the_next_cooldown(tripped: Cluster) -> None:
    end_cooldown(tripped)
    tripped.call("a", "failure")
    tripped.advance(INTERVAL_MS)
    after_failed_probe = tripped.claim_check("a", INTERVAL_MS)
    tripped.cool_down("a")
    tripped.call("a", "failure")
    tripped.advance(INTERVAL_MS)

    assert after_failed_probe is None
    assert tripped.claim_check("a", INTERVAL_MS) is not None


def test_provider_that_requires_patience_is_left_alone(cluster: Cluster) -> None:
    cluster.configure("a")
    for permit in [cluster.granted("a") for _ in range(5)]:
        cluster.settle(permit, "overloaded", retry_after_ms=INTERVAL_MS + 5_000)
    cluster.advance(INTERVAL_MS)
    while_it_cools = cluster.claim_check("a", INTERVAL_MS)
    cluster.advance(5_000)

    assert (cluster.state("a"), while_it_cools) == ("open", None)
    assert cluster.claim_check("a", INTERVAL_MS) is not None


def test_slow_deployment_is_checked_like_a_failing_one(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    slow = [cluster.granted("a") for _ in range(3)]
    cluster.settle(cluster.granted("a", "b"), "cancelled")  # there is another one to take its traffic
    for permit in slow:
        cluster.settle(permit, latency_ms=9_000)
    reason = cluster.deployment("a")["open_reason"]
    end_cooldown(cluster)

    assert reason == "consecutive_slow"
    assert cluster.granted("a").is_probe


def test_reload_during_a_cooldown_keeps_the_checks_apart(tripped: Cluster) -> None:
    tripped.advance(INTERVAL_MS)
    generation = claimed(tripped)
    tripped.configure("a")

    assert tripped.claim_check("a", INTERVAL_MS) is None
    assert tripped.report_check("a", generation)
