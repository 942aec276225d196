"""relief: slowness opens a breaker only where another candidate could take the traffic."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.lua.test_block import block, settle_block
from tests.support.state import Cluster, deployment_policy

SLOW_MS, RELIEF_MS = 2001, 60_000


def relief(cluster: Cluster, deployment_id: str = "a") -> int | None:
    noted = cluster.deployment(deployment_id).get("relief_at_ms")
    return None if noted is None else int(noted)


def decide(cluster: Cluster, *candidates: Any, **options: Any) -> None:
    cluster.settle(cluster.granted(*candidates, priority=0, **options), "cancelled")


def make_slow(cluster: Cluster, deployment_id: str) -> None:
    cluster.call(deployment_id, latency_ms=SLOW_MS, times=3)


@pytest.mark.parametrize("tier", [0, 1])
def test_candidate_of_any_tier_is_relief(cluster: Cluster, tier: int) -> None:
    cluster.configure("a", "b")
    decide(cluster, "a", ("b", tier))

    assert relief(cluster) == cluster.now_ms


def test_only_candidate_has_no_relief(cluster: Cluster) -> None:
    cluster.configure("a")
    decide(cluster, "a")

    assert relief(cluster) is None


def half_open(cluster: Cluster) -> None:
    cluster.trip("b")
    cluster.cool_down("b")


UNABLE: dict[str, Callable[[Cluster], object]] = {
    "open": lambda cluster: cluster.trip("b"),
    "half open": half_open,
    "disabled": lambda cluster: cluster.force("b", "disable"),
    "cooling": lambda cluster: cluster.call("b", "throttled", retry_after_ms=9000),
    "full": lambda cluster: cluster.granted("b"),
    "slow": lambda cluster: make_slow(cluster, "b"),
    "without the endpoint": lambda cluster: cluster.settle(cluster.granted("b", kind="chat"), "unsupported"),
}


@pytest.mark.parametrize("why", UNABLE)
def test_candidate_that_cannot_take_the_traffic_is_no_relief(cluster: Cluster, why: str) -> None:
    cluster.configure("a", deployment_policy("b", limit=1))
    decide(cluster, "a", ("b", 1), kind="chat")
    before = relief(cluster)
    UNABLE[why](cluster)
    decide(cluster, "a", ("b", 1), kind="chat")

    assert (before is None, relief(cluster)) == (False, None)


def test_slow_deployment_has_relief_by_one_that_is_not(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    make_slow(cluster, "a")
    decide(cluster, "a", "b")

    assert (relief(cluster, "a") is None, relief(cluster, "b")) == (False, None)


def test_candidate_of_a_later_tier_is_not_judged_by_that_chain(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    decide(cluster, "b", "c")
    noted = relief(cluster, "b")
    decide(cluster, "a", ("b", 1))
    cluster.advance(5000)
    decide(cluster, "a", ("b", 1), ("c", 2))

    assert relief(cluster, "b") == noted


@pytest.mark.parametrize("attempt", [0, 2])
def test_further_attempt_neither_notes_nor_clears(cluster: Cluster, attempt: int) -> None:
    cluster.configure("a", "b")
    decide(cluster, "a", "b")
    noted = relief(cluster)
    decide(cluster, "a", attempt=attempt)
    cluster.force("b", "reset")
    decide(cluster, "b", ("a", 1), attempt=attempt)

    assert (relief(cluster), relief(cluster, "b")) == (noted, noted)


def test_relief_is_written_once_a_second(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    times = []
    for pause_ms in (0, 999, 1, 500):
        cluster.advance(pause_ms)
        decide(cluster, "a", ("b", 1))
        times.append(cluster.now_ms - (relief(cluster) or 0))

    assert times == [0, 999, 0, 500]


def test_refused_request_notes_nothing(cluster: Cluster) -> None:
    cluster.configure("a", "b", max_active=1)
    cluster.granted("a", ("b", 1))
    noted = relief(cluster)
    cluster.advance(5000)
    cluster.rejected("a")

    assert relief(cluster) == noted == cluster.now_ms - 5000


def test_explain_notes_nothing(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.explain("a", "b")

    assert relief(cluster) is None


def test_block_notes_relief_and_clears_it(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    block(cluster, "a", ("b", 1), count=2)
    noted = relief(cluster)
    block(cluster, "a", count=2)

    assert (noted, relief(cluster)) == (cluster.now_ms, None)


def test_lone_deployment_stays_closed_however_slow_it_is(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", latency_ms=SLOW_MS, times=40)

    assert cluster.state("a") == "closed"
    assert cluster.deployment("a")["consecutive_slow"] == "40"


@pytest.mark.parametrize("stream", [False, True])
def test_first_slow_answer_with_relief_opens_after_slow_ones_without(cluster: Cluster, stream: bool) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=SLOW_MS, times=10, stream=stream)
    before = cluster.state("a")
    cluster.call("a", latency_ms=SLOW_MS, spare="b", stream=stream)

    assert (before, cluster.state("a")) == ("closed", "open")
    assert cluster.deployment("a")["open_reason"] == "consecutive_slow"


def test_fast_answer_does_not_open_what_was_slow_without_relief(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    make_slow(cluster, "a")
    cluster.call("a", "failure", spare="b")
    cluster.call("a", spare="b")

    assert cluster.state("a") == "closed"


def test_share_of_slow_calls_opens_only_with_relief(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for _ in range(20):
        cluster.call("a")
        cluster.call("a", latency_ms=SLOW_MS)
    before = cluster.state("a")
    cluster.call("a", latency_ms=SLOW_MS, spare="b")

    assert (before, cluster.deployment("a")["open_reason"]) == ("closed", "slow_rate")


@pytest.mark.parametrize(("age_ms", "state"), [(RELIEF_MS, "open"), (RELIEF_MS + 1, "closed")])
def test_relief_lasts_a_minute(cluster: Cluster, age_ms: int, state: str) -> None:
    cluster.configure("a", "b")
    permits = [cluster.granted("a", ("b", 1)) for _ in range(3)]
    cluster.advance(age_ms)
    for permit in permits:
        cluster.settle(permit, latency_ms=age_ms)

    assert cluster.state("a") == state


def test_of_two_that_become_slow_one_stays_closed(cluster: Cluster) -> None:
    """The first opens while the other could take its traffic; then the other is the last that is usable."""
    cluster.configure("a", "b")
    for _ in range(30):
        permit = cluster.granted("a", "b", priority=0)
        cluster.settle(permit, latency_ms=SLOW_MS)

    assert sorted(cluster.state(name) for name in ("a", "b")) == ["closed", "open"]


def test_slow_probe_without_relief_is_a_success(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.call("a", latency_ms=SLOW_MS, times=2)

    assert cluster.state("a") == "closed"


def test_failures_open_without_relief(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", times=5)

    assert cluster.deployment("a")["open_reason"] == "consecutive_failures"


@pytest.mark.parametrize(("spare", "state"), [((), "closed"), ((("b", 1),), "open")])
def test_block_of_slow_endings_opens_only_with_relief(cluster: Cluster, spare: Any, state: str) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=50), "b")
    permits = block(cluster, "a", *spare, count=5)

    assert settle_block(cluster, permits, *["success"] * 5).state == state
