"""To the standby store and back: nothing is lost on the way, and nobody has to wait for it."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from shared_state.connection.batcher import Batcher
from shared_state.connection.client import Client
from shared_state.connection.patience import Patience
from shared_state.embedded import EmbeddedStore
from shared_state.errors import StateError, StoreUnavailable, StoreUnfit
from shared_state.failover import Failover
from shared_state.heartbeat import RETRY_FIRST_S, Replica
from shared_state.keys import Keys
from shared_state.memory import Memory, View
from shared_state.policies import Configuration
from shared_state.records import Ask, Ending, Outcome, Permit, Plan, Rejection
from shared_state.scripts import assemble_all
from shared_state.snapshots import Presence
from shared_state.standby import Standby, share
from shared_state.store import Store
from tests.support.live_state import HASTY, LENIENT
from tests.support.state import deployment_policy, router_policy
from tests.support.store_proxy import StoreProxy, running_store_proxy
from tests.support.stores import RedisCli, eventually, on_loop, stopped, unreachable

PATIENCE = Patience(50, 250, has_standby=True)
KEYS = Keys("failover")
SUCCESS, FAILURE = Ending(Outcome.SUCCESS, 10), Ending(Outcome.FAILURE, 10)


class Opened(NamedTuple):
    failover: Failover
    replica: Replica
    plan: Plan

    async def acquire(self, is_stream: bool = False) -> Permit | Rejection:
        return await self.failover.acquire(self.plan, Ask(0, is_stream))

    async def granted(self, is_stream: bool = False) -> Permit:
        decision = await self.acquire(is_stream)
        assert isinstance(decision, Permit), decision
        return decision

    async def fail(self, times: int) -> None:
        for _ in range(times):
            await self.failover.settle(await self.granted(), FAILURE)

    async def state(self) -> str:
        return (await self.failover.snapshot()).deployments[0].state

    async def comes_back(self) -> None:
        await eventually(lambda: self.failover.state == "shared")


def configuration(limit: int = 4, version: int = 1, rpm: int = 1000, last_resort: bool = False) -> Configuration:
    router = router_policy(max_active=1000, last_resort=last_resort)
    return Configuration(version, router, (deployment_policy("a", limit=limit, rpm=rpm),))


@contextlib.asynccontextmanager
async def opened(
    server: EmbeddedStore | StoreProxy,
    replica: str = "r1",
    limit: int = 4,
    version: int = 1,
    rpm: int = 1000,
    domain: str = "failover",
    standby_patience: Patience = LENIENT,
    last_resort: bool = False,
) -> AsyncIterator[Opened]:
    scripts, memory, keys = assemble_all(), Memory(replica), Keys(domain)
    whole = configuration(limit, version, rpm, last_resort)
    batcher = Batcher(Client(server.url), tuple(scripts.values()), PATIENCE)
    standby = Standby(scripts, keys, memory, whole, standby_patience)
    failover = Failover(Store(batcher, scripts, keys, memory, whole), standby)
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
    monkeypatch.setattr("shared_state.heartbeat.BEAT_EVERY_S", 0.1)


@pytest.fixture
def shared(own_server: EmbeddedStore) -> EmbeddedStore:
    return own_server


def open_ones(view: View) -> set[str]:
    return {name for name, breaker in view.breakers.items() if breaker.state == "open"}


def kill_standby(standby: Standby) -> Store:
    assert standby._opened is not None
    assert standby._opened.embedded._process is not None
    standby._opened.embedded._process.kill()
    standby._opened.embedded._process.wait()
    return standby._opened.store


def no_place() -> EmbeddedStore:
    raise OSError("no space left")


def leases(server: EmbeddedStore) -> int:
    with RedisCli(server.url) as cli:
        return int(cli.do("ZCARD", KEYS.leases))


@pytest.mark.parametrize(("replicas", "limit", "rpm"), [(1, 100, 50), (3, 33, 16), (200, 1, 1)])
def test_share_of_a_replica_is_its_part_of_every_limit(replicas: int, limit: int, rpm: int) -> None:
    whole = Configuration(
        1,
        router_policy(max_active=100),
        (deployment_policy("a", limit=100, rpm=50), deployment_policy("b", limit=100)),
        region="eu",
    )
    part = share(whole, replicas, 7)

    assert (part.version, part.region) == (7, "eu")
    assert (part.router.max_active, part.router.probes, part.router.probe_successes) == (limit, 1, 1)
    assert [(d.limit, d.rpm) for d in part.deployments] == [(limit, rpm), (limit, None)]
    assert part.router.retry_floor_per_second == 3 / replicas


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
        await eventually(lambda: max(first.replica._alive) == max(second.replica._alive) == 2)
        await asyncio.sleep(0)
        with stopped(shared):
            decisions = [await first.acquire() for _ in range(3)] + [await second.acquire() for _ in range(3)]

        assert [isinstance(decision, Permit) for decision in decisions] == [True, True, False] * 2


@on_loop
async def test_replica_that_is_not_seen_for_a_moment_keeps_its_share(shared: EmbeddedStore) -> None:
    """It may be cut off and serving on its own."""
    async with opened(shared) as first, opened(shared, "r2") as second:
        await eventually(lambda: max(first.replica._alive) == 2)
        assert second.replica._kept is not None
        await second.replica._kept.stop()
        with RedisCli(shared.url) as cli:
            cli.do("ZADD", KEYS.replicas, 1, "r2")
        await eventually(lambda: first.replica._alive[-1] == 1)
        with stopped(shared):
            decisions = [await first.acquire() for _ in range(3)]

        assert [isinstance(decision, Permit) for decision in decisions] == [True, True, False]


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
async def test_replica_on_its_standby_store_gives_last_resorts(shared: EmbeddedStore) -> None:
    async with opened(shared, last_resort=True) as state:
        await state.fail(5)
        await eventually(lambda: bool(state.failover.shared.view.breakers))
        with stopped(shared):
            permit, refused = await state.granted(), await state.acquire()
            await state.failover.settle(permit, SUCCESS)
            state_now = await state.state()

        assert permit.is_last_resort
        assert isinstance(refused, Rejection)
        assert state_now == "closed"  # of its share of the probes one is enough


@on_loop
async def test_breaker_that_opened_on_the_standby_store_is_reported(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        with stopped(shared):
            await state.fail(5)
            assert await state.state() == "open"
        await state.comes_back()

        assert await state.state() == "open"


@on_loop
async def test_replica_that_left_before_it_saw_a_new_epoch_tells_its_breakers(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        with RedisCli(shared.url) as cli:
            cli.do("HSET", KEYS.domain, "learning_until_ms", "0")  # the new epoch is no longer new at the return
        with stopped(shared):
            state.failover.shared.recovery.view = View("the epoch before", state.failover.shared.view.breakers)
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
async def test_fault_that_beats_do_not_meet_is_a_reason_to_stay_away_longer_each_time(shared: EmbeddedStore) -> None:
    async with opened(shared, limit=100) as state:
        waits = []
        with RedisCli(shared.url) as cli:
            for _ in range(3):
                cli.do("HSET", KEYS.deployment("a"), "generation", "nonsense")
                await state.granted()
                cli.do("HSET", KEYS.deployment("a"), "generation", 0)
                await eventually(lambda: state.replica._try_at_s > 0)
                waits.append(state.replica._wanted)
                await state.comes_back()

        assert waits == [3, 6, 12]


@on_loop
async def test_each_way_is_one_event_though_the_store_is_lost_again_on_the_way_back(
    shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared_state.calls.script_calls.DEAD_AFTER_MS", 200)
    with running_store_proxy(shared) as proxy, RedisCli(shared.url) as cli:
        async with opened(proxy) as state:
            await state.granted()
            with proxy.losing("acquire"):
                await state.granted()
            with proxy.losing("reassert"):
                await eventually(lambda: state.replica._retry_s > 2)
            await state.comes_back()
            await eventually(lambda: len(switches(cli)) > 1)

            assert switches(cli) == [(b"shared", b"standby"), (b"standby", b"shared")]


def switches(cli: RedisCli) -> list[tuple[bytes, bytes]]:
    events = [fields for _, fields in cli.do("XRANGE", KEYS.events, "-", "+")]
    return [(event[b"from"], event[b"to"]) for event in events if event[b"subject"] == b"r1"]


@on_loop
async def test_store_that_misses_decisions_again_and_again_is_trusted_later_each_time(shared: EmbeddedStore) -> None:
    with running_store_proxy(shared) as proxy:
        async with opened(proxy) as state:
            waits = []
            for _ in range(3):
                with proxy.losing("acquire"):
                    await state.acquire()
                await eventually(lambda: state.replica._try_at_s > 0)
                waits.append(state.replica._wanted)
                await state.comes_back()

            assert waits == [3, 6, 12]


@on_loop
async def test_next_outage_begins_with_the_first_retry_interval(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        with stopped(shared):
            await state.granted()
            await eventually(lambda: state.replica._retry_s >= 1)
        await state.comes_back()

        assert state.replica._retry_s == RETRY_FIRST_S


@on_loop
async def test_good_beats_have_to_be_in_a_row(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        with stopped(shared):
            await state.granted()
            state.replica._good = 2
            tried_at_s = state.replica._try_at_s
            await eventually(lambda: state.replica._try_at_s > tried_at_s)  # in vain

            assert state.replica._good == 0


@on_loop
async def test_store_that_is_still_slow_is_not_trusted_again(shared: EmbeddedStore) -> None:
    with running_store_proxy(shared) as proxy:
        async with opened(proxy) as state:
            with proxy.dribbling(0.002):
                with proxy.losing("acquire"):
                    await state.acquire()
                await eventually(lambda: state.replica._retry_s >= 1)  # three beats were answered, and late

                assert (state.failover.state, state.replica._good) == ("standby", 0)
            await state.comes_back()


@on_loop
async def test_standby_store_that_dies_is_replaced(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        standby = state.failover.standby
        assert standby is not None
        with stopped(shared):
            await state.granted()
            died = kill_standby(standby)
            await eventually(lambda: standby.store not in (None, died) and standby.store is state.failover.active)
            await state.granted()
        await state.comes_back()


@on_loop
async def test_replaced_standby_knows_the_breakers_that_opened_on_it(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        standby = state.failover.standby
        assert standby is not None
        with stopped(shared):
            await state.fail(5)
            await eventually(lambda: "a" in open_ones(state.failover.active.view))
            died = kill_standby(standby)
            await eventually(lambda: standby.store not in (None, died) and standby.store is state.failover.active)

            assert await state.state() == "open"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@on_loop
async def test_call_continues_when_the_standby_store_is_lost_too(shared: EmbeddedStore, number: signal.Signals) -> None:
    async with opened(shared, standby_patience=HASTY) as state:
        standby = state.failover.standby
        assert standby is not None
        with stopped(shared):
            await state.granted()
            assert standby._opened is not None
            os.kill(standby._opened.embedded.pid, number)

            await state.granted()
            await state.granted()
        await state.comes_back()
        await eventually(lambda: leases(shared) == 3)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@on_loop
async def test_call_continues_when_the_standby_store_was_lost_before(
    shared: EmbeddedStore, number: signal.Signals
) -> None:
    async with opened(shared, standby_patience=HASTY) as state:
        standby = state.failover.standby
        assert standby is not None
        await state.granted()
        assert standby._opened is not None
        os.kill(standby._opened.embedded.pid, number)
        with stopped(shared):
            await state.granted()
            await state.granted()
        await state.comes_back()
        await eventually(lambda: leases(shared) == 3)


@on_loop
async def test_call_waiting_for_a_standby_store_continues_on_a_recovered_shared_one(
    shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_store_proxy(shared) as proxy:
        async with opened(proxy) as state:
            standby = state.failover.standby
            assert standby is not None
            monkeypatch.setattr("shared_state.standby.EmbeddedStore", no_place)
            kill_standby(standby)
            with proxy.losing("acquire"):
                waiting = asyncio.create_task(state.granted())
                await eventually(state.failover.trouble.is_set)

            await waiting
            assert state.failover.state == "shared"


@on_loop
async def test_hung_standby_store_is_replaced_once_however_many_calls_miss_it(
    shared: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(shared, standby_patience=HASTY) as state:
        standby = state.failover.standby
        assert standby is not None
        with stopped(shared):
            await state.granted()
            assert standby._opened is not None
            os.kill(standby._opened.embedded.pid, signal.SIGSTOP)
            calls = [asyncio.create_task(state.acquire())]
            while not calls[0].done():
                await asyncio.sleep(0.005)
                calls.append(asyncio.create_task(state.acquire()))
            await asyncio.gather(*calls)
        await state.comes_back()

        assert len([message for message in caplog.messages if "on a new standby store" in message]) == 1


@on_loop
async def test_shared_store_is_used_again_though_there_is_no_standby_left(
    shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(shared) as state:
        standby = state.failover.standby
        assert standby is not None
        with stopped(shared):
            await state.granted()
            monkeypatch.setattr("shared_state.standby.EmbeddedStore", no_place)
            kill_standby(standby)
            with pytest.raises(StateError):
                await state.granted()
        await state.comes_back()
        await state.granted()

        said = [message for message in caplog.messages if "the standby store is not ready" in message]
        assert len(said) == 1


@on_loop
async def test_what_cools_or_is_used_up_stays_so_on_the_standby_store(shared: EmbeddedStore) -> None:
    async with opened(shared, limit=100, rpm=2) as state:
        await state.failover.settle(await state.granted(), Ending(Outcome.THROTTLED, 1, retry_after_ms=60_000))
        cooling = await state.acquire()
        await eventually(lambda: bool(state.failover.shared.view.breakers))
        with stopped(shared):
            refused = await state.acquire()

        assert isinstance(cooling, Rejection)
        assert isinstance(refused, Rejection)
        assert (cooling.verdicts, refused.verdicts) == (("cooling",), ("cooling",))
        await state.comes_back()
    async with opened(shared, "r2", limit=100, rpm=2, domain="limited") as state:
        for _ in range(2):
            await state.failover.settle(await state.granted(), SUCCESS)
        await state.failover.shared.beat(Presence("127.0.0.1:8080", "0.1.0", 1))
        with stopped(shared):
            refused = await state.acquire()

        assert isinstance(refused, Rejection)
        assert refused.verdicts == ("rate_limited",)


@on_loop
async def test_what_is_moved_by_hand_is_known_on_both_stores(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        await state.failover.force("a", "disable", "ann", "test")
        with stopped(shared):
            refused = await state.acquire()
            assert isinstance(refused, Rejection)
            assert refused.verdicts == ("disabled",)
            await state.failover.force("a", "close", "ann", "test")
            await state.granted()
        await state.comes_back()

        assert await state.state() == "closed"


@on_loop
async def test_what_was_moved_by_hand_in_one_outage_is_not_moved_again_after_the_next(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        standby = state.failover.standby
        assert standby is not None
        with unreachable(shared):
            await state.failover.force("a", "disable", "ann", "test")
            assert state.failover.state == "standby"
        await state.comes_back()
        await state.failover.force("a", "close", "ann", "test")
        await eventually(lambda: not standby.is_used)
        with unreachable(shared):
            await state.granted()
            assert state.failover.state == "standby"
        await state.comes_back()

        assert await state.state() == "closed"
        await state.granted()


@on_loop
async def test_what_was_moved_by_hand_on_the_shared_store_is_not_moved_again_after_an_outage(
    shared: EmbeddedStore,
) -> None:
    async with opened(shared, "r1") as one, opened(shared, "r2") as two:
        await one.failover.force("a", "disable", "ann", "test")
        await two.failover.force("a", "close", "ann", "test")
        await one.failover.shared.beat(Presence("127.0.0.1:8080", "0.1.0", 1))
        with unreachable(shared):
            await one.granted()
            assert one.failover.state == "standby"
        await one.comes_back()

        assert await one.state() == "closed"


@on_loop
async def test_breaker_that_is_forced_open_for_a_time_has_what_is_left_of_it_on_the_shared_store(
    shared: EmbeddedStore,
) -> None:
    async with opened(shared) as state:
        with unreachable(shared):
            began_s = time.monotonic()
            await state.failover.force("a", "open", "ann", "test", 60_000)
            assert state.failover.state == "standby"
        await state.comes_back()
        back_s = time.monotonic()
        left_ms = (await state.failover.snapshot()).deployments[0].wait_ms

        assert back_s - began_s > 0.1
        assert left_ms <= 60_000 - 1000 * (back_s - began_s) + 50


@on_loop
async def test_replaced_standby_knows_the_newest_of_each_breaker(shared: EmbeddedStore) -> None:
    """Closed when the shared store was left, then opened on the standby store, which dies."""
    async with opened(shared) as state:
        standby = state.failover.standby
        assert standby is not None
        await state.failover.force("a", "disable", "ann", "test")
        await eventually(lambda: bool(state.failover.shared.view.breakers))
        with unreachable(shared):
            await state.failover.force("a", "close", "ann", "test")
            assert state.failover.state == "standby"
            await state.failover.active.beat(Presence("127.0.0.1:8080", "0.1.0", 1))
            died = kill_standby(standby)
            await eventually(lambda: standby.store not in (None, died) and standby.store is state.failover.active)

            assert await state.state() == "closed"


@on_loop
async def test_first_byte_on_the_standby_store_is_reported_to_the_shared_one(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        permit = await state.granted(is_stream=True)
        with stopped(shared):
            await state.granted()
            state.failover.answered(permit)
        await state.comes_back()
        with RedisCli(shared.url) as cli:
            score = cli.do("ZSCORE", KEYS.deployment_leases("a"), permit.token)

        assert float(score) % 0.5 == 0.25


@on_loop
async def test_used_standby_store_is_replaced_by_an_empty_one(shared: EmbeddedStore) -> None:
    async with opened(shared) as state:
        standby = state.failover.standby
        assert standby is not None
        used = standby.store
        with stopped(shared):
            await state.fail(5)
        await state.comes_back()
        await eventually(lambda: standby.store is not used and not standby.is_used)
        assert standby.store is not None
        fresh = await standby.store.views.snapshot()

        assert (fresh.deployments[0].state, fresh.active) == ("closed", 0)


@on_loop
async def test_replica_starts_though_its_standby_store_is_not_ready(
    shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A starved machine may give the new process no CPU in time: the shared store is there all the same."""
    with monkeypatch.context() as starved:
        starved.setattr("shared_state.standby.EmbeddedStore", no_place)
        state = await (opening := opened(shared)).__aenter__()
        permit, served_by = await state.granted(), state.failover.state
    try:
        standby = state.failover.standby
        assert standby is not None
        assert (served_by, permit.deployment_id) == ("shared", "a")
        assert "the standby store is not ready: the embedded store cannot be created: no space left" in caplog.text
        await eventually(lambda: standby.store is not None)
    finally:
        await opening.__aexit__(None, None, None)


