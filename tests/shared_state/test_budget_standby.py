"""On its standby store a replica spends its part of what was left, and tells the shared store when it is back."""

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.money import Account, Budget, Spending
from shared_state.policies import UNLIMITED, TenantLimits
from shared_state.records import Ask, Ending, Outcome, Permit, Rejection
from tests.shared_state.test_failover import KEYS, Opened, leases, no_place, opened
from tests.support.stores import RedisCli, eventually, on_loop, unreachable

BUDGET = Budget(1000, "total")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared_state.heartbeat.BEAT_EVERY_S", 0.1)


async def ask(state: Opened, cost: int) -> Permit | Rejection:
    return await state.failover.acquire(state.plan, Ask(0, spending=Spending(BUDGET, None, (cost,))))


async def spend(state: Opened, reserved: int, cost: int) -> None:
    permit = await ask(state, reserved)
    assert isinstance(permit, Permit), permit
    await state.failover.settle(permit, Ending(Outcome.SUCCESS, 10, cost=cost))


def stored(server: EmbeddedStore, field: str = "spent") -> int:
    with RedisCli(server.url) as cli:
        return int(cli.do("HGET", f"{KEYS.prefix}budget:domain", field) or 0)


def known(state: Opened) -> Account:
    return state.failover.shared.memory.ledger.current("domain")


def watch(*states: Opened) -> None:
    for state in states:
        state.failover.shared.memory.ledger.watch(BUDGET, [UNLIMITED])


@on_loop
async def test_part_of_the_rest_may_be_spent_and_is_reported_once(own_server: EmbeddedStore) -> None:
    async with opened(own_server, "r1") as one, opened(own_server, "r2") as two:
        watch(one, two)
        await spend(one, 400, 400)
        await eventually(lambda: known(one).spent == known(two).spent == 400)
        with unreachable(own_server):
            await spend(one, 300, 250)
            assert one.failover.state == "standby"
            refused = await ask(one, 51)  # 600 were left for the two of them
            await spend(one, 50, 50)
            await spend(two, 300, 300)
        await one.comes_back()
        await two.comes_back()
        await eventually(lambda: stored(own_server) == 1000)

        assert isinstance(refused, Rejection)
        assert (refused.code, stored(own_server, "reserved")) == ("over_budget", 0)
        assert isinstance(await ask(one, 1), Rejection)


@on_loop
async def test_exhausted_budget_stays_closed(own_server: EmbeddedStore) -> None:
    async with opened(own_server) as state:
        watch(state)
        await spend(state, 1000, 1000)
        await eventually(lambda: known(state).spent == 1000)
        with unreachable(own_server):
            decision = await ask(state, 1)
            assert state.failover.state == "standby"
        await state.comes_back()

        assert isinstance(decision, Rejection)
        assert decision.code == "over_budget"


@on_loop
async def test_calls_that_cross_over_are_charged_where_they_were_reserved(own_server: EmbeddedStore) -> None:
    async with opened(own_server) as state:
        watch(state)
        outward = await ask(state, 400)
        await eventually(lambda: known(state).reserved == 400)
        with unreachable(own_server):
            homeward = await ask(state, 300)
            assert isinstance(outward, Permit)
            assert isinstance(homeward, Permit)
            await state.failover.settle(outward, Ending(Outcome.SUCCESS, 10, cost=150))
        await state.comes_back()
        await eventually(lambda: (stored(own_server), stored(own_server, "reserved")) == (150, 300))
        await state.failover.settle(homeward, Ending(Outcome.SUCCESS, 10, cost=200))

        assert (stored(own_server), stored(own_server, "reserved")) == (350, 0)


@on_loop
async def test_flushed_store_learns_the_spending_before_it_grants_anything(own_server: EmbeddedStore) -> None:
    async with opened(own_server) as state:
        watch(state)
        await spend(state, 900, 900)
        held = await ask(state, 60)
        await eventually(lambda: (known(state).spent, known(state).reserved) == (900, 60))
        with RedisCli(own_server.url) as cli:
            cli.do("FLUSHALL")
        decision = await ask(state, 101)
        await eventually(lambda: stored(own_server, "reserved") == 60)

        assert isinstance(held, Permit)
        assert isinstance(decision, Rejection)
        assert decision.code == "over_budget"


@on_loop
async def test_many_scopes_are_read_in_turns(own_server: EmbeddedStore) -> None:
    async with opened(own_server) as state:
        limits = [TenantLimits(name=f"t{k}", rpm=10, budget=BUDGET) for k in range(450)]
        ledger = state.failover.shared.memory.ledger
        ledger.watch(BUDGET, limits)

        await eventually(lambda: len(ledger.accounts) == 451)
        assert max(len(ledger.due()) for _ in range(5)) == 200


@on_loop
async def test_call_that_is_charged_on_the_shared_store_costs_nothing_on_the_standby(own_server: EmbeddedStore) -> None:
    """It was reserved there: what may be spent here is a part of the rest."""
    async with opened(own_server) as state:
        watch(state)
        outward = await ask(state, 400)
        await eventually(lambda: known(state).reserved == 400)
        with unreachable(own_server):
            first = await ask(state, 100)
            assert isinstance(outward, Permit)
            assert isinstance(first, Permit)
            await state.failover.settle(outward, Ending(Outcome.SUCCESS, 10, cost=400))
            second = await ask(state, 500)
            assert state.failover.state == "standby"
        await state.comes_back()

        assert isinstance(second, Permit)


@on_loop
async def test_call_that_ends_after_the_outage_is_charged_once(
    own_server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is on both stores, and the used standby one is needed again."""
    async with opened(own_server) as state:
        watch(state)
        permit = await ask(state, 400)
        await eventually(lambda: known(state).reserved == 400)
        with unreachable(own_server):
            assert isinstance(await ask(state, 100), Permit)
            monkeypatch.setattr("shared_state.standby.EmbeddedStore", no_place)
        await state.comes_back()
        assert isinstance(permit, Permit)
        await state.failover.settle(permit, Ending(Outcome.SUCCESS, 10, cost=150))
        standby = state.failover.standby
        assert standby is not None
        assert standby._opened is not None
        embedded = standby._opened.embedded

        await eventually(lambda: leases(embedded) == 1)
        assert (stored(own_server), stored(embedded)) == (150, 0)
