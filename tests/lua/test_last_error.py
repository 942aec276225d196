"""Why the last call of a deployment failed, in words: kept for a day beside its hash, and told with its breaker."""

import pytest

from tests.lua.test_block import block, settle_block
from tests.support.state import START_MS, Cluster

WHY = "401 invalid_api_key: Incorrect API key provided: ***"
TELLS = ["failure", "timeout", "throttled", "overloaded", "unsupported"]


def last_error(cluster: Cluster) -> tuple[str, int]:
    row = cluster.snapshot(read_only=True).deployments[0]
    return row.last_error, row.last_error_at_ms


@pytest.mark.parametrize("outcome", TELLS)
def test_words_of_the_last_failed_call_are_kept_with_its_time(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    cluster.call("a", outcome, reason="connection refused")
    cluster.advance(5_000)
    permit = cluster.granted("a", priority=0) if outcome != "throttled" else None
    if permit:
        cluster.settle(permit, outcome, reason=WHY)

    assert last_error(cluster) == ((WHY, START_MS + 5_000) if permit else ("connection refused", START_MS))


@pytest.mark.parametrize("outcome", ["success", "client_error", "cancelled"])
def test_neutral_outcome_leaves_the_last_error(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", reason=WHY)
    cluster.advance(1_000)
    cluster.call("a", outcome, reason="no matter")

    assert last_error(cluster) == (WHY, START_MS)


def test_failure_without_words_leaves_it(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", reason=WHY)
    cluster.call("a", "failure")

    assert last_error(cluster) == (WHY, START_MS)


def test_deployment_without_errors_has_none(cluster: Cluster) -> None:
    cluster.configure("a")

    assert last_error(cluster) == ("", 0)
    assert cluster.cli.do("EXISTS", cluster.keys.last_error("a")) == 0


def test_key_is_text_that_ends_after_a_day(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", reason=WHY)

    assert cluster.cli.do("GET", cluster.keys.last_error("a")) == f"{START_MS} {WHY}".encode()
    assert 86_000_000 < cluster.cli.do("PTTL", cluster.keys.last_error("a")) <= 86_400_000


def test_hash_of_the_deployment_stays_compact(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", reason="x" * 200, times=5)

    assert cluster.cli.do("OBJECT", "ENCODING", cluster.keys.deployment("a")) == b"listpack"
    assert last_error(cluster)[0] == "x" * 200


def test_reset_forgets_it(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", reason=WHY)
    cluster.force("a", "reset")

    assert last_error(cluster) == ("", 0)


def test_settling_twice_tells_once(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    cluster.settle(permit, "failure", reason=WHY)
    cluster.settle(permit, "failure", reason="later")

    assert last_error(cluster) == (WHY, START_MS)


def test_breaker_that_opens_by_a_call_tells_why_it_failed(cluster: Cluster) -> None:
    cluster.configure("a", failure_threshold=2)
    cluster.call("a", "failure", reason="connection refused")
    cluster.call("a", "failure", reason=WHY)
    cluster.cool_down("a")
    cluster.call("a", "timeout", reason="timed out before the first byte")

    opened = [(event["reason"], event["error"]) for event in cluster.events("a") if event["to"] == "open"]
    assert opened == [("consecutive_failures", WHY), ("probe_failed", "timed out before the first byte")]


def test_other_transitions_have_no_error(cluster: Cluster) -> None:
    cluster.configure("a", "b", slow_limit=1)
    cluster.call("a", "failure", reason=WHY)
    cluster.call("a", latency_ms=9_000, spare="b")
    cluster.recover("a")
    cluster.force("a", "open")

    assert [(event["to"], "error" in event) for event in cluster.events("a")] == [
        ("open", False),
        ("half_open", False),
        ("closed", False),
        ("forced_open", False),
    ]
    assert [event.error for event in cluster.stored_events("after")] == [""] * 6


def test_calls_of_a_block_tell_as_well(cluster: Cluster) -> None:
    cluster.configure("a", failure_threshold=2)
    permits = block(cluster, "a", count=3)
    settle_block(cluster, permits, "failure", "failure", "success", reason=WHY)

    assert last_error(cluster) == (WHY, START_MS)
    assert [event["error"] for event in cluster.events("a")] == [WHY]


def test_heartbeat_tells_of_an_open_breaker_why_its_calls_fail(cluster: Cluster) -> None:
    cluster.configure("a", "b", failure_threshold=1)
    cluster.call("a", "failure", reason=WHY)
    opened = cluster.beat().breakers[0]
    cluster.recover("a")
    closed = cluster.beat().breakers[0]

    assert (opened.state, opened.error) == ("open", WHY)
    assert (closed.state, closed.error) == ("closed", "")
