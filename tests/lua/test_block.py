"""acquire_block and settle_block: many decisions at once, each as acquire and settle would take it."""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_state.calls import replies
from shared_state.errors import NotConfigured
from shared_state.policies import UNLIMITED, TenantLimits
from shared_state.records import Ask, Outcome, Permit, Settlement
from tests.support.state import Cluster, deployment_policy

HOLD_MS = 1000
_numbers = itertools.count(1)


def tokens_of(count: int, replica: str = "r1", tenant: str = "") -> list[str]:
    return [f"{replica}.plain.b{next(_numbers)}{f' {tenant}' if tenant else ''}" for _ in range(count)]


def ask_block(
    cluster: Cluster,
    *candidates: str | tuple[str, int],
    tokens: Sequence[str],
    strategy: str = "adaptive",
    priority: int = 50,
    resend: int = 0,
    era: int = 1,
    tenant: TenantLimits = UNLIMITED,
    region: str = "",
    kind: str = "",
) -> tuple[list[Permit], str]:
    """The permits, and why there is none."""
    keys = cluster.keys
    chain = [c if isinstance(c, tuple) else (c, 0) for c in candidates]
    names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events]
    for deployment_id, _ in chain:
        names += keys.candidate(deployment_id)
    names += [keys.round_trips(region)] if region else []
    tiers = ",".join(str(tier) for _, tier in chain)
    arguments: list[Any] = [strategy, tiers, "epoch-1", priority, 7, HOLD_MS, resend, kind, *tokens, era]
    ids = tuple(deployment_id for deployment_id, _ in chain)
    found = replies.block_acquired(
        cluster.run("acquire_block", names, arguments), tokens, Ask(priority, tenant=tenant, kind=kind), ids
    )
    return found[0], found[1]


def block(cluster: Cluster, *candidates: str | tuple[str, int], count: int, **options: Any) -> list[Permit]:
    return ask_block(cluster, *candidates, tokens=tokens_of(count), **options)[0]


def settle_block(
    cluster: Cluster,
    permits: Sequence[Permit],
    *outcomes: str,
    latency_ms: int = 100,
    age_ms: int = 100,
    reason: str = "",
) -> Settlement:
    """Of one deployment; the last outcome goes for the rest."""
    keys, arguments = cluster.keys, ["epoch-1", 7]
    for position, permit in enumerate(permits):
        outcome = outcomes[min(position, len(outcomes) - 1)]
        final = int(outcome != "unused")
        arguments += [permit.token, outcome, permit.generation, latency_ms, 0, 0, 0, final, age_ms]
        arguments += [permit.ask.kind, reason]
    own = keys.candidate(permits[0].deployment_id)
    names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, *own]
    return replies.block_settled(cluster.run("settle_block", names, arguments))


def leases(cluster: Cluster, deployment_id: str = "a") -> int:
    return int(cluster.cli.do("ZCARD", cluster.keys.deployment_leases(deployment_id)))


# -- granting -------------------------------------------------------------------------------------------------


def test_block_is_leases(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = block(cluster, "a", count=20)

    assert [permit.generation for permit in permits] == [0] * 20
    assert (cluster.active("a"), cluster.snapshot().active, cluster.deployment("a")["active"]) == (20, 20, "20")


def test_block_ends_at_the_limit(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=30))
    counts = [len(block(cluster, "a", count=20)) for _ in range(3)]

    assert counts == [20, 10, 0]
    assert cluster.active("a") == 30
    assert cluster.rejected("a").verdicts == ("full",)


def test_block_ends_where_the_domain_is_full_for_its_priority(cluster: Cluster) -> None:
    cluster.configure("a", max_active=50)

    assert len(block(cluster, "a", count=100)) == 40
    assert len(block(cluster, "a", count=100, priority=0)) == 10
    assert ask_block(cluster, "a", tokens=tokens_of(2), priority=0) == ([], "refused")


