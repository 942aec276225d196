"""Bounded work: the largest call of each script stays under the ten milliseconds after which a store complains."""

import itertools
from collections.abc import Callable

import pytest

from tests.lua.test_block import block, settle_block
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli

SLOW_AFTER_US = 10_000
BLOCK_MOST = 100  # that settings allow
IDS = tuple(f"d{k:03}" for k in range(50))
CHAIN = tuple((name, k // 4) for k, name in enumerate(IDS[:16]))


def is_ever_quick(cli: RedisCli, call: Callable[[], object]) -> bool:
    """Whoever shares this machine may hold up one call, but not five."""
    for _ in range(5):
        cli.do("SLOWLOG", "RESET")
        call()
        if cli.do("SLOWLOG", "LEN") == 0:
            return True
    return False


@pytest.fixture
def large(cluster: Cluster, cli: RedisCli) -> Cluster:
    """Fifty deployments with full windows, and four hundred active requests on the first."""
    cli.do("CONFIG", "SET", "slowlog-log-slower-than", SLOW_AFTER_US)
    cluster.configure(*(deployment_policy(name, limit=1000, rpm=6000) for name in IDS))
    for _ in range(6):
        for name in IDS[:16]:
            cluster.call(name, "failure")
            cluster.call(name, latency_ms=900)
        cluster.advance(10_000)
    for k in range(400):
        cluster.granted(IDS[0], stream=True, replica=f"r{k % 2}")
    return cluster


def test_acquire_of_sixteen_candidates(large: Cluster, cli: RedisCli) -> None:
    assert is_ever_quick(cli, lambda: large.granted(*CHAIN, priority=0))


def test_explain_of_sixteen_candidates(large: Cluster, cli: RedisCli) -> None:
    assert is_ever_quick(cli, lambda: large.explain(*CHAIN))


def test_settle(large: Cluster, cli: RedisCli) -> None:
    permits = [large.granted(IDS[1]) for _ in range(5)]
    remaining = itertools.chain(permits)

    assert is_ever_quick(cli, lambda: large.settle(next(remaining), "failure"))


def test_beat_that_judges_and_tells_of_many_first_bytes(large: Cluster, cli: RedisCli) -> None:
    permits = tuple(large.granted(IDS[0], stream=True) for _ in range(100))

    def judge() -> None:
        large.advance(5000)
        large.beat(answered=permits)

    assert is_ever_quick(cli, judge)


def test_snapshot_of_fifty_deployments(large: Cluster, cli: RedisCli) -> None:
    assert is_ever_quick(cli, large.snapshot)


def test_reap_of_a_whole_chunk(large: Cluster, cli: RedisCli) -> None:
    offsets = itertools.count(0)

    assert is_ever_quick(cli, lambda: large.reap_chunk("r1", IDS[0], offset=next(offsets), last=False))


def test_nothing_else_was_slow(large: Cluster, cli: RedisCli) -> None:
    def ordinary() -> None:
        large.configure(IDS[0])
        large.force(IDS[2], "open")
        large.force(IDS[2], "reset")
        large.call(IDS[3], times=10)

    assert is_ever_quick(cli, ordinary)


def test_largest_block_of_sixteen_candidates(large: Cluster, cli: RedisCli) -> None:
    assert is_ever_quick(cli, lambda: block(large, *CHAIN, count=BLOCK_MOST, priority=0))


def test_settle_of_the_largest_block(large: Cluster, cli: RedisCli) -> None:
    blocks = iter([block(large, IDS[1], count=BLOCK_MOST, priority=0) for _ in range(5)])

    assert is_ever_quick(cli, lambda: settle_block(large, next(blocks), "failure", "success"))
