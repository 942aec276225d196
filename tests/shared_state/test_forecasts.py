"""Who ticks: whichever replica is there, once a minute together; nobody where there is no forecast."""

import msgspec

from shared_state.embedded import EmbeddedStore
from shared_state.snapshots import DomainSnapshot
from tests.support.live_state import OpenedState, opened_state
from tests.support.state import router_policy
from tests.support.stores import RedisCli, fresh_domain, on_loop

MINUTE_MS = 60_000


async def switch_on(state: OpenedState) -> None:
    before = state.store.configuration
    router = router_policy(forecast_ahead_ms=300_000)
    await state.store.policies.adopt(msgspec.structs.replace(before, version=before.version + 1, router=router))


async def domain_of(state: OpenedState) -> DomainSnapshot:
    return await state.store.views.snapshot()


@on_loop
async def test_two_replicas_tick_once_a_minute(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, "a", domain=domain) as one,
        opened_state(server.url, "a", domain=domain, replica="r2") as two,
    ):
        for state in (one, two):
            await switch_on(state)
            await state.store.forecasts.tick((await domain_of(state)).now_ms)

        # The minute may have turned between the two, but not twice.
        minutes = int(cli.do("HGET", one.keys.forecast("a"), "measured"))
        assert minutes in (1, 2)
        assert (await domain_of(one)).deployments[0].forecast is not None


@on_loop
async def test_what_is_left_ticks_when_the_other_is_gone(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    async with opened_state(server.url, "a", domain=domain) as one:
        await switch_on(one)
        await one.store.forecasts.tick((await domain_of(one)).now_ms)
    async with opened_state(server.url, "a", domain=domain, replica="r2") as two:
        await switch_on(two)
        cli.do("HINCRBY", two.keys.forecast("a"), "minute", -1)
        await two.store.forecasts.tick((await domain_of(two)).now_ms)

        assert cli.do("HGET", two.keys.forecast("a"), "measured") == b"2"


@on_loop
async def test_a_replica_queries_once_a_minute(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        await switch_on(state)
        await state.store.forecasts.tick(5 * MINUTE_MS)
        trips = state.batcher.round_trips
        await state.store.forecasts.tick(5 * MINUTE_MS + 59_999)
        assert state.batcher.round_trips == trips
        await state.store.forecasts.tick(6 * MINUTE_MS)

        assert state.batcher.round_trips == trips + 1


@on_loop
async def test_nothing_is_queried_where_it_is_off(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        trips = state.batcher.round_trips
        await state.store.forecasts.tick(MINUTE_MS)
        assert state.batcher.round_trips == trips
        snapshot = await domain_of(state)

        assert state.batcher.round_trips == trips + 1
        assert snapshot.deployments[0].forecast is None


@on_loop
async def test_a_forecast_that_fails_fails_no_heartbeat(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state:
        await switch_on(state)
        cli.do("SET", state.keys.forecast("a"), "not a hash")
        snapshot = await domain_of(state)
        now_ms = snapshot.now_ms
        await state.store.forecasts.tick(now_ms)
        assert snapshot.deployments[0].forecast is None
        cli.do("DEL", state.keys.forecast("a"))
        await state.store.forecasts.tick(now_ms)

        assert cli.do("HGET", state.keys.forecast("a"), "measured") == b"1"
