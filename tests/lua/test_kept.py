"""What a library keeps between calls is never seen: its decisions and what it leaves are those of scripts that keep
nothing.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from shared_state.embedded import EmbeddedStore
from shared_state.policies import DeploymentPolicy, TenantLimits
from shared_state.records import Permit, Rejection
from shared_state.scripts import Script
from tests.lua.test_block import block, settle_block
from tests.support.state import KEPT_MS, Cluster, Strings, deployment_policy
from tests.support.stores import RedisCli

IDS = ("a", "b", "c")
STRATEGIES = ("adaptive", "weighted", "latency-based", "least-busy", "usage-based", "random")
OUTCOMES = ("success", "success", "success", "failure", "timeout", "throttled", "cancelled", "unsupported")
ACTIONS = ("open", "close", "disable", "drain", "reset")
AFFINITY: dict[str, Any] = {"affinity_ttl_ms": 20_000, "affinity_band": 0.5, "affinity_entries": 12}
SESSIONS = ("", "s1", "s2", "s3 p1", "s4 p2 p1", "s5", "+s1", "+s6", "+s7 p1")
MOST_KEPT = 32  # as in kept.lua
STEPS, SEEDS = 250, range(6)
TENANT = TenantLimits(name="team", rpm=10_000, tpm=100_000)
OPERATOR_MS = 5  # between a change by hand and the call that follows


@pytest.fixture(scope="session")
def form() -> str:
    """These tests choose for themselves."""
    return "library"


@pytest.fixture
def clis(server: EmbeddedStore, scripts: dict[str, Script]) -> Iterator[list[RedisCli]]:
    with RedisCli(server.url, "library") as library, RedisCli(server.url, "script") as script:
        for cli in (library, script):
            cli.load(scripts.values())
        yield [library, script]


class Pair:
    """Two domains that get the same calls: on one each call in the form that chance picks, on the other scripts."""

    def __init__(self, clis: list[RedisCli], scripts: dict[str, Script], seed: int) -> None:
        self.clis, self.chance = clis, random.Random(seed)
        self.clusters = [Cluster(clis[0], scripts), Cluster(clis[1], scripts)]
        self.permits: list[list[Permit]] = [[], []]

    def each(self, call: Callable[[Cluster, list[Permit]], object]) -> None:
        self.clusters[0].cli = self.clis[self.chance.random() < 0.25]
        replies = [call(cluster, permits) for cluster, permits in zip(self.clusters, self.permits, strict=True)]

        assert replies[0] == replies[1]
        assert self.stored(0) == self.stored(1)

    def stored(self, number: int) -> list[Strings]:
        cluster = self.clusters[number]
        pins = [cluster.pins(parity) for parity in (0, 1)]
        return [cluster.domain(), *(cluster.deployment(name) for name in IDS), *pins]

    def step(self, number: int) -> None:
        chance = self.chance
        kind, strategy, pick = chance.random(), chance.choice(STRATEGIES), chance.random()
        outcome, latency_ms = chance.choice(OUTCOMES), chance.randrange(20, 4000)
        name, call, session = chance.choice(IDS), chance.choice(("", "chat")), chance.choice(SESSIONS)

        def acquire(cluster: Cluster, permits: list[Permit]) -> object:
            ask: dict[str, Any] = {"tenant": TENANT, "tokens": 9, "kind": call, "session": session}
            decision = cluster.acquire("a", "b", ("c", 1), strategy=strategy, **ask)
            if isinstance(decision, Rejection):
                return decision
            permits.append(decision)
            return decision.position, decision.generation, decision.sequence, decision.is_probe, decision.affinity

        def settle(cluster: Cluster, permits: list[Permit]) -> object:
            permit = permits.pop(int(pick * len(permits))) if permits else None
            if permit is None:
                return None
            learned = f"={pick:.3f}" if outcome == "success" else b" ".join(permit.ask.session).decode()
            return cluster.settle(permit, outcome, latency_ms=latency_ms, tokens=7, reason="why", learned=learned)

        def blocks(cluster: Cluster, _: list[Permit]) -> object:
            permits = block(cluster, "a", "b", count=3)
            for name in {each.deployment_id: None for each in permits}:
                settle_block(cluster, [each for each in permits if each.deployment_id == name], outcome)
            return [each.position for each in permits]

        if kind < 0.45:
            self.each(acquire)
        elif kind < 0.80:
            self.each(settle)
        elif kind < 0.85:
            self.each(blocks)
        elif kind < 0.93:
            self.each(lambda cluster, _: cluster.advance(int(1 / (pick + 0.0001)) + 20))
        elif kind < 0.95:
            self.each(lambda cluster, _: cluster.force(name, ACTIONS[int(pick * len(ACTIONS))]))
        elif kind < 0.97:
            self.each(lambda cluster, _: cluster.configure(*(policy(each, 3 + number % 5) for each in IDS), **AFFINITY))
        else:
            self.each(lambda cluster, _: cluster.beat() and None)


def policy(name: str, limit: int) -> DeploymentPolicy:
    tpm = 100_000 if name == "c" else None
    return deployment_policy(
        name, limit=limit, rpm=5000, tpm=tpm, concurrency="adaptive", latency_threshold_ms=None, token_allowance_ms=1
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_library_and_scripts_decide_alike_and_leave_the_same(
    clis: list[RedisCli], scripts: dict[str, Script], seed: int
) -> None:
    pair = Pair(clis, scripts, seed)
    pair.each(lambda cluster, _: cluster.configure(*(policy(each, 4) for each in IDS), **AFFINITY))
    for number in range(STEPS):
        pair.step(number)

    assert int(pair.clusters[0].domain()["affinity_turn"]) > 1, "the two hashes of pins changed places"
    assert pair.clusters[0].domain()["sequence"] == pair.clusters[1].domain()["sequence"]


def test_changed_configuration_is_seen_at_once(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=2))
    cluster.granted("a")
    cluster.configure(deployment_policy("a", limit=1))

    assert cluster.rejected("a").verdicts == ("full",)


def test_changed_policy_of_the_router_is_seen_at_once(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.granted("a")
    cluster.configure("a", max_active=1)

    assert cluster.rejected("a").reason == "active_requests"


def test_what_an_operator_writes_by_hand_is_seen_soon(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.granted("a")
    cluster.cli.do("HSET", cluster.keys.deployment("a"), "state", "disabled")
    cluster.advance(KEPT_MS)

    assert cluster.rejected("a").verdicts == ("disabled",)


def test_flushed_domain_is_forgotten_at_once(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.granted("a")
    cluster.flush()
    cluster.configure("a", version=1)
    cluster.granted("a")

    assert cluster.active("a") == 1


def test_epoch_of_another_store_is_another_state(cluster: Cluster) -> None:
    """A master that comes back may have the same sequence number, of another history."""
    cluster.configure("a", "b")
    cluster.granted("a")
    cluster.cli.do("HSET", cluster.keys.domain, "epoch", "another")
    cluster.cli.do("HSET", cluster.keys.deployment("a"), "state", "disabled")

    assert cluster.rejected("a").verdicts == ("disabled",)


def test_clock_of_another_history_is_another_state(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.granted("a")
    cluster.cli.do("HINCRBY", cluster.keys.domain, "clock_ms", -OPERATOR_MS)
    cluster.cli.do("HSET", cluster.keys.deployment("a"), "state", "disabled")

    assert cluster.rejected("a").verdicts == ("disabled",)


def test_what_a_failed_call_has_not_written_is_not_kept(cluster: Cluster) -> None:
    """Its window is of the wrong type: the call fails after it has learned, and before it writes."""
    cluster.configure("a")
    cluster.call("a", latency_ms=100)
    permit = cluster.granted("a")
    window = cluster.keys.deployment_window("a")
    cluster.cli.do("RENAME", window, f"{cluster.keys.prefix}aside")
    cluster.cli.do("HSET", window, "of another", "type")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        cluster.settle(permit, latency_ms=900)
    cluster.cli.do("RENAME", f"{cluster.keys.prefix}aside", window)
    cluster.granted("a")
    cluster.call("a", latency_ms=50)

    assert float(cluster.deployment("a")["ewma_ms"]) <= 100


def test_more_domains_than_are_kept_do_not_mix(cli: RedisCli, scripts: dict[str, Script]) -> None:
    clusters = [Cluster(cli, scripts) for _ in range(MOST_KEPT + 8)]
    for number, cluster in enumerate(clusters):
        cluster.configure(deployment_policy("a", limit=1 + number % 3))
    turns = [[isinstance(cluster.acquire("a"), Permit) for cluster in clusters] for _ in range(4)]
    granted = [sum(turn[number] for turn in turns) for number in range(len(clusters))]

    assert granted == [1 + number % 3 for number in range(len(clusters))]
