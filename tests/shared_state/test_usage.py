"""What tenants used reaches the shared store exactly once, however often it is sent."""

import contextlib
from datetime import UTC, datetime

from shared_state.embedded import EmbeddedStore
from shared_state.records import NO_TOKENS, TokenCounts
from shared_state.usage import OTHER, ROWS_A_CALL, ROWS_MOST
from tests.support.durable_store import DurableStore
from tests.support.live_state import HASTY, OpenedState, opened_state
from tests.support.stores import RedisCli, eventually, on_loop, unreachable

TOKENS = TokenCounts(plain=5, output=7, read=3, written=2)


def kept(cli: RedisCli, state: OpenedState) -> dict[str, list[int]]:
    """By tenant and model: requests, errors, tokens in, out, cached, written, and the cost."""
    rows: dict[bytes, bytes] = cli.do("HGETALL", state.keys.usage(str(datetime.now(UTC).date())))
    rows.pop(b"rows", None)
    return {name.decode(): [int(word) for word in counts.split()] for name, counts in rows.items()}


@on_loop
async def test_requests_reach_the_store_with_their_tokens_and_cost(server: EmbeddedStore) -> None:
    with RedisCli(server.url) as cli:
        async with opened_state(server.url, "a") as state:
            state.store.usage.spent("team-a", "gpt-4", TOKENS, 40)
            state.store.usage.ended("team-a", "gpt-4", False)
            state.store.usage.ended("team-b", "gpt-4", True)
            await eventually(lambda: len(kept(cli, state)) == 2)

            assert kept(cli, state) == {"team-a gpt-4": [1, 0, 10, 7, 3, 2, 40], "team-b gpt-4": [1, 1, 0, 0, 0, 0, 0]}


@on_loop
async def test_counts_of_a_moment_are_one_call(server: EmbeddedStore) -> None:
    with RedisCli(server.url) as cli:
        async with opened_state(server.url, "a") as state:
            for _ in range(500):
                state.store.usage.ended("team-a", "gpt-4", False)
            await eventually(lambda: bool(kept(cli, state)))

            assert kept(cli, state)["team-a gpt-4"][0] == 500
            assert sum(state.batcher.latencies["usage_add"].counts) == 1


@on_loop
async def test_many_rows_are_sent_in_parts(server: EmbeddedStore) -> None:
    rows = 2 * ROWS_A_CALL + 1
    with RedisCli(server.url) as cli:
        async with opened_state(server.url, "a") as state:
            for number in range(rows):
                state.store.usage.ended("team-a", f"m{number}", False)
            await eventually(lambda: len(kept(cli, state)) == rows)

            assert sum(state.batcher.latencies["usage_add"].counts) == 3


@on_loop
async def test_counts_outlive_an_outage_of_the_store(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a", patience=HASTY) as state:
        with unreachable(own_server):
            state.store.usage.ended("team-a", "gpt-4", False)
            await eventually(lambda: state.store.usage.failed > 0)
            state.store.usage.ended("team-a", "gpt-4", False)
        with RedisCli(own_server.url) as cli:
            await eventually(lambda: kept(cli, state).get("team-a gpt-4", [0])[0] == 2)

            assert kept(cli, state) == {"team-a gpt-4": [2, 0, 0, 0, 0, 0, 0]}


@on_loop
async def test_counts_outlive_crashes_of_the_store_and_count_once() -> None:
    async with contextlib.AsyncExitStack() as stack:
        store = DurableStore()
        stack.callback(store.stop)
        await store.start()
        cli = stack.enter_context(RedisCli(store.url))
        state = await stack.enter_async_context(opened_state(store.url, "a"))
        noted = 0
        for _ in range(5):
            for _ in range(40):
                state.store.usage.spent("team-a", "gpt-4", NO_TOKENS, 1)
                noted += 1
                await state.acquire()  # a moment of the loop and of the store
            await store.crash()
        await eventually(lambda: kept(cli, state).get("team-a gpt-4", [0])[-1] >= noted)

        assert kept(cli, state)["team-a gpt-4"][-1] == noted


@on_loop
async def test_close_sends_what_is_left(server: EmbeddedStore) -> None:
    rows = ROWS_A_CALL + 1
    with RedisCli(server.url) as cli:
        async with opened_state(server.url, "a") as state:
            for number in range(rows):
                state.store.usage.ended("team-a", f"m{number}", False)
            await state.store.usage.close()

            assert len(kept(cli, state)) == rows


@on_loop
async def test_close_waits_for_no_store_that_is_away(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a", patience=HASTY) as state:
        with unreachable(own_server):
            state.store.usage.ended("team-a", "gpt-4", False)
            await state.store.usage.close()

        assert state.store.usage.waiting == 1


@on_loop
async def test_rows_that_wait_for_the_store_are_bounded(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a", patience=HASTY) as state:
        with unreachable(own_server):
            for number in range(ROWS_MOST + 5):
                state.store.usage.ended("team-a", f"m{number}", False)

            assert state.store.usage.waiting == ROWS_MOST + 1
        await state.store.usage.close()
        with RedisCli(own_server.url) as cli:
            await eventually(lambda: f"{OTHER} {OTHER}" in kept(cli, state))

            assert kept(cli, state)[f"{OTHER} {OTHER}"][0] >= 5
