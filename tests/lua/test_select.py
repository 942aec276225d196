"""Selection: what each of the nine strategies picks, and how ties and slow starts come out."""

from collections import Counter

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy

STRATEGIES = (
    *("adaptive", "latency-based", "least-busy", "priority", "weighted", "round-robin"),
    *("random", "usage-based", "cost-based"),
)


def picks(cluster: Cluster, strategy: str, times: int, *ids: str) -> Counter[str]:
    """Requests one after the other, none of which is active when the next comes or tells anything."""
    counts: Counter[str] = Counter()
    for k in range(times):
        permit = cluster.granted(*ids, strategy=strategy, replica=f"r{k % 3}", priority=0)
        counts[permit.deployment_id] += 1
        cluster.settle(permit, "cancelled")
    return counts


def held(cluster: Cluster, strategy: str, times: int, *ids: str) -> Counter[str]:
    """Requests that all stay active."""
    return Counter(cluster.granted(*ids, strategy=strategy).deployment_id for _ in range(times))


def burst(cluster: Cluster, strategy: str, *ids: str) -> str:
    return "".join(cluster.granted(*ids, strategy=strategy).deployment_id for _ in range(7))


def shares(counts: Counter[str]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in sorted(counts.items())}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_candidate_is_picked(cluster: Cluster, strategy: str) -> None:
    cluster.configure("a")

    assert picks(cluster, strategy, 3, "a") == {"a": 3}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equals_share_the_load(cluster: Cluster, strategy: str) -> None:
    cluster.configure("a", "b", "c")

    counts = picks(cluster, strategy, 90, "a", "b", "c")

    assert min(counts[name] for name in "abc") >= 20


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_unusable_candidate_is_passed_over(cluster: Cluster, strategy: str) -> None:
    cluster.configure(deployment_policy("a", limit=1, priority=100, weight=9), "b", "c")
    cluster.granted("a")
    cluster.trip("b")

    assert picks(cluster, strategy, 20, "a", "b", "c") == {"c": 20}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_seed_picks_the_same(cluster: Cluster, strategy: str) -> None:
    cluster.configure("a", "b", "c")
    names = ("a", "b", "c")

    for seed in (0, 1, 77, 2**31 - 1):
        explained = {cluster.explain(*names, strategy=strategy, seed=seed).picked for _ in range(5)}
        assert len(explained) == 1


# -- adaptive ---------------------------------------------------------------------------------------------------


