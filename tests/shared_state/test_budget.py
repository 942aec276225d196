"""A budget holds whatever happens: many replicas at once, some of them killed, and a store that is killed and comes
back from its append-only file.
"""

import asyncio
import contextlib
import random

import redis

from shared_state.errors import StateError
from shared_state.money import Budget, Spending
from shared_state.records import Ask, Ending, Outcome, Permit
from shared_state.snapshots import Presence
from shared_state.store import Store
from tests.support.durable_store import DurableStore
from tests.support.live_state import OpenedState, opened_state
from tests.support.stores import RedisCli, eventually, fresh_domain, on_loop

AMOUNT, DEAREST, REPLICAS, CALLERS = 1_000_000, 4_000, 8, 4
BUDGET = Budget(AMOUNT, "total")
BEAT = Presence("127.0.0.1:8080", "0.1.0", 1)


class Crowd:
    """Callers of eight replicas, who spend until nothing fits any more. ``true_cost``: what providers have charged."""

    def __init__(self, states: list[OpenedState], cli: RedisCli) -> None:
        self.states = states
        self.cli = cli
        self.true_cost = self.under_way = 0
        self.random = random.Random(8)
        self.callers: dict[int, list[asyncio.Task[None]]] = {
            number: [asyncio.create_task(self.call(state.store)) for _ in range(CALLERS)]
            for number, state in enumerate(states)
        }

    async def call(self, store: Store) -> None:
        plan = store.plan([("a", 0)], "adaptive")
        while True:
            most = self.random.randint(1, DEAREST)
            is_quiet = self.is_quiet()
            try:
                decision = await store.acquire(plan, Ask(0, spending=Spending(BUDGET, None, (most,))))
            except StateError:
                await asyncio.sleep(0.01)
                continue
            if isinstance(decision, Permit):
                await self.spend(store, decision, most)
            elif is_quiet and self.is_quiet():
                return
            else:
                await asyncio.sleep(0.02)

    def is_quiet(self) -> bool:
        """Nobody can give anything back."""
        return not self.under_way and spent(self.cli, self.states[0], "reserved") == 0

    async def spend(self, store: Store, permit: Permit, most: int) -> None:
        self.under_way += 1
        cost = self.random.randint(0, most)
        self.true_cost += cost
        try:
            await asyncio.sleep(self.random.random() / 200)
            outcome = self.random.choice([Outcome.SUCCESS, Outcome.CANCELLED])
            store.settle(permit, Ending(outcome, cost=cost if outcome is Outcome.SUCCESS else -1))
        finally:
            self.under_way -= 1

    async def kill(self, number: int) -> None:
        """What it has reserved, nobody of its own settles."""
        for caller in self.callers.pop(number):
            caller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await caller

    async def done(self) -> None:
        await asyncio.gather(*(caller for callers in self.callers.values() for caller in callers))


def spent(cli: RedisCli, state: OpenedState, field: str = "spent") -> int:
    """-1 while the store is away."""
    try:
        return int(cli.do("HGET", f"{state.keys.prefix}budget:domain", field) or 0)
    except redis.ConnectionError:
        return -1


async def beating(state: OpenedState) -> None:
    """Lost settles and doubts are told with a beat; dead replicas are found by it."""
    while True:
        with contextlib.suppress(StateError):
            for dead in (await state.store.beat(BEAT)).dead_replicas:
                await state.store.recovery.reap(dead)
        await asyncio.sleep(0.1)


async def spend_all(store: DurableStore, cli: RedisCli, stack: contextlib.AsyncExitStack) -> tuple[Crowd, int]:
    domain, states = fresh_domain(), []
    for number in range(REPLICAS):
        opened = opened_state(store.url, "a", replica=f"r{number}", domain=domain)
        states.append(await stack.enter_async_context(opened))
    hearts = [asyncio.create_task(beating(state)) for state in states]
    crowd = Crowd(states, cli)
    for number, share in ((7, 0.2), (6, 0.5)):
        await eventually(lambda share=share: spent(cli, states[0]) > share * AMOUNT)  # type: ignore[misc]
        await crowd.kill(number)
        hearts[number].cancel()
        await store.crash()
    await crowd.done()
    await eventually(lambda: spent(cli, states[0], "reserved") == 0)
    for heart in hearts:
        heart.cancel()
    await asyncio.gather(*hearts, return_exceptions=True)
    return crowd, spent(cli, states[0])


@on_loop
async def test_eight_replicas_use_a_budget_up_and_never_exceed_it() -> None:
    async with contextlib.AsyncExitStack() as stack:
        store = DurableStore()
        stack.callback(store.stop)
        await store.start()
        cli = stack.enter_context(RedisCli(store.url))
        crowd, in_all = await spend_all(store, cli, stack)

        assert AMOUNT - DEAREST < in_all <= AMOUNT
        assert 0 < crowd.true_cost <= in_all
