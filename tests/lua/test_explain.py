"""explain: what acquire would decide now, with nothing written."""

import random

import pytest

from shared_state.errors import NotConfigured
from shared_state.money import Budget, Spending
from shared_state.policies import TenantLimits
from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy

STRATEGIES = ("adaptive", "latency-based", "least-busy", "priority", "weighted", "round-robin", "random", "usage-based")


def lively(cluster: Cluster, seed: int) -> None:
    """Five deployments in three tiers, in whatever state such a history leaves them."""
    draw = random.Random(seed)
    cluster.configure(
        *(
            deployment_policy(name, limit=3, weight=draw.choice((0.5, 1, 3)), priority=draw.randint(1, 3))
            for name in "abc"
        ),
        deployment_policy("d", rpm=5),
        deployment_policy("e", price=2.0, limit=20),
        max_active=20,
    )
    active: list[Permit] = []
    for _ in range(60):
        decision = cluster.acquire(draw.choice("abcde"), priority=0, replica=draw.choice(("r1", "r2")))
        if isinstance(decision, Permit):
            active.append(decision)
        if active and draw.random() < 0.7:
            outcome = draw.choice(("success", "success", "failure", "timeout", "throttled", "cancelled"))
            cluster.settle(active.pop(0), outcome, latency_ms=draw.choice((50, 500, 3000)))
        cluster.advance(draw.choice((0, 10, 2000)))


CHAIN = (("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 2))


@pytest.mark.parametrize("seed", range(8))
def test_explanation_agrees_with_the_next_acquire(cluster: Cluster, seed: int) -> None:
    lively(cluster, seed)
    for k in range(6):
        strategy = STRATEGIES[(seed + k) % len(STRATEGIES)]
        priority = (0, 25, 50, 75, 100)[k % 5]
        explanation = cluster.explain(*CHAIN, strategy=strategy, priority=priority, seed=1000 + k)
        decision = cluster.acquire(*CHAIN, strategy=strategy, priority=priority, seed=1000 + k)

        if isinstance(decision, Permit):
            assert explanation.picked == decision.deployment_id
        elif decision.code == "shed":
            assert (explanation.picked, explanation.shed_reason) == (None, decision.reason)
        else:
            assert explanation.picked is None
            assert tuple(c.verdict for c in explanation.candidates) == decision.verdicts


def test_explaining_writes_nothing(cluster: Cluster) -> None:
    lively(cluster, 1)
    cluster.trip("e")
    cluster.advance(40_000)
    before = cluster.dump()
    for strategy in STRATEGIES:
        cluster.explain(*CHAIN, strategy=strategy)

    assert cluster.dump() == before


def test_store_refuses_to_let_it_write(cluster: Cluster) -> None:
    lively(cluster, 2)

    assert cluster.explain(*CHAIN, seed=1, read_only=True) == cluster.explain(*CHAIN, seed=1)


def test_breaker_that_would_be_probed_is_shown_as_half_open(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    candidate = cluster.explain("a").candidates[0]

    assert (candidate.verdict, candidate.state) == ("eligible", "half_open")
    assert cluster.state("a") == "open"


def test_candidates_show_their_numbers(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=4), "b")
    cluster.granted("a")
    cluster.call("b", "throttled", retry_after_ms=5000)
    a, b = cluster.explain(("a", 0), ("b", 1)).candidates

    assert (a.verdict, a.tier, a.active, a.limit, a.wait_ms) == ("eligible", 0, 1, 4, 0)
    assert (b.verdict, b.tier, b.active, b.limit, b.wait_ms) == ("cooling", 1, 0, 200, 5000)


def test_shed_request_still_shows_its_candidates(cluster: Cluster) -> None:
    cluster.configure("a", max_active=1)
    cluster.granted("a", priority=0)
    explanation = cluster.explain("a")

    assert (explanation.shed_reason, explanation.picked) == ("active_requests", None)
    assert explanation.candidates[0].verdict == "eligible"


def test_unknown_deployment_is_not_configured(cluster: Cluster) -> None:
    cluster.configure("a")

    with pytest.raises(NotConfigured):
        cluster.explain("a", "b")


def test_store_without_policy_is_not_configured(cluster: Cluster) -> None:
    with pytest.raises(NotConfigured):
        cluster.explain("a")


def test_traced_decision_tells_what_it_thought_of_each_candidate(cluster: Cluster) -> None:
    cluster.configure("a", "b", deployment_policy("full", limit=1))
    cluster.granted("full")
    cluster.call("b", "failure")

    permit = cluster.granted("a", "b", "full", traced=True)
    explanation = cluster.explain("a", "b", "full")

    assert permit.verdicts == ("eligible", "eligible", "full")
    assert permit.verdicts[permit.position] == "eligible"
    assert permit.scores[0] > permit.scores[1]
    assert permit.scores[2] == explanation.candidates[2].score
    assert cluster.granted("a", "b").verdicts == ()
    assert cluster.rejected("full", traced=True).scores == (permit.scores[2],)


def test_budgets_refuse_here_what_acquire_would_refuse(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    team = TenantLimits(name="team-a")
    for costs in ((400, 300), (300, 400), (400, 400), (400, 0)):
        offer = Spending(Budget(1000, "day"), Budget(350, "total"), costs)
        explanation = cluster.explain("a", ("b", 1), tenant="team-a", spending=offer, read_only=True, seed=1)
        decision = cluster.acquire("a", ("b", 1), tenant=team, spending=offer, seed=1)

        assert [c.verdict == "over_budget" for c in explanation.candidates] == [cost > 350 for cost in costs]
        assert explanation.picked == (decision.deployment_id if isinstance(decision, Permit) else None)
        if isinstance(decision, Permit):
            cluster.settle(decision, cost=0)


def test_budget_of_another_tenant_refuses_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    offer = Spending(None, Budget(350, "total"), (200,))
    cluster.granted("a", tenant=TenantLimits(name="team-a"), spending=offer)

    verdicts = [cluster.explain("a", tenant=name, spending=offer).candidates[0].verdict for name in ("team-a", "b")]
    assert verdicts == ["over_budget", "eligible"]
