"""The fallback chain: tiers in order, with hysteresis, probes first."""

from collections import Counter

import pytest

from tests.support.state import Cluster, deployment_policy

CHAIN = (("a", 0), ("b", 1), ("c", 2))


def served(cluster: Cluster, times: int = 20) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _ in range(times):
        permit = cluster.granted(*CHAIN)
        counts[permit.deployment_id] += 1
        cluster.settle(permit, "cancelled")
    return counts


def sicken(cluster: Cluster, name: str, failures: int, successes: int) -> None:
    cluster.call(name, "failure", times=failures)
    cluster.call(name, times=successes)


def health(cluster: Cluster, name: str) -> float:
    return cluster.explain(name).candidates[0].health


@pytest.fixture
def chain(cluster: Cluster) -> Cluster:
    """Without breaker, so that health alone decides."""
    cluster.configure("a", "b", "c", breaker_enabled=False)
    return cluster


def test_first_tier_serves_while_it_is_well(chain: Cluster) -> None:
    assert served(chain) == {"a": 20}


def test_first_tier_serves_though_a_fallback_is_far_better(chain: Cluster) -> None:
    sicken(chain, "a", failures=20, successes=25)

    assert 40 <= health(chain, "a") < 60
    assert served(chain) == {"a": 20}


def test_first_tier_is_left_when_it_is_ill_and_a_fallback_is_much_better(chain: Cluster) -> None:
    sicken(chain, "a", failures=20, successes=10)
    chain.call("a", latency_ms=2001, times=2)

    assert health(chain, "a") < 40
    assert served(chain) == {"b": 20}


def test_ill_first_tier_serves_while_the_fallback_is_hardly_better(chain: Cluster) -> None:
    for name in "abc":
        sicken(chain, name, failures=20, successes=10)
        chain.call(name, latency_ms=2001, times=2)

    assert served(chain) == {"a": 20}


@pytest.mark.parametrize(("advantage", "served_by"), [(1.25, "b"), (9.0, "a")])
def test_advantage_that_a_fallback_needs_is_a_setting(cluster: Cluster, advantage: float, served_by: str) -> None:
    cluster.configure("a", "b", "c", breaker_enabled=False, fallback_advantage=advantage)
    sicken(cluster, "a", failures=20, successes=10)
    cluster.call("a", latency_ms=2001, times=2)

    assert served(cluster) == {served_by: 20}


def test_fallback_must_score_more_than_a_quarter_better(chain: Cluster) -> None:
    """The boundary, from numbers that `explain` shows."""
    chain.configure("a", "b", "c", breaker_enabled=False)
    for name in "ac":
        sicken(chain, name, failures=20, successes=10)
        chain.call(name, latency_ms=2001, times=2)
    sicken(chain, "b", failures=8, successes=10)
    chain.call("b", latency_ms=2001)
    seen = []
    for _ in range(30):
        a, b, _ = chain.explain(*CHAIN).candidates
        seen.append((b.score > 1.25 * a.score, served(chain, 1)["b"] == 1))
        chain.call("b", "failure")

    assert (True, True) in seen
    assert (False, False) in seen
    assert all(should == did for should, did in seen)


def test_next_fallback_serves_when_the_first_is_no_better(chain: Cluster) -> None:
    for name in "ab":
        sicken(chain, name, failures=20, successes=10)
        chain.call(name, latency_ms=2001, times=2)

    assert served(chain) == {"c": 20}


def test_return_to_the_first_tier_when_it_is_healthy_again(chain: Cluster) -> None:
    sicken(chain, "a", failures=20, successes=10)
    chain.call("a", latency_ms=2001, times=2)
    chain.advance(60_000)

    assert served(chain) == {"a": 20}


def test_open_first_tier_falls_to_the_next(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.trip("a")

    assert served(cluster) == {"b": 20}


def test_chain_ends_at_the_last_tier(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.trip("a")
    cluster.trip("b")

    assert served(cluster) == {"c": 20}


def test_whole_chain_down_is_a_rejection_with_all_verdicts(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    for name in "abc":
        cluster.trip(name)

    assert cluster.rejected(*CHAIN).verdicts == ("open", "open", "open")


def test_full_first_tier_overflows_into_the_next(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=2), "b", "c")
    picked = [cluster.granted(*CHAIN).deployment_id for _ in range(5)]

    assert picked == ["a", "a", "b", "b", "b"]


def test_probe_of_the_first_tier_is_taken_before_a_healthy_sibling(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    cluster.cool_down("a")
    permit = cluster.granted(("a", 0), ("b", 0))

    assert (permit.deployment_id, permit.is_probe) == ("a", True)


def test_probe_of_the_first_tier_is_taken_before_a_healthy_fallback(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.trip("a")
    cluster.cool_down("a")

    assert cluster.granted(*CHAIN).is_probe


def test_fallback_serves_while_all_probes_are_out(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.trip("a")
    cluster.cool_down("a")
    picked = [cluster.granted(*CHAIN).deployment_id for _ in range(6)]

    assert picked == ["a", "a", "a", "b", "b", "b"]


def test_fallback_is_not_probed_while_the_first_tier_serves(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.trip("b")
    cluster.cool_down("b")

    assert served(cluster) == {"a": 20}
    assert cluster.state("b") == "open"


def test_ill_first_tier_does_not_hand_over_to_a_probe(cluster: Cluster) -> None:
    cluster.configure("a", "b", failure_threshold=100, failure_rate=2.0, slow_limit=100, slow_rate=2.0)
    cluster.force("b", "open", ttl_ms=1)
    cluster.advance(1)
    sicken(cluster, "a", failures=20, successes=10)
    cluster.call("a", latency_ms=2001, times=2)

    assert cluster.granted(("a", 0), ("b", 1)).deployment_id == "a"


def test_all_probes_of_several_candidates_are_used(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    cluster.trip("b")
    cluster.advance(40_000)
    picked = Counter(cluster.granted("a", "b").deployment_id for _ in range(6))

    assert picked == {"a": 3, "b": 3}


# -- the slow start ---------------------------------------------------------------------------------------------


def recovered(cluster: Cluster, *, after_ms: int) -> Cluster:
    cluster.configure("a", "b", "c")
    cluster.trip("a")
    cluster.recover("a")
    cluster.advance(after_ms)
    return cluster


@pytest.mark.parametrize(("after_ms", "share"), [(0, 0.1), (15_000, 0.5), (24_000, 0.8), (30_000, 1.0)])
def test_recovered_first_tier_takes_its_traffic_back_over_the_slow_start(
    cluster: Cluster, after_ms: int, share: float
) -> None:
    counts = served(recovered(cluster, after_ms=after_ms), times=400)

    assert abs(counts["a"] / 400 - share) < 0.08
    assert counts["a"] + counts["b"] == 400


def test_recovered_first_tier_takes_all_where_no_fallback_is_healthy(cluster: Cluster) -> None:
    recovered(cluster, after_ms=0)
    for name in "bc":
        cluster.force(name, "disable")

    assert served(cluster) == {"a": 20}


def test_slow_start_of_one_of_two_leaves_the_fallback_alone(cluster: Cluster) -> None:
    recovered(cluster, after_ms=0)
    picked = {cluster.granted("a", "b", ("c", 1)).deployment_id for _ in range(40)}

    assert "c" not in picked