def test_block_ends_at_the_rate_limit_and_what_is_unused_goes_back_to_it(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=30))
    first = block(cluster, "a", count=20)
    second = block(cluster, "a", count=20)
    settle_block(cluster, first, *["success"] * 5, "unused")
    third = block(cluster, "a", count=20)

    assert (len(first), len(second), len(third)) == (20, 10, 15)


@pytest.mark.parametrize("strategy", ["round-robin", "weighted", "least-busy", "latency-based", "usage-based"])
def test_block_is_spread_as_single_requests_would_be(cluster: Cluster, strategy: str) -> None:
    cluster.configure(deployment_policy("a", weight=1.0), deployment_policy("b", weight=1.0))
    spread = [permit.deployment_id for permit in block(cluster, "a", "b", count=20, strategy=strategy)]
    after = cluster.granted("a", "b", strategy=strategy)

    assert spread.count("a") == 10
    if strategy == "round-robin":
        assert (spread[0], after.deployment_id) == ("a", "a")
        assert spread == ["a", "b"] * 10


def test_block_continues_in_the_next_tier_when_the_first_is_full(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=5), "b")
    permits = block(cluster, "a", ("b", 1), count=12)

    assert [permit.deployment_id for permit in permits] == ["a"] * 5 + ["b"] * 7


def test_block_continues_far_away_nearest_first_when_home_is_full(cluster: Cluster) -> None:
    limits = {"eu": 2, "us": 9, "asia": 9}
    cluster.configure(*(deployment_policy(name, region=name, limit=limit) for name, limit in limits.items()))
    cluster.report_round_trips("eu", eu=1, us=80, asia=200)
    permits = block(cluster, "asia", "eu", "us", count=20, region="eu")

    assert [permit.deployment_id for permit in permits] == ["eu"] * 2 + ["us"] * 9 + ["asia"] * 9


def test_block_never_holds_a_probe_and_leaves_the_breaker_to_acquire(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    around = block(cluster, "a", "b", count=6)
    cluster.cool_down("a")
    before = cluster.dump()
    refused = ask_block(cluster, "a", "b", tokens=tokens_of(6))

    assert {permit.deployment_id for permit in around} == {"b"}
    assert refused == ([], "exact")
    assert cluster.dump() == before
    assert cluster.granted("a", "b").is_probe


def test_no_block_while_requests_wait(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1), "b")
    held = cluster.granted("a")
    cluster.rejected("a", waiting=1)
    cluster.settle(held)

    assert ask_block(cluster, "a", tokens=tokens_of(2)) == ([], "exact")
    cluster.advance(2001)
    assert len(block(cluster, "a", count=2)) == 1


def test_no_block_of_a_deployment_that_counts_tokens(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", tpm=1000))

    assert ask_block(cluster, "a", tokens=tokens_of(2)) == ([], "exact")


def test_tenant_of_a_block_has_its_leases(cluster: Cluster) -> None:
    cluster.configure("a")
    team = TenantLimits(name="team")
    permits = ask_block(cluster, "a", tokens=tokens_of(3, tenant="team"), tenant=team)[0]
    key = f"{cluster.keys.prefix}tenant_leases:team"
    before = cluster.cli.do("ZCARD", key)
    settle_block(cluster, permits, "success")

    assert (before, cluster.cli.do("EXISTS", key)) == (3, 0)


def test_block_before_the_configuration_is_empty(cluster: Cluster) -> None:
    with pytest.raises(NotConfigured):
        block(cluster, "a", count=2)


# -- leases of a block ----------------------------------------------------------------------------------------


def test_lease_of_a_block_lasts_as_long_as_one_that_is_granted_when_it_is_handed_out(cluster: Cluster) -> None:
    cluster.configure("a")
    block(cluster, "a", count=2)
    cluster.advance(75_000 + HOLD_MS - 1)
    before = cluster.snapshot()
    cluster.advance(1)
    after = cluster.snapshot()

    assert (before.active, before.deployments[0].active) == (2, 2)
    assert (after.active, after.deployments[0].active) == (0, 0)


def test_permits_that_wait_in_their_replica_are_no_hung_calls(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=100), "spare")
    cluster.call("a", latency_ms=10, times=20)
    cluster.advance(250)
    cluster.call("a", latency_ms=10)
    block(cluster, "a", ("spare", 1), count=10)
    cluster.advance(HOLD_MS)
    cluster.beat()
    at_the_end_of_the_hold = cluster.state("a")
    cluster.advance(1000)
    cluster.beat()

    assert (at_the_end_of_the_hold, cluster.state("a")) == ("closed", "open")


