"""Budgets: what a call may cost is reserved when it is granted, and what it did cost counts when it has ended."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from shared_state.money import Budget, Per, Spending
from shared_state.policies import TenantLimits
from shared_state.records import Permit, Rejection
from shared_state.scripts import Script
from tests.support.state import START_MS, Cluster, deployment_policy
from tests.support.stores import RedisCli

TEAM = TenantLimits(name="team-a")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def spending(*costs: int, domain: int | None = None, tenant: int | None = None, per: Per = "total") -> Spending:
    budgets = [None if amount is None else Budget(amount, per) for amount in (domain, tenant)]
    return Spending(budgets[0], budgets[1], costs)


@pytest.fixture(autouse=True)
def configured(cluster: Cluster) -> None:
    cluster.configure("a", "b")


def money(cluster: Cluster, scope: str = "domain") -> tuple[int, int]:
    """Spent and reserved."""
    account = cluster.account(scope)
    return int(account.get("spent", 0)), int(account.get("reserved", 0))


def reservations(cluster: Cluster) -> dict[bytes, bytes]:
    found = cluster.cli.do("HGETALL", f"{cluster.keys.prefix}reservations")
    assert isinstance(found, dict)
    return found


def test_estimate_is_reserved_and_true_cost_is_spent(cluster: Cluster) -> None:
    permit = cluster.granted("a", spending=spending(400, domain=1000))
    before = money(cluster)
    cluster.settle(permit, cost=150)

    assert (before, money(cluster), reservations(cluster)) == ((0, 400), (150, 0), {})


def test_call_of_unknown_cost_spends_its_estimate(cluster: Cluster) -> None:
    cluster.settle(cluster.granted("a", spending=spending(400, domain=1000)), "timeout")

    assert money(cluster) == (400, 0)


def test_settling_twice_is_once(cluster: Cluster) -> None:
    permit = cluster.granted("a", spending=spending(400, domain=1000))
    for _ in range(2):
        cluster.settle(permit, cost=150)

    assert money(cluster) == (150, 0)


def test_resent_acquire_reserves_once(cluster: Cluster) -> None:
    for resend in range(3):
        cluster.granted("a", token="r1.plain.x", resend=resend, spending=spending(400, domain=1000))

    assert money(cluster) == (0, 400)


def test_acquire_that_is_resent_after_its_lease_pays_for_the_first_time_too(cluster: Cluster) -> None:
    """Nobody knows whether the provider was called meanwhile."""
    for resend in range(2):
        permit = cluster.granted("a", token="r1.plain.x", resend=resend, spending=spending(400, domain=1000))
        cluster.advance(75_000 if not resend else 0)
    before = money(cluster)
    cluster.settle(permit, cost=100)

    assert (before, money(cluster), reservations(cluster)) == ((400, 400), (500, 0), {})


def test_domain_and_tenant_both_have_to_fit_and_both_pay(cluster: Cluster) -> None:
    offer = spending(400, domain=1000, tenant=500)
    cluster.settle(cluster.granted("a", tenant=TEAM, spending=offer), cost=300)
    rejection = cluster.rejected("a", tenant=TEAM, spending=offer)

    assert (rejection.code, rejection.reason) == ("over_budget", "tenant")
    assert money(cluster) == money(cluster, "tenant:team-a") == (300, 0)


def test_refusal_reserves_nothing_and_names_every_candidate(cluster: Cluster) -> None:
    rejection = cluster.rejected("a", ("b", 1), spending=spending(400, 300, domain=299))

    assert (rejection.code, rejection.reason, rejection.retry_after_ms) == ("over_budget", "domain", 0)
    assert rejection.verdicts == ("over_budget", "over_budget")
    assert (cluster.account(), reservations(cluster)) == ({}, {})


def test_cheaper_candidate_that_fits_is_taken(cluster: Cluster) -> None:
    permit = cluster.granted("a", ("b", 1), spending=spending(400, 300, domain=350))

    assert (permit.deployment_id, permit.reserved, money(cluster)) == ("b", 300, (0, 300))


def test_nothing_left_still_lets_in_what_costs_nothing(cluster: Cluster) -> None:
    permit = cluster.granted("a", "b", spending=spending(1, 0, domain=0))

    assert (permit.deployment_id, reservations(cluster)) == ("b", {})
    assert "reserved" not in cluster.account()


def test_overdrawn_budget_still_lets_in_what_costs_nothing(cluster: Cluster) -> None:
    """A new configuration may set an amount that is spent already."""
    cluster.settle(cluster.granted("a", spending=spending(400, domain=1000)), cost=400)

    assert cluster.granted("a", "b", spending=spending(1, 0, domain=100)).deployment_id == "b"
    assert cluster.rejected("a", spending=spending(1, domain=100)).code == "over_budget"


def test_candidate_that_fits_but_is_full_is_no_matter_of_money(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1), "b")
    cluster.granted("a")
    rejection = cluster.rejected("a", "b", spending=spending(1, 9, domain=5))

    assert (rejection.code, rejection.verdicts) == ("none", ("full", "over_budget"))


def test_request_without_budget_leaves_no_trace_of_money(cluster: Cluster) -> None:
    cluster.call("a", times=3)

    assert [key for key in cluster.dump() if "budget" in key or "reserv" in key] == []


@pytest.mark.parametrize(
    ("per", "period", "turns_at"),
    [
        ("hour", "2023-11-14T22", datetime(2023, 11, 14, 23, tzinfo=UTC)),
        ("day", "2023-11-14", datetime(2023, 11, 15, tzinfo=UTC)),
        ("month", "2023-11", datetime(2023, 12, 1, tzinfo=UTC)),
    ],
)
def test_period_turns_and_takes_along_what_is_reserved(
    cluster: Cluster, per: Per, period: str, turns_at: datetime
) -> None:
    turns_at_ms = int(turns_at.timestamp() * 1000)
    cluster.settle(cluster.granted("a", spending=spending(700, domain=1000, per=per)), cost=700)
    rejection = cluster.rejected("a", spending=spending(301, domain=1000, per=per))
    assert (rejection.code, rejection.retry_after_ms) == ("over_budget", turns_at_ms - START_MS)
    assert cluster.account()["period"] == period

    cluster.set_clock(turns_at_ms - 1)
    held = cluster.granted("a", spending=spending(300, domain=1000, per=per))
    cluster.set_clock(turns_at_ms)
    cluster.granted("a", spending=spending(700, domain=1000, per=per))
    assert money(cluster) == (0, 1000)
    cluster.settle(held, cost=200)
    assert money(cluster) == (200, 700)


@pytest.mark.parametrize("year", [1999, 2000, 2023, 2024, 2100, 2199])
def test_every_month_has_its_days(cluster: Cluster, year: int) -> None:
    for month in range(1, 13):
        first = datetime(year, month, 1, tzinfo=UTC)
        following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        for moment_s, name in ((first.timestamp(), first), (following.timestamp() - 1, first)):
            cluster.flush()
            cluster.set_clock(int(moment_s * 1000))
            cluster.configure("a")
            cluster.granted("a", spending=spending(1, domain=1, per="month"))
            account = cluster.account()
            assert account["period"] == f"{name:%Y-%m}"
            assert int(account["ends_at_ms"]) == following.timestamp() * 1000


def test_another_kind_of_period_begins_with_what_was_spent(cluster: Cluster) -> None:
    cluster.settle(cluster.granted("a", spending=spending(600, domain=1000, per="day")), cost=600)
    rejection = cluster.rejected("a", spending=spending(500, domain=1000, per="month"))

    assert rejection.code == "over_budget"
    cluster.granted("a", spending=spending(400, domain=1000, per="month"))
    assert (cluster.account()["per"], cluster.account()["period"]) == ("month", "2023-11")


def test_reservation_of_calls_under_way_is_worth_coming_back_for(cluster: Cluster) -> None:
    cluster.granted("a", spending=spending(900, domain=1000))

    assert cluster.rejected("a", spending=spending(200, domain=1000)).retry_after_ms == 1000


def test_what_fits_exactly_once_others_have_given_back_is_worth_coming_back_for(cluster: Cluster) -> None:
    cluster.settle(cluster.granted("a", spending=spending(300, domain=1000)), cost=300)
    cluster.granted("a", spending=spending(700, domain=1000))

    assert cluster.rejected("a", spending=spending(700, domain=1000)).retry_after_ms == 1000
    assert cluster.rejected("a", spending=spending(701, domain=1000)).retry_after_ms == 0


def test_what_is_more_than_a_whole_budget_no_turn_of_its_period_lets_in(cluster: Cluster) -> None:
    assert cluster.rejected("a", spending=spending(1001, domain=1000, per="hour")).retry_after_ms == 0
    assert cluster.rejected("a", spending=spending(1000, 1001, domain=999, per="hour")).retry_after_ms == 0


@pytest.mark.parametrize(("domain", "tenant"), [("hour", "day"), ("day", "hour")])
def test_of_two_budgets_that_refuse_the_later_turn_counts(cluster: Cluster, domain: Per, tenant: Per) -> None:
    offer = Spending(Budget(1000, domain), Budget(1000, tenant), (600,))
    cluster.settle(cluster.granted("a", tenant=TEAM, spending=offer), cost=600)
    rejection = cluster.rejected("a", tenant=TEAM, spending=offer)

    assert (rejection.reason, rejection.retry_after_ms) == ("domain", DAY_MS - START_MS % DAY_MS)


def test_of_two_candidates_the_sooner_one_counts(cluster: Cluster) -> None:
    cluster.settle(cluster.granted("a", spending=spending(500, domain=1000, per="day")), cost=500)
    cluster.granted("a", spending=spending(400, domain=1000, per="day"))

    for costs in ((600, 300), (300, 600)):
        assert cluster.rejected("a", "b", spending=spending(*costs, domain=1000, per="day")).retry_after_ms == 1000


def test_recovery_of_a_candidate_that_fits_sets_the_wait(cluster: Cluster) -> None:
    cluster.settle(cluster.granted("a", spending=spending(0, domain=1000)), "throttled", retry_after_ms=20_000)
    cluster.granted("b", spending=spending(900, domain=1000))
    rejection = cluster.rejected("a", "b", spending=spending(100, 200, domain=1000))

    assert (rejection.code, rejection.verdicts) == ("none", ("cooling", "over_budget"))
    assert rejection.retry_after_ms == 20_000


def test_dead_replica_is_charged_what_it_had_reserved(cluster: Cluster) -> None:
    cluster.beat("r1")
    cluster.granted("a", spending=spending(400, domain=1000))
    cluster.advance(5001)
    cluster.reap_chunk("r1", "a")

    assert (money(cluster), reservations(cluster)) == ((400, 0), {})


def test_expired_lease_is_charged_once_and_a_late_settle_changes_nothing(cluster: Cluster) -> None:
    permit = cluster.granted("a", spending=spending(400, domain=1000))
    cluster.advance(75_000)
    for _ in range(2):
        cluster.beat("r1")
        cluster.advance(1000)
    cluster.settle(permit, cost=1)

    assert (money(cluster), reservations(cluster)) == ((400, 0), {})


def test_more_leases_than_one_beat_ends_go_with_the_next(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=600), max_active=600)
    for _ in range(501):
        cluster.granted("a", spending=spending(2, domain=10_000), priority=0)
        cluster.advance(1)
    cluster.advance(75_000)
    left = []
    for _ in range(2):
        cluster.beat("r1")
        left.append(len(reservations(cluster)))
        cluster.advance(1000)

    assert (left, money(cluster)) == ([1, 0], (1002, 0))


# -- what a store is told ---------------------------------------------------------------------------------------


def test_store_that_lost_its_budget_learns_the_least_that_was_spent(cluster: Cluster) -> None:
    cluster.recount(("spent", "domain", "total total", 700))
    cluster.recount(("spent", "domain", "total total", 600))

    assert cluster.rejected("a", spending=spending(301, domain=1000)).code == "over_budget"
    assert [(e["subject"], e["from"], e["to"]) for e in cluster.events("budget:domain")] == [
        ("budget:domain", "0", "700")
    ]


def test_spending_of_a_past_period_is_not_reported(cluster: Cluster) -> None:
    cluster.recount(("spent", "domain", "day 2023-11-13", 700))

    assert cluster.account() == {}


def test_spending_of_another_kind_of_period_is_not_reported(cluster: Cluster) -> None:
    cluster.settle(cluster.granted("a", spending=spending(100, domain=1000, per="month")), cost=100)
    cluster.recount(("spent", "domain", "day 2023-11-14", 700))

    assert (cluster.account()["per"], money(cluster)) == ("month", (100, 0))


def test_account_that_is_ahead_keeps_its_period(cluster: Cluster) -> None:
    """A store before may have had a clock that was an hour off."""
    key = f"{cluster.keys.prefix}budget:domain"
    cluster.cli.do("HSET", key, "per", "hour", "period", "2023-11-14T23", "spent", 5)
    cluster.recount(("spent", "domain", "hour 2023-11-14T22", 700))

    assert (cluster.account()["period"], money(cluster)) == ("2023-11-14T23", (5, 0))


def test_what_was_spent_elsewhere_is_added_once(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.recount(("add", "tenant:team-a", "", 70), told="id-1")

    assert money(cluster, "tenant:team-a") == (70, 0)


def test_reservation_of_a_reasserted_lease_is_taken_once(cluster: Cluster) -> None:
    permit = cluster.granted("a", spending=spending(400, domain=1000))
    cluster.flush()
    cluster.configure("a", "b")
    cluster.reassert("a", [permit])
    for _ in range(2):
        cluster.recount(("reserve", permit.token, "domain", 400), ("reserve", "r9.plain.9", "domain", 5))
    before = money(cluster)
    cluster.settle(permit, cost=100)

    assert (before, money(cluster)) == ((0, 400), (100, 0))


def test_reasserted_lease_without_reservation_pays_all_the_same(cluster: Cluster) -> None:
    permit = cluster.granted("a", spending=spending(400, domain=1000))
    cluster.flush()
    cluster.configure("a", "b")
    cluster.reassert("a", [permit])
    cluster.settle(permit)

    assert money(cluster) == (400, 0)


# -- any history ------------------------------------------------------------------------------------------------

COSTS = st.integers(0, 40)


class Money(RuleBasedStateMachine):
    """Random histories beside a model that keeps only sums."""

    def __init__(self, cli: RedisCli, scripts: dict[str, Script]) -> None:
        super().__init__()
        self.cluster = Cluster(cli, scripts)
        self.cluster.configure("a", "b")
        self.spent, self.day = 0, START_MS // DAY_MS
        self.held: dict[str, tuple[Permit, int]] = {}
        self.last: tuple[Permit, Spending] | None = None

    @rule(costs=st.tuples(COSTS, COSTS), replica=st.sampled_from(["r1", "r2"]))
    def acquire(self, costs: tuple[int, int], replica: str) -> None:
        self.turn()
        offer = spending(*costs, domain=100, per="day")
        decision = self.cluster.acquire("a", ("b", 1), replica=replica, priority=0, spending=offer)
        free = 100 - self.spent - sum(cost for _, cost in self.held.values())
        fitting = [cost for cost in costs if cost <= free or not cost]
        if isinstance(decision, Rejection):
            assert (decision.code, fitting) == ("over_budget", [])
            return
        assert decision.reserved == fitting[0]
        self.held[decision.token] = decision, decision.reserved
        self.last = decision, offer

    def turn(self) -> None:
        if self.cluster.now_ms // DAY_MS > self.day:
            self.day, self.spent = self.cluster.now_ms // DAY_MS, 0

    @rule(share=st.floats(0, 1), is_known=st.booleans(), times=st.integers(1, 2))
    def settle(self, share: float, is_known: bool, times: int) -> None:
        if self.held:
            permit, reserved = self.held.pop(next(iter(self.held)))
            cost = int(reserved * share) if is_known else -1
            for _ in range(times):
                self.cluster.settle(permit, cost=cost)
            self.spent += cost if is_known else reserved

    @rule()
    def send_again(self) -> None:
        if self.last and self.last[0].token in self.held:
            permit, offer = self.last
            again = self.cluster.granted("a", ("b", 1), token=permit.token, resend=1, spending=offer)
            assert again.deployment_id == permit.deployment_id

    @rule(replica=st.sampled_from(["r1", "r2"]))
    def crash(self, replica: str) -> None:
        """It is found dead before any lease expires."""
        for name in ("a", "b"):
            self.cluster.reap_chunk(replica, name)
        self.end(lambda permit: permit.token.startswith(replica))

    @rule(ms=st.sampled_from([1000, 75_000, HOUR_MS, DAY_MS]))
    def wait(self, ms: int) -> None:
        self.cluster.advance(ms)
        self.cluster.beat("r9")
        if ms >= 75_000:
            self.end(lambda _: True)

    def end(self, is_ended: Callable[[Permit], bool]) -> None:
        for token, (permit, reserved) in list(self.held.items()):
            if is_ended(permit):
                del self.held[token]
                self.spent += reserved

    @invariant()
    def sums_are_the_models_and_never_over(self) -> None:
        spent, reserved = money(self.cluster)
        if self.cluster.now_ms // DAY_MS == self.day:
            assert (spent, reserved) == (self.spent, sum(cost for _, cost in self.held.values()))
        assert spent + reserved <= 100

    def teardown(self) -> None:
        self.cluster.cli.do("FLUSHALL")


def test_any_history_adds_up(cli: RedisCli, scripts: dict[str, Script]) -> None:
    run_state_machine_as_test(
        lambda: Money(cli, scripts),  # type: ignore[arg-type]
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            derandomize=True,
        ),
    )
