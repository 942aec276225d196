"""The autoscaling signal as a replica keeps it: fresh, or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from shared_state.embedded import EmbeddedStore
from shared_state.failover import Failover
from shared_state.policies import AutoscalePolicy
from shared_state.scaling import FRESH_S, Scaling
from tests.support.live_state import OpenedState, opened_state
from tests.support.stores import RedisCli, eventually, on_loop, unreachable

POLICY = AutoscalePolicy(
    target_concurrency=10, utilization=0.7, min_replicas=1, max_replicas=5, scale_down_delay_ms=60_000
)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@contextlib.asynccontextmanager
async def asked(
    url: str, clock: Clock, waiting: Callable[[], int] = lambda: 3
) -> AsyncIterator[tuple[Scaling, OpenedState]]:
    async with opened_state(url, "a") as state:
        state.store.policies.configuration = msgspec.structs.replace(state.store.configuration, autoscale=POLICY)
        yield Scaling(Failover(state.store, None), waiting, clock), state


@on_loop
async def test_waiting_requests_are_reported_and_the_answer_kept(server: EmbeddedStore, cli: RedisCli) -> None:
    async with asked(server.url, Clock()) as (scaling, state):
        signal = await scaling.ask()

        assert signal is not None
        assert (signal.waiting, scaling.latest) == (3, signal)
        assert cli.do("HGET", state.keys.replica("r1"), "waiting") == b"3"


@on_loop
async def test_answer_grows_old(server: EmbeddedStore) -> None:
    clock = Clock()
    async with asked(server.url, clock) as (scaling, _):
        before = scaling.latest
        await scaling.ask()
        clock.now_s += FRESH_S
        fresh = scaling.latest
        clock.now_s += 0.001

        assert before is None
        assert fresh is not None
        assert scaling.latest is None


@on_loop
async def test_without_the_setting_nothing_is_queried(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state:
        scaling = Scaling(Failover(state.store, None), lambda: 3)
        calls = state.batcher.round_trips

        assert not scaling.is_wanted
        assert await scaling.ask() is None
        assert state.batcher.round_trips == calls
        assert cli.do("EXISTS", state.keys.autoscale) == 0


@on_loop
async def test_store_that_is_away_ends_nothing_and_stop_ends_all(own_server: EmbeddedStore) -> None:
    clock, tries = Clock(), [0]

    def waiting() -> int:
        tries[0] += 1
        return 0

    async with asked(own_server.url, clock, waiting) as (scaling, _):
        scaling.start()
        await eventually(lambda: scaling.latest is not None)
        with unreachable(own_server):
            clock.now_s += FRESH_S + 1
            begun = tries[0]
            await eventually(lambda: tries[0] > begun + 1)
            assert scaling.latest is None
        await eventually(lambda: scaling.latest is not None)
        await scaling.stop()

        assert "scaling" not in {task.get_name() for task in asyncio.all_tasks()}
