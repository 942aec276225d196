"""Budgets through a store that is killed and comes back from its append-only file, with gateways that have no standby
store: nothing is lost, and nothing is spent that is not counted. One of the gateways is killed as well.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.durable_store import DurableStore

AMOUNT, DEAREST = 250_000, 4_200  # micro-units; a call may cost 40 tokens out, and a prompt of some 50
HEADERS = {"authorization": "Bearer sk-crowd"}
CALLERS = 5
SPENT_S = 60.0


@pytest.fixture
def durable() -> Iterator[DurableStore]:
    store = DurableStore()
    try:
        asyncio.run(store.start())
        yield store
    finally:
        store.stop()


@pytest.fixture
def cluster(durable: DurableStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    price = {"input_per_million": 1, "output_per_million": 100}
    keys = [{"name": "crowd", "key": "sk-crowd", "budget": {"amount": AMOUNT / 1_000_000, "per": "total"}}]
    with running_cluster(
        durable,
        [first],
        [deployment("dear", first, "dear", cost=price)],
        domain="restart",
        replicas=3,
        state={"standby": "none"},
        auth={"admin": "local", "keys": keys},
        router={"latency_threshold": "8s"},
    ) as running:
        yield running


def account(cluster: Cluster) -> dict[str, str]:
    found: dict[str, str] = cluster.redis.hgetall(cluster.key("budget:tenant:crowd"))
    return found


def spend(replica: ReplicaProcess, seed: int) -> Counter[Any]:
    """Until nothing fits that nobody can give back, or the replica is gone."""
    draw, seen, ends_s = random.Random(seed), Counter[Any](), time.monotonic() + SPENT_S
    while True:
        assert time.monotonic() < ends_s, seen
        try:
            answer = replica.chat("dear", headers=HEADERS, max_tokens=draw.randint(9, 40))
        except (OSError, AssertionError):
            return seen
        seen[answer.status] += 1
        if answer.status == 402 and "retry-after" not in answer.headers:
            return seen


def test_budget_is_used_up_and_never_exceeded_though_the_store_and_a_gateway_are_killed(
    cluster: Cluster, durable: DurableStore
) -> None:
    cluster.providers[0].behave(latency_ms=30, latency_distribution="uniform")

    def reaches(share: float) -> None:
        wait_until(lambda: int(account(cluster).get("spent", 0)) > share * AMOUNT, lambda: str(account(cluster)))

    with ThreadPoolExecutor(3 * CALLERS) as pool:
        callers = [pool.submit(spend, each, n) for n, each in enumerate(cluster.replicas * CALLERS)]
        reaches(0.2)
        cluster.replicas[2].kill()
        for share in (0.3, 0.6):
            reaches(share)
            asyncio.run(durable.crash())
        seen = sum((caller.result() for caller in callers), Counter[Any]())
    wait_until(lambda: account(cluster)["reserved"] == "0", lambda: str(account(cluster)))

    assert AMOUNT - DEAREST < int(account(cluster)["spent"]) <= AMOUNT
    assert seen[200] * 810 <= int(account(cluster)["spent"])
    assert set(seen) <= {200, 402, 503}
