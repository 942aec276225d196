"""The slow start: what recovering deployments get of the traffic, second by second, in virtual time."""

from collections import Counter

import pytest

from shared_state.policies import DeploymentPolicy
from tests.support.state import Candidate, Cluster, deployment_policy

SECONDS = (0, 5, 10, 20, 30)
STRATEGIES = (
    *("adaptive", "latency-based", "least-busy", "priority", "weighted", "round-robin"),
    *("random", "usage-based", "cost-based"),
)


def ramp(second: float) -> float:
    """As documented: from 10 % to all of it in 30 s."""
    return min(1.0, max(0.1, second / 30))


def recovered(cluster: Cluster, *names: str) -> None:
    """All of them at the same moment."""
    for name in names:
        cluster.trip(name)
    for name in names:
        cluster.force(name, "close")
        cluster.cli.do("HSET", cluster.keys.deployment(name), "changed_at_ms", cluster.now_ms)


def shares(cluster: Cluster, chain: tuple[Candidate, ...], *names: str, times: int = 400) -> list[float]:
    """What the named ones get together, at each of the seconds."""
    found, before = [], 0
    for second in SECONDS:
        cluster.advance(1000 * (second - before))
        before = second
        counts = cluster.draws(*chain, times=times)
        found.append(sum(counts[name] for name in names) / times)
    return found


MEMBERS = pytest.mark.parametrize("members", [1, 2, 4])


@MEMBERS
def test_whole_tier_that_recovers_follows_the_ramp_however_many_it_has(cluster: Cluster, members: int) -> None:
    names = [f"m{k}" for k in range(members)]
    cluster.configure(*names, "fallback")
    recovered(cluster, *names)

    found = shares(cluster, (*names, ("fallback", 1)), *names)

    assert found == pytest.approx([ramp(second) for second in SECONDS], abs=0.08)


@MEMBERS
@pytest.mark.parametrize("settled", [1, 3])
def test_recovering_members_get_the_ramps_part_of_their_share(cluster: Cluster, members: int, settled: int) -> None:
    names, others = [f"m{k}" for k in range(members)], [f"s{k}" for k in range(settled)]
    cluster.configure(*names, *others)
    recovered(cluster, *names)
    usual = members / (members + settled)

    found = shares(cluster, (*names, *others), *names)

    assert found == pytest.approx([usual * ramp(second) for second in SECONDS], abs=0.08)


def test_each_of_several_that_recover_gets_the_same(cluster: Cluster) -> None:
    names = [f"m{k}" for k in range(4)]
    cluster.configure(*names, "settled")
    recovered(cluster, *names)
    cluster.advance(15_000)
    counts = cluster.draws(*names, "settled", times=1000)

    assert [counts[name] / 1000 for name in names] == pytest.approx([0.1] * 4, abs=0.04)


def preferred(name: str) -> DeploymentPolicy:
    """What every strategy that compares would pick first."""
    return deployment_policy(name, priority=100, price=0.0, weight=5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_gives_a_recovering_deployment_more_than_the_ramp(cluster: Cluster, strategy: str) -> None:
    cluster.configure(preferred("a"), deployment_policy("b", priority=1, price=9.0, rpm=100_000))
    recovered(cluster, "a")
    counts: Counter[str] = Counter()
    for _ in range(200):
        permit = cluster.granted("a", "b", strategy=strategy)
        counts[permit.deployment_id] += 1
        cluster.settle(permit, "cancelled")

    assert counts["a"] <= 200 * 0.2
    assert counts["b"] == 200 - counts["a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_calls_that_last_do_not_raise_the_share_either(cluster: Cluster, strategy: str) -> None:
    """Of a second's calls all are still active, so that the recovering one looks idle to whom compares."""
    names = [f"m{k}" for k in range(4)]
    cluster.configure(*names, "s")
    recovered(cluster, *names)
    counts = Counter(cluster.granted(*names, "s", strategy=strategy).deployment_id for _ in range(150))

    assert 150 - counts["s"] <= 150 * 0.2


def test_without_anybody_else_the_recovering_ones_take_everything(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.force("c", "disable")
    recovered(cluster, "a", "b")

    assert set(cluster.draws("a", "b", ("c", 1), times=100)) == {"a", "b"}


def test_rest_of_a_tier_that_fails_is_not_what_keeps_the_traffic(cluster: Cluster) -> None:
    """A settled sibling without health is no place for it: the fallback is."""
    cluster.configure("a", "b", "c", breaker_enabled=False, min_health=50)
    cluster.call("b", "failure", times=40)
    cluster.cli.do("HSET", cluster.keys.deployment("a"), "generation", 1, "changed_at_ms", cluster.now_ms)

    counts = cluster.draws("a", "b", ("c", 1), times=200)

    assert counts["b"] == 0
    assert counts["a"] / 200 == pytest.approx(0.1, abs=0.08)


def test_fallback_that_recovers_too_is_not_flooded_by_what_the_tier_does_not_take(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    recovered(cluster, "a")
    cluster.advance(20_000)
    recovered(cluster, "b")
    counts = cluster.draws("a", ("b", 1), times=400)

    assert counts["b"] == 0


def test_members_that_recover_one_after_the_other_join_by_their_own_ramp(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    recovered(cluster, "a")
    cluster.advance(20_000)
    recovered(cluster, "b")
    counts = cluster.draws("a", "b", ("c", 1), times=1000)

    assert counts["b"] / 1000 == pytest.approx(0.05, abs=0.03)
    assert counts["c"] / 1000 == pytest.approx(1 / 3, abs=0.06)


# -- weights ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights",
    [
        *((90, 9, 1), (0.7, 0.2, 0.1), (0.0015, 0.001), (0.333, 0.667), (1e6, 1), (0.0014, 0.0014, 0.0012), (1, 0.001)),
        *((1e9, 0.001), (1e9, 999_999_999, 0.5), (1 / 3, 1 / 7, 1 / 11)),
    ],
)
def test_turns_are_exact_in_proportion_whatever_the_weights(cluster: Cluster, weights: tuple[float, ...]) -> None:
    names = [f"w{k}" for k in range(len(weights))]
    cluster.configure(*(deployment_policy(name, weight=weight) for name, weight in zip(names, weights, strict=True)))
    counts: Counter[str] = Counter()
    for k in range(200):
        permit = cluster.granted(*names, strategy="weighted", replica=f"r{k % 3}")
        counts[permit.deployment_id] += 1
        cluster.settle(permit, "cancelled")
    total = sum(weights)

    for name, weight in zip(names, weights, strict=True):
        assert abs(counts[name] - 200 * weight / total) <= len(weights) - 1
        # What was not given yet is kept to the last digit, so that no turn is lost however rare it is.
        credit = float(cluster.deployment(name)["current_weight"])
        assert credit == pytest.approx(200 * weight - counts[name] * total, abs=1e-12 * 200 * total)


@pytest.mark.parametrize(("weights", "active"), [((3, 1), (75, 25)), ((0.003, 0.001), (75, 25)), ((1e6, 1), (100, 0))])
def test_level_keeping_is_in_proportion_to_weights(
    cluster: Cluster, weights: tuple[float, ...], active: tuple[int, ...]
) -> None:
    cluster.configure(*(deployment_policy(f"w{k}", weight=weight) for k, weight in enumerate(weights)))
    counts = Counter(cluster.granted("w0", "w1", strategy="least-busy").deployment_id for _ in range(100))

    assert abs(counts["w0"] - active[0]) <= 1
