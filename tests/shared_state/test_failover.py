"""To the standby store and back: nothing is lost on the way, and nobody has to wait for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from shared_state.batcher import HURRIED, Batcher
from shared_state.client import Client
from shared_state.embedded import EmbeddedStore
from shared_state.errors import StateError, StoreUnavailable
from shared_state.failover import Failover, Standby, share
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.records import Ending, Outcome, Permit, Rejection
from shared_state.replicas import Replica
from shared_state.scripts import assemble_all
from shared_state.store import Configuration, Plan, Store
from tests.support.state import deployment_policy, router_policy
from tests.support.stores import RedisCli, eventually, on_loop, stopped

DEADLINE_MS = 40
KEYS = Keys("failover")
SUCCESS, FAILURE = Ending(Outcome.SUCCESS, 10), Ending(Outcome.FAILURE, 10)


class Opened(NamedTuple):
    failover: Failover
    replica: Replica
    plan: Plan

    async def acquire(self) -> Permit | Rejection:
        return await self.failover.acquire(self.plan, 0, False)

    async def granted(self) -> Permit:
        decision = await self.acquire()
        assert isinstance(decision, Permit), decision
        return decision

    async def fail(self, times: int) -> None:
        for _ in range(times):
            await self.failover.settle(await self.granted(), FAILURE)

    async def state(self) -> str:
        return (await self.failover.snapshot()).deployments[0].state

    async def comes_back(self) -> None:
        await eventually(lambda: self.failover.state == "shared")


def configuration(limit: int = 4) -> Configuration:
    return Configuration(1, router_policy(max_active=1000), (deployment_policy("a", limit=limit, rpm=1000),))


@contextlib.asynccontextmanager
async def opened(server: EmbeddedStore, replica: str = "r1", limit: int = 4) -> AsyncIterator[Opened]:
    scripts, memory, whole = assemble_all(), Memory(replica), configuration(limit)
    batcher = Batcher(Client(server.url), tuple(scripts.values()), DEADLINE_MS, HURRIED)
    standby = Standby(scripts, KEYS, memory, whole, 5000)
    failover = Failover(Store(batcher, scripts, KEYS, memory, whole), standby)
    heart = Replica(failover, "127.0.0.1:8080", "0.1.0")
    await heart.start()
    try:
        yield Opened(failover, heart, failover.plan([("a", 0)], "least-busy"))
    finally:
        await heart.stop()
        await batcher.close()
        await standby.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared_state.replicas.BEAT_EVERY_S", 0.1)


@pytest.fixture
def shared(own_server: EmbeddedStore) -> EmbeddedStore:
    return own_server


def leases(server: EmbeddedStore) -> int:
    with RedisCli(server.url) as cli:
        return int(cli.do("ZCARD", KEYS.leases))


@pytest.mark.parametrize(("replicas", "limit", "rpm"), [(1, 100, 50), (3, 33, 16), (200, 1, 1)])
def test_share_of_a_replica_is_its_part_of_every_limit(replicas: int, limit: int, rpm: int) -> None:
    whole = Configuration(
        1, router_policy(max_active=100), (deployment_policy("a", limit=100, rpm=50), deployment_policy("b", limit=100))
    )
    part = share(whole, replicas, 7)

    assert part.version == 7
    assert (part.router.max_active, part.router.probes, part.router.probe_successes) == (limit, 1, 1)
    assert [(d.limit, d.rpm) for d in part.deployments] == [(limit, rpm), (limit, None)]


@on_loop
async def test_lost_store_is_replaced_within_the_same_call(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        with stopped(shared):
            permit = await state.granted()

            assert state.failover.state == "standby"
            await state.failover.settle(permit, SUCCESS)
        await state.comes_back()


@on_loop
async def test_limit_is_divided_by_the_replicas_last_seen(shared: EmbeddedStore) -> None:
    async with opened(shared) as first, opened(shared, "r2") as second:
        await eventually(lambda: first.replica._replicas == second.replica._replicas == 2)
        await asyncio.sleep(0)
        with stopped(shared):
            decisions = [await first.acquire() for _ in range(3)] + [await second.acquire() for _ in range(3)]

        assert [isinstance(decision, Permit) for decision in decisions] == [True, True, False] * 2


@on_loop
async def test_live_permits_count_on_the_standby_store(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        live = [await state.granted() for _ in range(3)]
        with stopped(shared):
            last = await state.granted()
            refused = await state.acquire()

            assert isinstance(refused, Rejection)
            assert refused.verdicts == ("full",)
            for permit in live:
                await state.failover.settle(permit, SUCCESS)
            await state.granted()
        await state.comes_back()
        await eventually(lambda: leases(shared) == 2)
        assert last.token in state.failover.shared.memory.live


@on_loop
async def test_open_breaker_is_known_on_the_standby_store(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        await state.fail(5)
        await eventually(lambda: bool(state.failover.shared.view.breakers))
        with stopped(shared):
            refused = await state.acquire()

        assert isinstance(refused, Rejection)
        assert refused.verdicts == ("open",)


@on_loop
async def test_breaker_that_opened_on_the_standby_store_is_told(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        with stopped(shared):
            await state.fail(5)
            assert await state.state() == "open"
        await state.comes_back()

        assert await state.state() == "open"


@on_loop
async def test_result_of_a_call_that_began_on_the_shared_store_counts_on_the_standby(shared: EmbeddedStore) -> None:
    async with opened(shared, limit=10) as state:
        begun = [await state.granted() for _ in range(5)]
        with stopped(shared):
            await state.failover.settle(await state.granted(), SUCCESS)
            for permit in begun:
                await state.failover.settle(permit, FAILURE)

            assert await state.state() == "open"
        await state.comes_back()
        await eventually(lambda: leases(shared) == 0)


@on_loop
async def test_grant_that_came_too_late_is_given_back(shared: EmbeddedStore) -> None:
    """The store may carry out, when it goes on, what nobody waits for any more."""
    async with opened(shared) as state:
        with stopped(shared):
            permits = await asyncio.gather(*(state.granted() for _ in range(3)))
        await state.comes_back()
        await eventually(lambda: leases(shared) == 3)
        for permit in permits:
            await state.failover.settle(permit, SUCCESS)

        assert leases(shared) == 0


@on_loop
async def test_each_way_is_one_log_line_and_one_count(shared: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(shared) as state:
        with stopped(shared):
            await asyncio.gather(*(state.acquire() for _ in range(20)))
        await state.comes_back()

        assert dict(state.failover.switches) == {("standby", "timeout"): 1, ("shared", ""): 1}
        lines = [record.getMessage() for record in caplog.records if record.name == "pllm.state"]
        assert [line.split(" (")[0].split(" after")[0] for line in lines] == [
            "the shared store cannot be used",
            "back on the shared store",
        ]


@on_loop
async def test_corrupted_value_is_a_reason_to_stay_away(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        with RedisCli(shared.url) as cli:
            cli.do("HSET", KEYS.deployment("a"), "generation", "nonsense")
            permit = await state.granted()

            assert state.failover.state == "standby"
            assert "corrupted: b'nonsense' is not a number" in state.failover.reason
            await state.failover.settle(permit, SUCCESS)
            assert cli.do("HGET", KEYS.deployment("a"), "generation") == b"nonsense"
            cli.do("HSET", KEYS.deployment("a"), "generation", 0)
        await state.comes_back()


@on_loop
async def test_standby_store_that_dies_is_replaced(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        standby = state.failover.standby
        assert standby is not None
        with stopped(shared):
            await state.granted()
            standby._embedded._process.kill()  # type: ignore[union-attr]
            await eventually(lambda: not standby._embedded.is_running)
            await eventually(lambda: standby._embedded.is_running and standby.store is state.failover.active)
            await state.granted()
        await state.comes_back()


@on_loop
async def test_without_a_standby_the_error_is_the_callers(shared: EmbeddedStore) -> None:
    scripts, memory = assemble_all(), Memory("r1")
    batcher = Batcher(Client(f"unix://{shared.folder}/nobody.sock"), tuple(scripts.values()), DEADLINE_MS)
    failover = Failover(Store(batcher, scripts, KEYS, memory, configuration()), None)
    with pytest.raises(StoreUnavailable):
        await failover.acquire(failover.plan([("a", 0)], "least-busy"), 0, False)
    with pytest.raises(StateError):
        await failover.snapshot()
    await batcher.close()

    assert failover.state == "shared"