def test_leases_of_a_dead_replicas_blocks_are_reaped(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("dead")
    ask_block(cluster, "a", tokens=tokens_of(5, "dead"))
    ask_block(cluster, "a", tokens=tokens_of(3, "r1"))
    cluster.advance(5001)
    cluster.beat("r1")

    assert cluster.reap_chunk("dead", "a") == (5, -1)
    assert cluster.active("a") == 3


@given(counts=st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.integers(0, 2)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_resent_block_is_the_same_block_and_takes_nothing_more(
    cluster: Cluster, counts: list[tuple[int, bool, int]]
) -> None:
    cluster.flush()
    cluster.configure(deployment_policy("a", limit=9, rpm=40), deployment_policy("b", limit=11))
    for count, is_settled, resends in counts:
        tokens = tokens_of(count)
        first, _ = ask_block(cluster, "a", "b", tokens=tokens)
        active = cluster.active("a"), cluster.active("b")
        rate = cluster.deployment("a").get("arrival_at_ms")
        for resend in range(1, resends + 1):
            again, _ = ask_block(cluster, "a", "b", tokens=tokens, resend=resend)
            if first:
                assert [(p.token, p.deployment_id, p.generation) for p in again] == [
                    (p.token, p.deployment_id, p.generation) for p in first
                ]
        assert not first or (cluster.active("a"), cluster.active("b")) == active
        assert not first or cluster.deployment("a").get("arrival_at_ms") == rate
        assert cluster.active("a") <= 9
        assert cluster.active("b") <= 11
        if is_settled:
            for name in ("a", "b"):
                own = [permit for permit in first if permit.deployment_id == name]
                for _ in range(2 if own else 0):
                    settle_block(cluster, own, "success", "unused")
    assert sum(map(cluster.active, "ab")) == cluster.snapshot().active


def test_doubtful_block_that_was_not_granted_stays_so(cluster: Cluster) -> None:
    cluster.configure("a")

    assert ask_block(cluster, "a", tokens=tokens_of(2), resend=2) == ([], "not_granted")
    assert leases(cluster) == 0


def test_overtaken_block_is_empty(cluster: Cluster) -> None:
    cluster.configure("a")
    block(cluster, "a", count=2, era=3)

    assert ask_block(cluster, "a", tokens=tokens_of(2), era=2) == ([], "overtaken")


def test_resent_block_tells_the_generation_it_was_granted_in(cluster: Cluster) -> None:
    cluster.configure("a")
    tokens = tokens_of(2)
    ask_block(cluster, "a", tokens=tokens)
    cluster.advance(10)
    cluster.trip("a")

    assert [permit.generation for permit in ask_block(cluster, "a", tokens=tokens, resend=1)[0]] == [0, 0]
    assert settle_block(cluster, ask_block(cluster, "a", tokens=tokens, resend=1)[0], "failure").state == "open"


# -- settling -------------------------------------------------------------------------------------------------


def learned(cluster: Cluster) -> dict[str, Any]:
    """All but the jitter of a cooldown, which each call of settle draws for itself."""
    shown = cluster.snapshot(detail=2)
    deployment = shown.deployments[0]
    stored = deployment.stored
    names = ("state", "generation", "trips", "open_reason", "adapted", "ewma_ms", "active")
    kept = {name: stored.get(name) for name in (*names, "consecutive_failures", "consecutive_slow")}
    return {
        "deployment": msgspec.structs.replace(deployment, stored=kept, wait_ms=0, last_error_at_ms=0),
        "error_age_ms": deployment.last_error_at_ms and cluster.now_ms - deployment.last_error_at_ms,
        "cools_ms": int(stored.get("cool_until_ms", cluster.now_ms)) - cluster.now_ms,
        "requests": (shown.requests, shown.failures),
        "events": [(event["to"], event.get("error")) for event in cluster.events("a")],
    }


OUTCOMES = st.sampled_from([outcome.value for outcome in Outcome])


@given(calls=st.lists(st.tuples(OUTCOMES, st.sampled_from([20, 300, 2500])), min_size=1, max_size=24))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_block_of_endings_teaches_what_they_teach_one_by_one(cluster: Cluster, calls: list[tuple[str, int]]) -> None:
    seen = []
    for is_block in (False, True):
        cluster.flush()
        cluster.configure(deployment_policy("a", concurrency="adaptive"), version=1, min_calls=4)
        cluster.call("a", latency_ms=50)
        permits = block(cluster, "a", count=len(calls), kind="chat")
        assert len(permits) == len(calls)
        cluster.advance(300)
        if is_block:
            keys, arguments = cluster.keys, ["epoch-1", 7]
            for permit, (outcome, latency_ms) in zip(permits, calls, strict=True):
                arguments += [permit.token, outcome, permit.generation, latency_ms, 0, 0, 0, 1, 300 - HOLD_MS]
                arguments += ["chat", f"{outcome} after {latency_ms}"]
            names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, *keys.candidate("a")]
            cluster.run("settle_block", names, arguments)
        else:
            for permit, (outcome, latency_ms) in zip(permits, calls, strict=True):
                cluster.settle(permit, outcome, latency_ms=latency_ms, reason=f"{outcome} after {latency_ms}")
        seen.append(learned(cluster))

    assert seen[0] == seen[1]


def test_endings_of_a_block_open_the_breaker_in_their_order(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = block(cluster, "a", count=12)
    settled = settle_block(cluster, permits, *["failure"] * 4, "success", *["failure"] * 5, "success")

    assert (settled.is_known, settled.state, settled.generation) == (True, "open", 1)
    assert [event["reason"] for event in cluster.events("a")] == ["consecutive_failures"]


def test_success_between_failures_keeps_the_breaker_closed(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = block(cluster, "a", count=9)

    assert settle_block(cluster, permits, *["failure"] * 4, "success", "failure").state == "closed"


def test_endings_from_before_the_breaker_opened_do_not_move_it(cluster: Cluster) -> None:
    cluster.configure("a")
    old = block(cluster, "a", count=10)
    cluster.trip("a")
    cluster.recover("a")
    settled = settle_block(cluster, old, "failure")

    assert (settled.state, cluster.snapshot().deployments[0].failures) == ("closed", 0)


def test_settling_a_block_twice_is_once(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = block(cluster, "a", count=5)
    known = [settle_block(cluster, permits, "success").is_known for _ in range(3)]

    assert known == [True, False, False]
    assert cluster.snapshot().deployments[0].requests == 5


def test_unused_permits_say_nothing_of_the_deployment(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = block(cluster, "a", count=20)
    settle_block(cluster, permits, "unused")
    shown = cluster.snapshot()

    assert (shown.active, shown.requests, shown.deployments[0].requests) == (0, 0, 0)
    assert (leases(cluster), cluster.deployment("a")["active"]) == (0, "0")


def test_retry_budget_grows_by_the_permits_that_are_used(cluster: Cluster) -> None:
    cluster.configure("a", retry_ratio=0.5, retry_floor_per_second=0)
    permits = block(cluster, "a", count=20)
    after_the_grant = cluster.snapshot().retry_tokens
    settle_block(cluster, permits, *["success"] * 4, "unused")

    assert (after_the_grant, cluster.snapshot().retry_tokens) == (40, 32)


def test_block_of_endings_tells_those_who_wait(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=2))
    permits = block(cluster, "a", count=2)
    cluster.rejected("a", waiting=1)
    settle_block(cluster, permits, "success")

    assert isinstance(cluster.acquire("a", waiting=1), Permit)