def test_adaptive_draws_two_by_score_and_takes_the_faster(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.call("a", latency_ms=100)
    cluster.call("b", latency_ms=400)
    cluster.call("c", latency_ms=100, times=6)
    cluster.call("c", "failure", times=4)
    scores = {c.deployment_id: c.score for c in cluster.explain("a", "b", "c").candidates}
    a, b, c = (scores[name] / sum(scores.values()) for name in "abc")
    # The slow one is taken where it was drawn twice; of two that are as fast as each other, the first that was drawn.
    expected = {"a": a * (a + 2 * b + c), "b": b * b, "c": c * (a + 2 * b + c)}

    assert shares(cluster.draws("a", "b", "c", times=2000)) == pytest.approx(expected, abs=0.03)


def test_adaptive_draws_by_score_alone_while_no_latency_is_known(cluster: Cluster) -> None:
    cluster.configure("a", "b", load_weight=0, latency_weight=0, error_weight=1)
    cluster.call("a", "failure", times=3)
    scores = [candidate.score for candidate in cluster.explain("a", "b").candidates]

    assert shares(cluster.draws("a", "b", times=1000))["a"] == pytest.approx(scores[0] / sum(scores), abs=0.04)


def test_adaptive_takes_the_less_busy_of_two_that_are_as_fast(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for name in "ab":
        cluster.call(name, latency_ms=100)
    cluster.granted("a")

    assert shares(cluster.draws("a", "b", times=1000))["a"] == pytest.approx(0.25, abs=0.04)


def test_adaptive_turns_away_from_load(cluster: Cluster) -> None:
    cluster.configure(
        *(deployment_policy(name, limit=10) for name in "ab"), load_weight=1, latency_weight=0, error_weight=0
    )
    for _ in range(8):
        cluster.granted("a")

    assert shares(cluster.draws("a", "b", times=1000))["a"] == pytest.approx((0.2 / 1.2) ** 2, abs=0.02)


def test_adaptive_leaves_some_traffic_to_the_worst(cluster: Cluster) -> None:
    cluster.configure("a", "b", breaker_enabled=False)
    cluster.call("a", latency_ms=30)
    cluster.call("b", latency_ms=1999)

    assert cluster.draws("a", "b", times=300)["b"] > 30


def test_adaptive_shares_at_random_when_all_are_worthless(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c", breaker_enabled=False, load_weight=0, latency_weight=0, error_weight=1)
    for name in "abc":
        cluster.call(name, "failure", times=30)
    worthless = {c.score for c in cluster.explain("a", "b", "c").candidates}

    assert worthless == {0}
    assert min(cluster.draws("a", "b", "c", times=300).values()) > 60


# -- latency-based ----------------------------------------------------------------------------------------------


def test_latency_based_picks_the_fastest(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    for name, latency_ms in (("a", 300), ("b", 100), ("c", 200)):
        cluster.call(name, latency_ms=latency_ms)

    assert picks(cluster, "latency-based", 10, "a", "b", "c") == {"b": 10}


def test_latency_based_counts_what_already_waits(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=300)
    cluster.call("b", latency_ms=100)

    assert held(cluster, "latency-based", 40, "a", "b") == {"a": 10, "b": 30}


def test_latency_based_explores_the_unknown_first(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=30)

    assert cluster.granted("a", "b", strategy="latency-based").deployment_id == "b"


def test_latency_based_does_not_flood_the_unknown(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=100)

    assert held(cluster, "latency-based", 20, "a", "b")["b"] <= 2


def test_latency_based_tries_a_shunned_deployment_again(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("b", latency_ms=1000)
    for _ in range(30):
        cluster.call("a", latency_ms=100)
        cluster.advance(1000)
        if picks(cluster, "latency-based", 1, "a", "b")["b"]:
            break
    else:
        pytest.fail("b was never tried again")


def test_latency_based_doubled_weight_bears_doubled_latency(cluster: Cluster) -> None:
    cluster.configure("a", deployment_policy("b", weight=2))
    cluster.call("a", latency_ms=100)
    cluster.call("b", latency_ms=199)

    assert picks(cluster, "latency-based", 5, "a", "b") == {"b": 5}


# -- least-busy -------------------------------------------------------------------------------------------------


def test_least_busy_keeps_all_level(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")

    assert held(cluster, "least-busy", 30, "a", "b", "c") == {"a": 10, "b": 10, "c": 10}


def test_least_busy_levels_by_weight(cluster: Cluster) -> None:
    cluster.configure("a", deployment_policy("b", weight=3))

    assert held(cluster, "least-busy", 40, "a", "b") == {"a": 10, "b": 30}


def test_least_busy_sees_requests_of_other_models(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for _ in range(5):
        cluster.granted("a", strategy="random")

    assert held(cluster, "least-busy", 5, "a", "b") == {"b": 5}


# -- priority, usage, cost --------------------------------------------------------------------------------------


def test_priority_picks_the_highest_however_busy(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", priority=10), deployment_policy("b", priority=100))

    assert held(cluster, "priority", 50, "a", "b") == {"b": 50}


def test_priority_takes_the_next_when_the_highest_is_full(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", priority=10), deployment_policy("b", priority=100, limit=5))

    assert held(cluster, "priority", 8, "a", "b") == {"a": 3, "b": 5}


def test_equal_priorities_are_kept_level(cluster: Cluster) -> None:
    cluster.configure("a", "b", deployment_policy("c", priority=1))

    assert held(cluster, "priority", 20, "a", "b", "c") == {"a": 10, "b": 10}


def test_usage_based_picks_what_has_most_of_its_limit_left(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=10), deployment_policy("b", rpm=30))

    assert picks(cluster, "usage-based", 20, "a", "b") == {"a": 5, "b": 15}


def test_usage_based_shares_among_those_whose_limit_is_unused(cluster: Cluster) -> None:
    """However long one of them has been idle."""
    cluster.configure(*(deployment_policy(name, rpm=10, tpm=1000) for name in ("a", "b")))
    cluster.settle(cluster.granted("a", tokens=10))
    cluster.advance(3_600_000)

    assert set(cluster.draws("a", "b", strategy="usage-based", times=40)) == {"a", "b"}


def test_usage_based_prefers_the_unlimited(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=1000), "b")
    cluster.call("a", times=2)

    assert picks(cluster, "usage-based", 20, "a", "b") == {"b": 20}


def test_cost_based_picks_the_cheapest(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", price=12.5), deployment_policy("b", price=0.75))

    assert held(cluster, "cost-based", 20, "a", "b") == {"b": 20}


def test_equal_prices_are_kept_level(cluster: Cluster) -> None:
    cluster.configure(*(deployment_policy(name, price=1.0) for name in "ab"), deployment_policy("c", price=2.0))

    assert held(cluster, "cost-based", 20, "a", "b", "c") == {"a": 10, "b": 10}


# -- turns ------------------------------------------------------------------------------------------------------


def test_round_robin_takes_exact_turns_across_replicas(cluster: Cluster) -> None:
    cluster.configure("a", "b", deployment_policy("c", weight=9))
    picked = [cluster.granted("a", "b", "c", strategy="round-robin", replica=f"r{k % 4}") for k in range(9)]

    assert "".join(p.deployment_id for p in picked) == "abcabcabc"


def test_weighted_is_smooth(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", weight=5), "b", "c")

    assert burst(cluster, "weighted", "a", "b", "c") == "aabacaa"
    assert burst(cluster, "weighted", "a", "b", "c") == "aabacaa"


def test_weighted_gives_fractions_exactly(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", weight=0.5), deployment_policy("b", weight=1.5))

    assert picks(cluster, "weighted", 200, "a", "b") == {"a": 50, "b": 150}


def test_turns_go_on_without_a_candidate_that_is_away(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.force("b", "open")
    away = picks(cluster, "round-robin", 10, "a", "b", "c")
    cluster.force("b", "close")

    assert away == {"a": 5, "c": 5}
    assert set(picks(cluster, "round-robin", 9, "a", "b", "c").values()) == {3}


def test_random_ignores_weights(cluster: Cluster) -> None:
    cluster.configure("a", deployment_policy("b", weight=9, priority=100))

    assert shares(cluster.draws("a", "b", strategy="random", times=1000))["a"] == pytest.approx(0.5, abs=0.05)


# -- slow start -------------------------------------------------------------------------------------------------


# Of the half that is its usual share.
RAMP = pytest.mark.parametrize(("since_ms", "share"), [(0, 0.05), (15_000, 0.25), (30_000, 0.5)])


def recovered(cluster: Cluster, since_ms: int) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    cluster.recover("a")
    cluster.advance(since_ms)


@RAMP
@pytest.mark.parametrize("strategy", ["adaptive", "random"])
def test_recovered_deployment_is_drawn_more_and_more(
    cluster: Cluster, strategy: str, since_ms: int, share: float
) -> None:
    recovered(cluster, since_ms)

    assert shares(cluster.draws("a", "b", strategy=strategy, times=1000))["a"] == pytest.approx(share, abs=0.05)


@RAMP
@pytest.mark.parametrize("strategy", ["weighted", "round-robin"])
def test_recovered_deployment_gets_turns_more_and_more(
    cluster: Cluster, strategy: str, since_ms: int, share: float
) -> None:
    recovered(cluster, since_ms)

    assert shares(picks(cluster, strategy, 300, "a", "b"))["a"] == pytest.approx(share, abs=0.05)


def test_recovered_deployment_is_kept_a_tenth_as_busy_at_first(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    cluster.recover("a")

    assert 2 <= held(cluster, "least-busy", 110, "a", "b")["a"] <= 10


def test_deployment_that_never_tripped_starts_at_full_share(cluster: Cluster) -> None:
    cluster.configure("a", "b")

    assert shares(cluster.draws("a", "b", times=500))["a"] == pytest.approx(0.5, abs=0.06)


# -- no herd ----------------------------------------------------------------------------------------------------


def test_replicas_do_not_all_rush_to_the_same_deployment(cluster: Cluster) -> None:
    ids = [f"d{k}" for k in range(10)]
    cluster.configure(*(deployment_policy(name, limit=10) for name in ids))
    decisions = [cluster.acquire(*ids, strategy="least-busy", replica=f"r{k % 8}") for k in range(100)]

    assert Counter(d.deployment_id for d in decisions if isinstance(d, Permit)) == dict.fromkeys(ids, 10)
