"""force: an operator's hand on a breaker."""

import pytest

from tests.support.state import Cluster, deployment_policy


def test_forced_open_stays_open_until_closed(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.force("a", "open")
    cluster.advance(3_600_000)

    assert cluster.rejected("a").verdicts == ("forced_open",)
    cluster.force("a", "close")
    assert not cluster.granted("a").is_probe


def test_forced_open_for_a_time_is_probed_afterwards(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.force("a", "open", ttl_ms=60_000)
    cluster.advance(59_999)
    rejection = cluster.rejected("a")
    cluster.advance(1)

    assert (rejection.verdicts, rejection.retry_after_ms) == (("forced_open",), 1)
    assert cluster.granted("a").is_probe


@pytest.mark.parametrize("action", ["disable", "drain"])
def test_disabled_takes_no_requests_and_finishes_active_ones(cluster: Cluster, action: str) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    cluster.force("a", action)

    assert cluster.rejected("a").verdicts == ("disabled",)
    assert cluster.settle(permit).is_known


@pytest.mark.parametrize("action", ["open", "disable", "drain"])
def test_close_takes_back_what_was_forced(cluster: Cluster, action: str) -> None:
    cluster.configure("a")
    cluster.force("a", action)
    cluster.force("a", "close")

    cluster.granted("a")
    assert "open_reason" not in cluster.deployment("a")


def test_close_ends_an_outage_at_once_with_full_traffic(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    cluster.force("a", "close")
    a, b = cluster.explain("a", "b").candidates

    assert (a.state, a.score) == ("closed", b.score)


def test_close_forgets_the_bad_minute(cluster: Cluster) -> None:
    cluster.configure("a", breaker_enabled=False)
    cluster.call("a", "failure", times=50)
    cluster.force("a", "close")

    assert cluster.snapshot().deployments[0].health_score == 98.8


def test_close_keeps_rate_limit_and_cooling(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=1), "b")
    cluster.call("a")
    cluster.call("b", "throttled", retry_after_ms=9000)
    cluster.force("a", "close")
    cluster.force("b", "close")

    assert cluster.rejected("a", "b").verdicts == ("rate_limited", "cooling")


def test_reset_forgets_all_that_was_learned(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=2))
    before = cluster.deployment("a")
    cluster.call("a", latency_ms=700)
    cluster.call("a", "throttled", retry_after_ms=9000)
    cluster.force("a", "reset")
    after = cluster.deployment("a")

    assert {k: v for k, v in after.items() if k not in ("generation", "active", "forced_by")} == {
        k: v for k, v in before.items() if k != "generation"
    } | ({"refreshed_at_ms": after["refreshed_at_ms"]} if "refreshed_at_ms" in after else {})
    cluster.granted("a")


def test_result_of_a_request_granted_before_does_not_move_the_forced_breaker(cluster: Cluster) -> None:
    cluster.configure("a", failure_threshold=1)
    before = cluster.granted("a")
    cluster.force("a", "close")
    cluster.settle(before, "failure")

    assert cluster.state("a") == "closed"


def test_each_force_is_one_generation_and_one_event_that_names_the_actor(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.force("a", "open", reason="maintenance")
    cluster.force("a", "close", reason="done")
    events = cluster.events("a")

    assert [(e["from"], e["to"], e["reason"], e["generation"]) for e in events] == [
        ("closed", "forced_open", "open by ann: maintenance", "1"),
        ("forced_open", "closed", "close by ann: done", "2"),
    ]


def test_open_reason_names_the_actor(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.force("a", "disable")

    assert cluster.snapshot().deployments[0].open_reason == "disable by ann"


@pytest.mark.parametrize(("name", "action"), [("nobody", "open"), ("a", "explode"), ("a", "")])
def test_unknown_deployment_or_action_changes_nothing(cluster: Cluster, name: str, action: str) -> None:
    cluster.configure("a")
    before = cluster.dump()

    assert not cluster.force(name, action)
    assert cluster.dump() == before


def test_overdue_and_results_leave_a_forced_breaker_alone(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = [cluster.granted("a", stream=True) for _ in range(10)]
    cluster.force("a", "open")
    for permit in permits[:6]:
        cluster.settle(permit, "failure")
    for _ in range(20):
        cluster.advance(1000)
        cluster.beat()

    assert cluster.state("a") == "forced_open"


def test_force_that_is_sent_again_moves_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    moved = [cluster.force("a", "open", token="f1") for _ in range(2)]
    cluster.force("a", "close", token="f2")

    assert moved == [True, True]
    told = [(event["to"], event["generation"]) for event in cluster.events("a")]
    assert told == [("forced_open", "1"), ("closed", "2")]
