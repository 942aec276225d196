"""Exactly one configuration is in force, and the right one, whatever happens to replicas and store."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvloop

from shared_state.embedded import EmbeddedStore
from tests.support.live_state import opened_batcher
from tests.support.state import virtual_scripts
from tests.support.stores import RedisCli, running_server
from tests.support.virtual_replicas import SETTLED_S, Deed, VirtualCluster, deeds

SITUATIONS = {
    "an empty domain": (),
    "one replica": (Deed("start", 0, "A"),),
    "two alike": (Deed("start", 0, "A"), Deed("start", 1, "A")),
    "an upgrade that has begun": (Deed("start", 0, "A"), Deed("start", 1, "A"), Deed("start", 2, "B")),
    "an upgrade that is nearly over": (Deed("start", 0, "A"), Deed("start", 1, "B"), Deed("start", 2, "B")),
}
SLOW = {"an upgrade that has begun", "an upgrade that is nearly over"}  # half a minute each: left to make test-long
LONGEST_S = 1800
ORPHANED_S = 3  # lua/include/configuration/in_force.lua


@asynccontextmanager
async def clusters(url: str) -> AsyncIterator[Callable[[], VirtualCluster]]:
    """Each on a domain of its own."""
    scripts = virtual_scripts()
    with RedisCli(url) as cli:
        async with opened_batcher(url, tuple(scripts.values())) as batcher:
            yield lambda: VirtualCluster(cli, batcher, scripts)


async def happened(cluster: VirtualCluster, *history: Deed) -> VirtualCluster:
    """Each deed is over before the next: a crash when the heartbeat is too old, everything else after the three seconds
    for which a file stays in force that no living replica has.
    """
    for deed in history:
        await cluster.do(deed)
        await cluster.settle(SETTLED_S if deed.action == "crash" else ORPHANED_S)
    return cluster


def check(cluster: VirtualCluster, history: Sequence[Deed]) -> None:
    if cluster.slots and cluster.expected:
        faults = cluster.faults(cluster.expected)
        assert not faults, f"{cluster.expected} must be in force after {'; '.join(map(str, history))}: {faults}"


async def explored(url: str, start: tuple[Deed, ...], depth: int) -> int:
    """Every order of deeds up to that length, from that situation; the number of orders."""
    count, unfinished = 0, [list(start)]
    async with clusters(url) as new:
        while unfinished:
            history = unfinished.pop()
            cluster = await happened(new(), *history)
            await cluster.settle()
            check(cluster, history)
            count += 1
            if len(history) < len(start) + depth:
                unfinished += [[*history, deed] for deed in deeds(cluster, "AB")]
            await cluster.forget()
    return count


def patient(work: Coroutine[None, None, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(work, LONGEST_S))


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedStore]:
    yield from running_server("valkey")


@pytest.mark.parametrize("situation", [pytest.param(s, marks=[pytest.mark.long] * (s in SLOW)) for s in SITUATIONS])
def test_one_configuration_after_every_order_of_two_deeds(valkey: EmbeddedStore, situation: str) -> None:
    assert patient(explored(valkey.url, SITUATIONS[situation], 2)) > 30


@pytest.mark.long
@pytest.mark.parametrize("situation", SITUATIONS)
def test_one_configuration_after_every_order_of_three_deeds(valkey: EmbeddedStore, situation: str) -> None:
    assert patient(explored(valkey.url, SITUATIONS[situation], 3)) > 300


async def hurried(url: str, seed: int, histories: int) -> int:
    """Random deeds, one or no second apart. Nobody can say which of two files is right then, but all must have one."""
    draw, count = random.Random(seed), 0
    async with clusters(url) as new:
        for _ in range(histories):
            cluster, history = new(), []
            for _ in range(draw.randint(3, 8)):
                history.append(draw.choice(list(deeds(cluster, "ABC"))))
                await cluster.do(history[-1])
                await cluster.settle(draw.randint(0, 1))
            await cluster.settle(2 * SETTLED_S)
            if cluster.slots:
                [in_force] = {replica.in_force.known.digest for replica in cluster.living}
                file = in_force.removeprefix("sha256:")
                assert file in {replica.file for replica in cluster.living}, history
                cluster.expected = file
                check(cluster, history)
                count += 1
            await cluster.forget()
    return count


def test_hurried_deeds_end_in_one_configuration_that_a_living_replica_has(valkey: EmbeddedStore) -> None:
    assert patient(hurried(valkey.url, seed=1, histories=60)) > 30


@pytest.mark.long
def test_thousand_hurried_histories_end_in_one_configuration(valkey: EmbeddedStore) -> None:
    assert patient(hurried(valkey.url, seed=2, histories=1500)) > 750


async def of_another_release(url: str) -> int:
    """A replica that does not understand all of what is in force; returns how many of its deployments it knows."""
    async with clusters(url) as new:
        cluster = await happened(new(), Deed("start", 0, "A"))
        cluster.publish_less()
        await happened(cluster, Deed("start", 1, "B"))
        configuration, stored = cluster.slots[1].store.configuration, cluster.stored()

        assert (configuration.version, stored["failure_threshold"], stored["a"][0]) == (0, ord("A"), b"%d" % ord("A"))
        return len(configuration.deployments)


def test_what_is_not_understood_of_another_release_is_used_but_never_written(valkey: EmbeddedStore) -> None:
    assert patient(of_another_release(valkey.url)) == 2
