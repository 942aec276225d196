"""Capacity leases: permits in blocks. What they cost the store, and what of its decisions they leave exact."""

import asyncio
import contextlib
import random
import time

import pytest

from shared_state.blocks import BlockCounts, Blocks
from shared_state.embedded import EmbeddedStore
from shared_state.policies import TenantLimits
from shared_state.records import Ask, Ending, Outcome, Permit, Rejection
from shared_state.snapshots import Presence
from tests.shared_state.test_failover import hasty as hasty
from tests.shared_state.test_failover import leases, opened
from tests.support.live_state import OpenedState, opened_state
from tests.support.state import deployment_policy
from tests.support.stores import RedisCli, eventually, fresh_domain, on_loop, stopped

BLOCK, HOLD_MS = 20, 1000
ASK = Ask(0)
SUCCESS, FAILURE = Ending(Outcome.SUCCESS, latency_ms=10), Ending(Outcome.FAILURE)


def held(cli: RedisCli, state: OpenedState, deployment_id: str = "a") -> int:
    return int(cli.do("ZCARD", state.keys.deployment_leases(deployment_id)))


async def granted(blocks: Blocks, state: OpenedState, ask: Ask = ASK) -> Permit:
    decision = await blocks.acquire(state.plan, ask)
    assert isinstance(decision, Permit), decision
    return decision


