"""The concurrency limit that is found: by what providers refuse, or by their latency."""

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy


def limit(cluster: Cluster) -> int:
    return cluster.snapshot().deployments[0].limit


def hold(cluster: Cluster, count: int) -> list[Permit]:
    return [cluster.granted("a", priority=0) for _ in range(count)]


@pytest.fixture(autouse=True)
def adaptive(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", concurrency="adaptive", limit=100), breaker_enabled=False)


@pytest.mark.parametrize("outcome", ["timeout", "overloaded", "throttled"])
def test_refusal_under_load_cuts_the_limit_by_a_tenth(cluster: Cluster, outcome: str) -> None:
    permits = hold(cluster, 60)
    cluster.settle(permits[0], outcome)

    assert limit(cluster) == 90


@pytest.mark.parametrize("outcome", ["success", "failure", "client_error", "cancelled"])
def test_other_outcomes_do_not(cluster: Cluster, outcome: str) -> None:
    permits = hold(cluster, 60)
    cluster.settle(permits[0], outcome)

    assert limit(cluster) == 100


def test_one_round_trip_cuts_once(cluster: Cluster) -> None:
    """Calls that began before the cut met the limit before it."""
    permits = hold(cluster, 60)
    cluster.advance(100)
    for permit in permits[:30]:
        cluster.settle(permit, "timeout")
    first = limit(cluster)
    cluster.advance(100)
    cluster.settle(cluster.granted("a", priority=0), "timeout")

    assert (first, limit(cluster)) == (90, 55)


def test_ceiling_that_is_far_too_high_is_left_at_once(cluster: Cluster) -> None:
    permits = hold(cluster, 12)
    cluster.settle(permits[0], "overloaded")

    assert limit(cluster) == 21


def test_one_refusal_of_an_idle_deployment_leaves_it_room(cluster: Cluster) -> None:
    cluster.call("a", "overloaded")

    assert limit(cluster) == 18


def test_limit_is_at_least_one(cluster: Cluster) -> None:
    for _ in range(60):
        cluster.advance(10)
        cluster.settle(cluster.granted("a", priority=0), "timeout")

    assert limit(cluster) == 1
    assert isinstance(cluster.acquire("a"), Permit)


def test_nothing_is_granted_beyond_the_limit(cluster: Cluster) -> None:
    permits = hold(cluster, 12)
    cluster.settle(permits[0], "overloaded")
    more = [d for d in (cluster.acquire("a", priority=0) for _ in range(30)) if isinstance(d, Permit)]

    assert len(more) == 21 - 11
    assert cluster.rejected("a", priority=0).verdicts == ("full",)


def test_limit_rises_by_one_a_second_while_half_of_it_is_used(cluster: Cluster) -> None:
    permits = hold(cluster, 12)
    cluster.settle(permits[0], "overloaded")
    limits = []
    for _ in range(5):
        cluster.advance(1000)
        cluster.settle(cluster.granted("a", priority=0))
        limits.append(limit(cluster))

    assert limits == [22, 23, 24, 25, 25]  # 11 are held and one is asked for: half of 24


def test_idle_limit_does_not_rise(cluster: Cluster) -> None:
    permits = hold(cluster, 12)
    for number, permit in enumerate(permits):
        cluster.settle(permit, "cancelled" if number else "overloaded")
    for _ in range(9):
        cluster.advance(1000)
        cluster.settle(cluster.granted("a"))

    assert limit(cluster) == 21


def test_limit_that_is_back_at_its_ceiling_leaves_nothing_behind(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", concurrency="adaptive", limit=3), breaker_enabled=False)
    for number, permit in enumerate(hold(cluster, 3)):
        cluster.settle(permit, "cancelled" if number else "timeout")
    for _ in range(3):
        cluster.advance(1000)
        cluster.settle(cluster.granted("a", priority=0))

    assert limit(cluster) == 3
    assert "adapted" not in cluster.deployment("a")


def test_fixed_limit_stays(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", concurrency="fixed", limit=100), breaker_enabled=False)
    cluster.settle(hold(cluster, 60)[0], "timeout")

    assert limit(cluster) == 100


def test_reset_forgets_what_was_found(cluster: Cluster) -> None:
    cluster.settle(hold(cluster, 12)[0], "overloaded")
    cluster.force("a", "reset")

    assert limit(cluster) == 100


def gradient_seconds(cluster: Cluster, latency_ms: int, seconds: int) -> None:
    """Sixty are in flight all the while, and twenty end in each second."""
    held = hold(cluster, 40)
    for _ in range(seconds):
        for _ in range(20):
            permit = cluster.granted("a", priority=0)
            cluster.advance(50)
            cluster.settle(permit, latency_ms=latency_ms)
    for permit in held:
        cluster.settle(permit, "cancelled")


def test_gradient_lowers_the_limit_while_latency_is_above_its_long_average(cluster: Cluster) -> None:
    cluster.configure(
        deployment_policy("a", concurrency="gradient", limit=80, latency_threshold_ms=60_000), breaker_enabled=False
    )
    gradient_seconds(cluster, 100, 10)
    steady = limit(cluster)
    gradient_seconds(cluster, 1000, 5)
    slow = limit(cluster)
    gradient_seconds(cluster, 100, 60)

    assert steady == 80
    assert 20 <= slow <= 60
    assert limit(cluster) == 80


@pytest.mark.parametrize(
    ("held", "calls", "moved"),
    [(39, 10, True), (38, 10, False), (39, 9, False)],
    ids=["half in use", "less than half in use", "too few calls"],
)
def test_gradient_moves_after_ten_calls_and_a_second_while_half_of_the_limit_is_in_use(
    cluster: Cluster, held: int, calls: int, moved: bool
) -> None:
    cluster.configure(
        deployment_policy("a", concurrency="gradient", limit=80, latency_threshold_ms=60_000), breaker_enabled=False
    )
    cluster.call("a", latency_ms=100)
    hold(cluster, held)
    cluster.advance(999)
    cluster.call("a", latency_ms=4000, times=calls - 2)
    before = limit(cluster)
    cluster.advance(1)
    cluster.call("a", latency_ms=4000)

    assert before == 80
    assert (limit(cluster) < 80) is moved


def test_gradient_notices_slowness_soon_after_an_earlier_one_has_passed(cluster: Cluster) -> None:
    """The long average comes down faster while it is far above what is measured; else it would hide the second."""
    cluster.configure(
        deployment_policy("a", concurrency="gradient", limit=80, latency_threshold_ms=60_000), breaker_enabled=False
    )
    gradient_seconds(cluster, 1000, 5)
    gradient_seconds(cluster, 100, 15)
    before = limit(cluster)
    gradient_seconds(cluster, 500, 3)

    assert before == 80
    assert limit(cluster) < 80


def test_growth_does_not_hide_timeouts_of_calls_that_began_after_the_cut(cluster: Cluster) -> None:
    """A timeout ends long after it began, and a growing limit moves every second meanwhile."""
    permits = hold(cluster, 60)
    cluster.settle(permits.pop(), "timeout")
    cluster.advance(10)
    later = cluster.granted("a", priority=0)
    for permit in permits[:3]:
        cluster.advance(1000)
        cluster.settle(permit)
    grown = limit(cluster)
    cluster.settle(later, "timeout")

    assert (grown, limit(cluster)) == (93, 83)
