"""What only many requests show: memory that grows, leases that are left behind."""

import re
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.loadtest.process import running_provider, wait_until
from tests.support.cluster import Cluster, deployment, running_cluster, running_store

REQUESTS = 50_000
RSS_MOST_MIB = 90
RSS_GROWTH_MOST_MIB = 3


def _rss_mib(pid: int) -> float:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def _load(cluster: Cluster) -> None:
    flags = ["-url", cluster.replicas[0].url, "-model", "gpt-4", "-concurrent", "32", "-requests", str(REQUESTS)]
    subprocess.run([sys.executable, "-m", "loadtest", *flags, "-fail-over", "0"], check=True, timeout=500)


@pytest.mark.long
def test_replica_stays_small_over_a_hundred_thousand_requests() -> None:
    with running_store() as store, running_provider("--name", "instant") as provider:
        models = [deployment("gpt-4-a", provider)]
        with running_cluster(store, [provider], models, replicas=1) as cluster:
            _load(cluster)
            halfway = _rss_mib(cluster.replicas[0].process.pid)
            _load(cluster)
            full = _rss_mib(cluster.replicas[0].process.pid)

            cluster.wait_until_idle()
            assert full <= RSS_MOST_MIB
            assert full - halfway <= RSS_GROWTH_MOST_MIB


CHURNS = 4
CHURN_ACQUIRES = 200_000
ABANDONED_SHARE = 0.1
LEAK_MOST_MIB = 1  # in a churn: 20 bytes a request
STORE_GROWTH_MOST = 1_000_000


class Footprint(NamedTuple):
    """What an hour of traffic must leave as it was."""

    keys: int
    store_bytes: int
    rss_mib: float
    files: int

    @classmethod
    def of(cls, cluster: Cluster) -> "Footprint":
        pid = cluster.replicas[0].process.pid
        memory = int(cluster.redis.info("memory")["used_memory"])
        return cls(int(cluster.redis.dbsize()), memory, _rss_mib(pid), len(list(Path(f"/proc/{pid}/fd").iterdir())))


def _abandon(cluster: Cluster, count: int) -> None:
    """Clients that leave a hanging provider's answer, up to 20 at a time."""
    for first in range(0, count, 20):
        calls = [cluster.replicas[0].begin_chat("hanging", stream=True) for _ in range(min(20, count - first))]
        wait_until(lambda: cluster.redis.zcard(cluster.key("leases:hanging-a")) > 0)
        for call in calls:
            call.leave()


def _churn(cluster: Cluster) -> Footprint:
    """Plain calls, and a tenth as many whose clients leave."""
    loading = threading.Thread(target=_load, args=(cluster,))
    loading.start()
    _abandon(cluster, int(REQUESTS * ABANDONED_SHARE))
    loading.join()
    cluster.wait_until_idle()
    return Footprint.of(cluster)


@pytest.mark.long
def test_churn_with_abandoned_clients_leaves_nothing_behind() -> None:
    with (
        running_store() as store,
        running_provider("--name", "instant") as provider,
        running_provider("--name", "hanging") as hanging,
    ):
        hanging.behave(stall_rate=1)
        models = [deployment("gpt-4-a", provider), deployment("hanging-a", hanging, "hanging", max_parallel=1000)]
        router = {"circuit_breaker_enabled": False}
        with running_cluster(store, [provider], models, replicas=1, router=router) as cluster:
            before, *later = [_churn(cluster) for _ in range(CHURNS)]

            after = later[-1]
            assert _sequence(cluster) >= 2 * CHURN_ACQUIRES  # each is settled
            assert after.keys == before.keys
            assert after.store_bytes - before.store_bytes <= STORE_GROWTH_MOST
            assert after.rss_mib <= RSS_MOST_MIB
            # A leak grows every time; what was in use at once, only when it was more than ever before.
            growth = [late.rss_mib - early.rss_mib for early, late in pairwise([before, *later])]
            assert min(growth) <= LEAK_MOST_MIB
            wait_until(lambda: Footprint.of(cluster).files <= before.files + 2)


def _sequence(cluster: Cluster) -> int:
    return int(cluster.redis.hget(cluster.key("global"), "sequence"))
