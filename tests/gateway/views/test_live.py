"""The live feed on a real store: one read a second for all listeners, and none without listeners."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from gateway.errors import RateLimited
from gateway.views.live import LISTENERS_MOST, Listener, LiveFeed, ModelShown
from shared_state import background
from shared_state.connection.patience import Patience
from shared_state.embedded import EmbeddedStore
from shared_state.failover import Failover
from tests.support.live_state import HASTY, LENIENT, OpenedState, opened_state
from tests.support.stores import on_loop, stopped


class Watched(NamedTuple):
    feed: LiveFeed
    state: OpenedState
    draining: asyncio.Event


@contextlib.asynccontextmanager
async def watched(store: EmbeddedStore, patience: Patience = LENIENT) -> AsyncIterator[Watched]:
    async with opened_state(store.url, "a", "b", patience=patience) as state:
        draining = asyncio.Event()
        models = [ModelShown("m", ("a", "b"))]
        feed = LiveFeed(Failover(state.store, None), models, "r1", dict, draining.is_set)
        try:
            yield Watched(feed, state, draining)
        finally:
            await feed.stop()


async def next_frame(listener: Listener) -> tuple[str, Any]:
    encoded = await listener.encoded()
    assert encoded is not None
    return encoded[0], json.loads(encoded[1])


@on_loop
async def test_first_frame_is_full_and_the_next_one_is_a_delta(store: EmbeddedStore) -> None:
    async with watched(store) as (feed, state, _):
        listener = feed.listen()
        kind, whole = await next_frame(listener)
        await state.store.force("b", "open", "ann", "maintenance")
        next_kind, change = await next_frame(listener)

    assert (kind, next_kind) == ("full", "delta")
    assert [row["id"] for row in whole["deployments"]] == ["a", "b"]
    assert whole["models"] == [{"name": "m", "deployments": ["a", "b"], "fallbacks": []}]
    assert [(row["id"], row["state"]) for row in change["deployments"]] == [("b", "forced_open")]
    assert [(event["subject"], event["reason"]) for event in change["events"]] == [("b", "open by ann: maintenance")]
    assert "models" not in change


@on_loop
async def test_many_listeners_cost_one_look(store: EmbeddedStore) -> None:
    async with watched(store) as (feed, state, _):
        alone = feed.listen()
        await next_frame(alone)
        before = state.batcher.round_trips
        await next_frame(alone)
        price = state.batcher.round_trips - before
        others = [feed.listen() for _ in range(LISTENERS_MOST - 1)]
        await asyncio.gather(*(next_frame(listener) for listener in others))
        before = state.batcher.round_trips
        await asyncio.gather(*(next_frame(listener) for listener in [alone, *others]))

        assert state.batcher.round_trips - before == price


@on_loop
async def test_listeners_are_bounded_and_leaving_makes_room(store: EmbeddedStore) -> None:
    async with watched(store) as (feed, _, _):
        listeners = [feed.listen() for _ in range(LISTENERS_MOST)]
        with pytest.raises(RateLimited):
            feed.listen()
        listeners[0].close()
        listeners[0].close()
        feed.listen()
        with pytest.raises(RateLimited):
            feed.listen()


@on_loop
async def test_store_is_not_read_without_listeners(store: EmbeddedStore) -> None:
    async with watched(store) as (feed, state, _):
        listener = feed.listen()
        await next_frame(listener)
        listener.close()
        task = next(each for each in asyncio.all_tasks() if each.get_name() == "live feed")
        await task
        before = state.batcher.round_trips
        again = feed.listen()

        assert state.batcher.round_trips == before
        assert (await next_frame(again))[0] == "full"


@on_loop
async def test_failed_feed_is_reported_and_continues_for_its_listeners(store: EmbeddedStore) -> None:
    defects, before = [ValueError("a defect")], background.failures["live feed"]

    def cluster_summary() -> dict[str, object]:
        if defects:
            raise defects.pop()
        return {}

    async with opened_state(store.url, "a", "b") as state:
        feed = LiveFeed(Failover(state.store, None), [ModelShown("m", ("a",))], "r1", cluster_summary, lambda: False)
        kind, _ = await next_frame(feed.listen())
        await feed.stop()

    assert kind == "full"
    assert background.failures["live feed"] == before + 1


@on_loop
async def test_who_missed_a_frame_gets_the_whole(store: EmbeddedStore) -> None:
    async with watched(store) as (feed, _, _):
        slow, fast = feed.listen(), feed.listen()
        await next_frame(slow)
        kinds = [(await next_frame(fast))[0] for _ in range(3)]

        assert kinds == ["full", "delta", "delta"]
        assert (await next_frame(slow))[0] == "full"


@on_loop
async def test_earlier_events_are_shown_once_and_never_as_new(store: EmbeddedStore) -> None:
    async with watched(store) as (feed, state, _):
        await state.store.force("a", "open", "ann", "before")
        listener = feed.listen()
        _, whole = await next_frame(listener)

        assert whole["events"][-1]["reason"] == "open by ann: before"
        assert listener.events() == []


@on_loop
async def test_store_that_does_not_answer_is_named_in_the_frame(store: EmbeddedStore) -> None:
    async with watched(store, HASTY) as (feed, _, _):
        listener = feed.listen()
        await next_frame(listener)
        with stopped(store):
            _, frame = await next_frame(listener)
        _, after = await next_frame(listener)

    assert "problem" in frame
    assert frame["replica"] == "r1"
    assert "problem" not in after


@on_loop
async def test_drain_ends_the_streams(store: EmbeddedStore) -> None:
    async with watched(store) as (feed, _, draining):
        listener = feed.listen()
        await next_frame(listener)
        draining.set()

        assert await listener.encoded() is None