@on_loop
async def test_replica_without_any_store_does_not_start(shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared_state.standby.EmbeddedStore", no_place)
    with stopped(shared), pytest.raises(StoreUnavailable):
        async with opened(shared):
            pass


@on_loop
async def test_standby_that_cannot_be_replaced_serves_again(
    shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble comes back before a fresh one stands: what has ended meanwhile does not count on the used one."""
    async with opened(shared, limit=2) as state:
        live = [await state.granted(), await state.granted()]
        with stopped(shared):
            assert isinstance(await state.acquire(), Rejection)
            monkeypatch.setattr("shared_state.standby.EmbeddedStore", no_place)
        await state.comes_back()
        for permit in live:
            await state.failover.settle(permit, SUCCESS)
        with stopped(shared):
            granted = [await state.granted(), await state.granted()]

            assert state.failover.state == "standby"
            assert isinstance(await state.acquire(), Rejection)
        for permit in granted:
            await state.failover.settle(permit, SUCCESS)
        await state.comes_back()
        await eventually(lambda: leases(shared) == 0)


@on_loop
async def test_older_replica_that_starts_on_its_standby_brings_its_deployments(shared: EmbeddedStore) -> None:
    with RedisCli(shared.url) as cli:
        async with opened(shared, "newer", version=2):
            cli.do("DEL", KEYS.deployment("a"))
            with stopped(shared):
                older = opened(shared, "older", version=1)
                state = await older.__aenter__()
            await state.comes_back()

            await eventually(lambda: cli.do("EXISTS", KEYS.deployment("a")) == 1)
            await older.__aexit__(None, None, None)


@on_loop
async def test_replica_that_ends_with_live_permits_is_reaped_by_the_others(shared: EmbeddedStore) -> None:
    async with opened(shared, "r2"):
        async with opened(shared, "r1") as ends:
            await ends.granted()
        with RedisCli(shared.url) as cli:
            cli.do("ZADD", KEYS.replicas, float(cli.do("ZSCORE", KEYS.replicas, "r1")) - 6000, "r1")

        await eventually(lambda: leases(shared) == 0)


@on_loop
async def test_unfit_store_on_return_is_logged_once(shared: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
    said = "the shared store is back, but cannot be used: looked at"

    async def unfit() -> None:
        raise StoreUnfit("looked at")

    async with opened(shared) as state:
        with stopped(shared):
            await state.granted()
            state.replica._check = unfit
        tries = state.failover.shared._batcher.round_trips
        await eventually(lambda: said in caplog.messages)
        state.replica._retry_s = state.replica._try_at_s = 0.01
        await eventually(lambda: state.replica._retry_s > 0.1)
        state.replica._check = None
        await state.comes_back()

        assert caplog.messages.count(said) == 1
        assert state.failover.shared._batcher.round_trips > tries


@on_loop
async def test_without_a_standby_the_error_is_the_callers(shared: EmbeddedStore) -> None:
    scripts, memory = assemble_all(), Memory("r1")
    batcher = Batcher(Client(f"unix://{shared.folder}/nobody.sock"), tuple(scripts.values()), PATIENCE)
    failover = Failover(Store(batcher, scripts, KEYS, memory, configuration()), None)
    with pytest.raises(StoreUnavailable):
        await failover.acquire(failover.plan([("a", 0)], "least-busy"), Ask(0))
    with pytest.raises(StateError):
        await failover.snapshot()
    await batcher.close()

    assert failover.state == "shared"