async def warm(blocks: Blocks, state: OpenedState, ask: Ask = ASK) -> None:
    """Enough requests of a kind for the next one to find half a block; all of them have ended, and the store knows."""
    endings = [blocks.settle(await granted(blocks, state, ask), SUCCESS) for _ in range(2 * BLOCK)]
    while not any(len(line.held) >= BLOCK // 2 for line in blocks._lines.values()):
        endings.append(blocks.settle(await granted(blocks, state, ask), SUCCESS))
    await asyncio.gather(*endings)


async def end(blocks: Blocks, state: OpenedState, permit: Permit, ending: Ending = SUCCESS) -> None:
    """Without waiting for the store to know."""
    blocks.settle(permit, ending)


async def told(blocks: Blocks, state: OpenedState, permits: list[Permit], ending: Ending) -> None:
    await asyncio.gather(*(blocks.settle(permit, ending) for permit in permits))


@on_loop
async def test_many_requests_are_few_calls_of_the_store(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        await warm(blocks, state)
        before = cli.do("INFO", "commandstats")["cmdstat_fcall"]["calls"]
        for _ in range(200):
            await end(blocks, state, await granted(blocks, state))
        calls = cli.do("INFO", "commandstats")["cmdstat_fcall"]["calls"] - before
        blocks.return_unused()
        await eventually(lambda: held(cli, state) == 0)

        # Singly it would be 400.
        assert calls <= 2 * 200 / BLOCK + 4


@on_loop
async def test_request_that_comes_alone_is_decided_on_by_itself(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        permit = await granted(blocks, state)

        assert not permit.is_block
        assert held(cli, state) == 1


@pytest.mark.parametrize(
    "ask",
    [
        Ask(0, attempt=2),
        Ask(0, attempt=0),
        Ask(0, waiting=1),
        Ask(0, is_traced=True),
        Ask(0, tenant=TenantLimits(name="t", rpm=1_000_000)),
        Ask(0, tenant=TenantLimits(name="t", tpm=1_000_000)),
        Ask(0, tenant=TenantLimits(name="t", max_parallel=1000)),
    ],
)
@on_loop
async def test_calls_that_a_block_cannot_cover_are_decided_singly(server: EmbeddedStore, ask: Ask) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        await warm(blocks, state)
        permits = [await granted(blocks, state, ask) for _ in range(10)]

        assert not any(permit.is_block for permit in permits)


@on_loop
async def test_tenant_without_limits_has_blocks_of_its_own(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        ask = Ask(0, tenant=TenantLimits(name="team"))
        await warm(blocks, state, ask)
        permit = await granted(blocks, state, ask)

        assert permit.is_block
        assert permit.token.endswith(" team")
        assert int(cli.do("ZCARD", f"{state.keys.prefix}tenant_leases:team")) == held(cli, state)


@on_loop
async def test_limit_is_never_exceeded_and_a_block_of_each_replica_waits_at_most(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    """Four replicas, forty callers, limit 50: true calls and reserved permits together are the store's active ones."""
    replicas, limit, seen = 4, 50, []
    async with contextlib.AsyncExitStack() as stack:
        domain, draw = fresh_domain(), random.Random(8)
        states = [
            await stack.enter_async_context(
                opened_state(server.url, deployment_policy("a", limit=limit), domain=domain, replica=f"r{k}")
            )
            for k in range(replicas)
        ]
        all_blocks = [Blocks(state.store, BLOCK, HOLD_MS) for state in states]
        running, served = 0, 0

        async def caller(number: int) -> None:
            nonlocal running, served
            state, blocks = states[number % replicas], all_blocks[number % replicas]
            for _ in range(40):
                decision = await blocks.acquire(state.plan, ASK)
                if isinstance(decision, Rejection):
                    await asyncio.sleep(0.005)
                    continue
                running, served = running + 1, served + 1
                unused = sum(blocks._unused["a"] for blocks in all_blocks)
                seen.append((held(cli, state), running, max(blocks._unused["a"] for blocks in all_blocks), unused))
                await asyncio.sleep(draw.uniform(0, 0.01))
                running -= 1
                await end(blocks, state, decision)

        await asyncio.gather(*(caller(number) for number in range(40)))
        for blocks in all_blocks:
            blocks.return_unused()
        await eventually(lambda: held(cli, states[0]) == 0)

        assert served > 100
        assert max(active for active, *_ in seen) <= limit
        assert max(calls for _, calls, *_ in seen) <= limit
        assert all(calls <= active for active, calls, *_ in seen)
        assert max(most for _, _, most, _ in seen) <= BLOCK
        assert sum(blocks.counts.handed_out for blocks in all_blocks) > 0


@on_loop
async def test_unused_permits_come_back_when_their_time_is_over(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, 200)
        await warm(blocks, state)
        began_s, waiting = time.monotonic(), blocks._unused["a"]
        await eventually(lambda: held(cli, state) == 0)

        assert waiting > 0
        assert time.monotonic() - began_s < 5
        assert (blocks._unused["a"], blocks.counts.given_back, len(state.store.memory.live)) == (0, waiting, 0)


@on_loop
async def test_open_breaker_gets_at_most_one_block_of_calls_from_a_replica(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    """That replica has not heard of it. It is told by its next heartbeat, and knows by itself when the block ends."""
    domain = fresh_domain()
    async with (
        opened_state(server.url, deployment_policy("a", limit=1000), domain=domain) as first,
        opened_state(server.url, deployment_policy("a", limit=1000), domain=domain, replica="r2") as second,
    ):
        here, there = Blocks(first.store, BLOCK, HOLD_MS), Blocks(second.store, BLOCK, HOLD_MS)
        await warm(here, first)
        await warm(there, second)
        waiting = there._unused["a"]
        failing = [await granted(here, first) for _ in range(5)]
        await told(here, first, failing, FAILURE)
        state_after = (await first.store.views.snapshot()).deployments[0].state
        decisions = [await there.acquire(second.plan, ASK) for _ in range(3 * BLOCK)]
        permits = [decision for decision in decisions if isinstance(decision, Permit)]
        late = [permit for permit in permits if not permit.is_last_resort]

        assert state_after == "open"
        assert len(permits) - len(late) == 1  # in this second
        assert here._unused["a"] == 0  # it heard in the reply
        assert len(late) == waiting <= BLOCK
        assert isinstance(decisions[-1], Rejection)
        await told(there, second, late, FAILURE)
        assert (await first.store.views.snapshot()).deployments[0].generation == 1


@on_loop
async def test_all_replicas_together_overshoot_by_a_block_of_each_and_count_it(server: EmbeddedStore) -> None:
    domain, replicas, late = fresh_domain(), 4, 0
    async with contextlib.AsyncExitStack() as stack:
        states = [
            await stack.enter_async_context(
                opened_state(server.url, deployment_policy("a", limit=1000), domain=domain, replica=f"r{k}")
            )
            for k in range(replicas)
        ]
        all_blocks = [Blocks(state.store, BLOCK, 10 * HOLD_MS) for state in states]
        for blocks, state in zip(all_blocks, states, strict=True):
            await warm(blocks, state)
        waiting = sum(blocks.counts.held for blocks in all_blocks)
        await states[0].store.force("a", "open", "ann", "maintenance")
        for blocks, state in zip(all_blocks, states, strict=True):
            decisions = [await blocks.acquire(state.plan, ASK) for _ in range(2 * BLOCK)]
            permits = [decision for decision in decisions if isinstance(decision, Permit)]
            await told(blocks, state, permits, SUCCESS)
            late += len(permits)

        assert BLOCK < late <= waiting <= BLOCK * replicas  # the one that opened it knows
        assert sum(blocks.counts.late for blocks in all_blocks) == late
        for counts in (blocks.counts for blocks in all_blocks):
            assert counts.granted == counts.handed_out + counts.given_back + counts.held


@on_loop
async def test_heartbeat_tells_of_a_breaker_that_opened(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, deployment_policy("a", limit=1000), domain=domain) as first,
        opened_state(server.url, deployment_policy("a", limit=1000), domain=domain, replica="r2") as second,
    ):
        there = Blocks(second.store, BLOCK, HOLD_MS)
        await warm(there, second)
        await first.store.force("a", "open", "ann", "maintenance")
        await second.store.beat(Presence("127.0.0.1:8080", "0.1.0", 1))

        assert isinstance(await there.acquire(second.plan, ASK), Rejection)
        await eventually(lambda: there._unused["a"] == 0 and held(cli, second) == 0)


@on_loop
async def test_each_kind_of_call_has_blocks_of_its_own(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        for kind in ("chat", "embeddings"):
            await warm(blocks, state, Ask(0, kind=kind))
        kinds = [{held.permit.ask.kind for held in line.held} for line in blocks._lines.values()]
        blocks.return_unused()

        assert kinds == [{"chat"}, {"embeddings"}]


@pytest.mark.parametrize("is_block", [True, False])
@on_loop
async def test_missing_endpoint_takes_back_what_waits_for_that_kind_and_nothing_else(
    server: EmbeddedStore, cli: RedisCli, is_block: bool
) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        chat, embeddings = Ask(0, kind="chat"), Ask(0, kind="embeddings")
        for ask in (chat, embeddings):
            await warm(blocks, state, ask)
        for _ in range(3):  # the endpoint has served before
            permit = await granted(blocks, state, embeddings if is_block else Ask(0, kind="embeddings", is_traced=True))
            await blocks.settle(permit, Ending(Outcome.UNSUPPORTED))
        refused = await blocks.acquire(state.plan, embeddings)
        other = await granted(blocks, state, chat)
        blocks.return_unused()

        assert permit.is_block == is_block
        assert isinstance(refused, Rejection)
        assert refused.verdicts == ("unsupported",)
        assert other.is_block


@on_loop
async def test_failures_of_a_block_open_the_breaker_within_the_time_they_are_gathered(server: EmbeddedStore) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        await warm(blocks, state)
        permits = [await granted(blocks, state) for _ in range(5)]
        assert all(permit.is_block for permit in permits)
        await told(blocks, state, permits, FAILURE)

        assert (await state.store.views.snapshot()).deployments[0].state == "open"


@on_loop
async def test_urgent_ending_is_known_to_the_next_decision(server: EmbeddedStore) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        await warm(blocks, state)
        permits = [await granted(blocks, state) for _ in range(5)]
        for permit in permits[:4]:
            blocks.settle(permit, FAILURE)
        blocks.settle(permits[4], FAILURE, is_urgent=True)
        resort, decision = [await blocks.acquire(state.plan, Ask(0, attempt=2)) for _ in range(2)]

        assert isinstance(resort, Permit)
        assert resort.is_last_resort
        assert isinstance(decision, Rejection)
        assert decision.verdicts == ("open",)


@on_loop
async def test_where_it_is_full_nothing_waits_unused(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    policy = deployment_policy("a", limit=2 * BLOCK)
    async with (
        opened_state(server.url, policy, domain=domain) as first,
        opened_state(server.url, policy, domain=domain, replica="r2") as second,
    ):
        blocks = Blocks(first.store, BLOCK, HOLD_MS)
        await warm(blocks, first)
        waiting = blocks._unused["a"]
        taken = [await second.acquire() for _ in range(2 * BLOCK)]
        grants = [decision for decision in taken if isinstance(decision, Permit)]
        refused = await blocks.acquire(first.plan, Ask(0, waiting=1))

        assert waiting > 0
        assert len(grants) < 2 * BLOCK
        assert isinstance(refused, Rejection)
        await eventually(lambda: blocks._unused["a"] == 0)
        await eventually(lambda: held(cli, first) == len(grants))


@on_loop
async def test_cancelled_requests_lose_no_permit(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, 200)
        await warm(blocks, state)
        with stopped(server):
            tasks = [asyncio.create_task(granted(blocks, state)) for _ in range(60)]
            await asyncio.sleep(0.02)
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
        used = [each for each in done if isinstance(each, Permit)]
        for permit in used:
            await end(blocks, state, permit)

        assert any(isinstance(each, asyncio.CancelledError) for each in done)
        await eventually(lambda: held(cli, state) == 0 and not state.store.memory.live)
        assert blocks._unused["a"] == 0


@on_loop
async def test_reserved_permits_survive_a_flush_and_end_once(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1000)) as state:
        blocks = Blocks(state.store, BLOCK, HOLD_MS)
        await warm(blocks, state)
        await asyncio.sleep(0)
        waiting = blocks._unused["a"]
        for key in cli.do("KEYS", f"{state.keys.prefix}*"):
            cli.do("DEL", key)
        await state.store.recovery.restore()
        after = held(cli, state)
        blocks.return_unused()

        assert 0 < waiting <= after
        await eventually(lambda: held(cli, state) == 0)


@on_loop
async def test_nothing_waits_for_a_store_that_is_lost_and_nothing_is_left_there(own_server: EmbeddedStore) -> None:
    async with opened(own_server, limit=1000, rpm=100_000) as state:
        failover = state.failover
        failover.blocks = Blocks(failover.shared, BLOCK, HOLD_MS)
        begun = [await state.granted() for _ in range(30)]
        assert begun[-1].is_block
        waiting = failover.blocks._unused["a"]
        with stopped(own_server):
            last = [await state.granted() for _ in range(waiting + 1)]

            assert failover.state == "standby"
            assert not last[-1].is_block
            assert failover.blocks._unused["a"] == 0
            assert (await failover.snapshot()).deployments[0].active == len(begun) + len(last)
            for permit in (*begun, *last):
                await failover.settle(permit, SUCCESS)
            assert (await failover.snapshot()).deployments[0].active == 0
        await state.comes_back()
        await eventually(lambda: leases(own_server) == 0)
        again = [await state.granted() for _ in range(30)]
        assert again[-1].is_block
        for permit in again:
            failover.settle(permit, SUCCESS)


@on_loop
async def test_replica_that_stops_leaves_nothing_behind(own_server: EmbeddedStore) -> None:
    async with opened(own_server, limit=1000, rpm=100_000) as state:
        failover = state.failover
        failover.blocks = Blocks(failover.shared, BLOCK, HOLD_MS)
        for _ in range(30):
            failover.settle(await state.granted(), SUCCESS)
        assert failover.blocks._unused["a"] > 0

    assert leases(own_server) == 0


def test_counts_of_several_domains_are_added() -> None:
    assert BlockCounts(1, 2, 3, 4, 5).and_those(BlockCounts(10, 20, 30, 40, 50)) == BlockCounts(11, 22, 33, 44, 55)
