"""Heartbeats: who stops is reaped, what is flushed comes back, a store in trouble ends no heart."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.errors import StoreUnfit
from shared_state.failover import Failover
from shared_state.heartbeat import Replica
from shared_state.records import Ending, Outcome
from tests.support.live_state import HASTY, OpenedState, opened_state
from tests.support.state import deployment_policy
from tests.support.stores import RedisCli, eventually, fresh_domain, on_loop, stopped


@contextlib.asynccontextmanager
async def beating(state: OpenedState, is_draining: Callable[[], bool] = lambda: False) -> AsyncIterator[Replica]:
    replica = Replica(Failover(state.store, None), "127.0.0.1:8080", "0.1.0", is_draining)
    await replica.start()
    try:
        yield replica
    finally:
        await replica.stop()


def beats_at_ms(cli: RedisCli, state: OpenedState, replica: str = "r1") -> float:
    return float(cli.do("ZSCORE", state.keys.replicas, replica) or 0)


@on_loop
async def test_start_configures_the_store_and_shows_the_replica(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a", is_configured=False) as state, beating(state):
        snapshot = await state.store.views.snapshot()

        assert (snapshot.policy_version, snapshot.replicas_alive) == (1, 1)
        assert cli.do("HGET", state.keys.replica("r1"), "address") == b"127.0.0.1:8080"


@on_loop
async def test_replica_beats_until_it_is_stopped(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state:
        async with beating(state):
            first = beats_at_ms(cli, state)
            await eventually(lambda: beats_at_ms(cli, state) > first)
        calls = state.batcher.round_trips
        tasks = {task.get_name() for task in asyncio.all_tasks()}

        assert "heartbeat" not in tasks
        assert state.batcher.round_trips == calls


@on_loop
async def test_draining_is_shown_to_the_others(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state, beating(state, is_draining=lambda: True):
        await eventually(lambda: cli.do("HGET", state.keys.replica("r1"), "draining") == b"1")


@on_loop
async def test_stopped_heartbeat_is_reaped(
    server: EmbeddedStore, cli: RedisCli, caplog: pytest.LogCaptureFixture
) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, "a", domain=domain, replica="gone") as gone,
        opened_state(server.url, "a", domain=domain, replica="r1") as living,
        beating(living),
    ):
        async with beating(gone):
            await gone.granted()
            kept = await living.granted()
        # As if it had been silent for six seconds.
        cli.do("ZADD", gone.keys.replicas, beats_at_ms(cli, gone, "gone") - 6000, "gone")
        leases = living.keys.deployment_leases("a")
        await eventually(lambda: cli.do("ZRANGE", leases, 0, -1) == [kept.token.encode()])
        await eventually(lambda: cli.do("ZSCORE", gone.keys.replicas, "gone") is None)

        await eventually(lambda: "replica gone is dead: 1 of its leases reaped" in caplog.messages)


@on_loop
async def test_configuration_comes_back_after_a_flush_without_traffic(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state, beating(state):
        cli.do("FLUSHALL")

        await eventually(lambda: cli.do("EXISTS", state.keys.deployment("a")) == 1)


@on_loop
async def test_last_resort_comes_back_after_a_flush_as_no_probe(server: EmbeddedStore, cli: RedisCli) -> None:
    """It belongs to the open breaker; settle knows it by its permit."""
    async with opened_state(server.url, "a") as state, beating(state):
        for _ in range(5):
            await state.store.settle(await state.granted(), Ending(Outcome.FAILURE, 10))
        permit = await state.granted()
        leases = state.keys.deployment_leases("a")
        before = float(cli.do("ZSCORE", leases, permit.token))
        cli.do("FLUSHALL")
        await eventually(lambda: cli.do("ZSCORE", leases, permit.token) is not None)

        assert (permit.is_last_resort, permit.is_probe, before % 1) == (True, True, 0.5 + 0.0625)
        assert float(cli.do("ZSCORE", leases, permit.token)) % 1 == 0


@on_loop
async def test_newest_configuration_comes_back_in_any_order_after_a_flush(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    older, newer = deployment_policy("a", limit=1), deployment_policy("a", limit=2)
    async with (
        opened_state(server.url, older, domain=domain, replica="r1", version=1) as r1,
        opened_state(server.url, newer, domain=domain, replica="r2", version=2) as r2,
        beating(r2),
    ):
        cli.do("FLUSHALL")
        await r1.store.policies.write()

        await eventually(lambda: cli.do("HGET", r1.keys.deployment("a"), "limit") == b"2")


@on_loop
async def test_heart_outlives_a_store_in_trouble(own_server: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
    async with opened_state(own_server.url, "a", patience=HASTY) as state, beating(state):
        with stopped(own_server):
            await eventually(lambda: any("shared store cannot be used" in m for m in caplog.messages))
        with RedisCli(own_server.url) as cli:
            before = beats_at_ms(cli, state)
            await eventually(lambda: beats_at_ms(cli, state) > before)


@on_loop
async def test_replica_that_does_not_start_writes_nothing(server: EmbeddedStore, cli: RedisCli) -> None:
    async def unfit() -> None:
        raise StoreUnfit("looked at")

    async with opened_state(server.url, "a", is_configured=False) as state:
        replica = Replica(Failover(state.store, None), "127.0.0.1:8080", "0.1.0", check=unfit)
        with pytest.raises(StoreUnfit):
            await replica.start()
        await replica.stop()

        assert cli.do("KEYS", f"{state.keys.prefix}*") == []
