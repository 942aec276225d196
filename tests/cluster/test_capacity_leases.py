"""Capacity leases on real replicas: what stays exact, what is bounded, what a lost replica or store leaves behind."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import PATIENT, heal
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster, running_store
from tests.support.stores import stopped

LIMIT, BLOCK = 30, 20


@pytest.fixture
def leasing(provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Two replicas on a store of their own, which a test may stop."""
    heal(provider_processes)
    provider = provider_processes[0]
    models = [
        deployment("hot", provider, "hot", max_parallel=LIMIT),
        deployment("failing", provider, "failing", max_parallel=1000),
    ]
    router = {
        "latency_threshold": PATIENT,
        "capacity_leases": {"block": BLOCK, "for": "1s"},
        "queue": {"max_waiting": 0},
        "load_shedding": {"max_failure_rate": 1, "min_healthy_ratio": 0},
    }
    with (
        running_store() as store,
        running_cluster(store, provider_processes, models, router=router, state={"deadline": "500ms"}) as running,
    ):
        yield running


class Callers:
    """Threads that call without a pause until they are told to stop."""

    def __init__(self, replicas: list[ReplicaProcess], model: str, per_replica: int = 4) -> None:
        self.statuses: list[int] = []
        self.states: set[str] = set()
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(replica, model))
            for replica in replicas
            for _ in range(per_replica)
        ]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(20)

    def _call(self, replica: ReplicaProcess, model: str) -> None:
        while not self._is_over.is_set():
            try:
                answer = replica.chat(model)
            except OSError:
                return  # its replica was killed
            self.statuses.append(answer.status)
            self.states.add(answer.headers.get("x-pllm-state", ""))

    def wait_for(self, more: int) -> None:
        before = len(self.statuses)
        wait_until(lambda: len(self.statuses) >= before + more, lambda: f"{len(self.statuses) - before} of {more}")


def store_calls(cluster: Cluster) -> int:
    """Returns the calls of functions that the store has carried out."""
    return int(cluster.redis.info("commandstats")["cmdstat_fcall"]["calls"])


def test_limit_breaker_crash_and_lost_store_with_capacity_leases(leasing: Cluster) -> None:
    provider, (survivor, doomed) = leasing.providers[0], leasing.replicas
    active = []
    with Callers(leasing.replicas, "hot") as hot:
        for _ in range(30):
            hot.wait_for(5)
            active.append(int(leasing.redis.zcard(leasing.key("leases:hot"))))
        calls, served = store_calls(leasing), hot.statuses.count(200)
        # A single decision is two calls for each request. Heartbeats are calls too, and weigh more on a slow machine.
        wait_until(lambda: store_calls(leasing) - calls < 2 * (hot.statuses.count(200) - served))
    leasing.wait_until_idle()

    assert max(active) <= LIMIT
    assert hot.statuses.count(200) > 0
    # There is no queue: a request without room is shed.
    assert set(hot.statuses) <= {200, 503}

    provider.behave(error_rate=1)
    with Callers(leasing.replicas, "failing") as failing:
        leasing.wait_for_state("failing", "open")
        before = provider.counts()["requests"]
        failing.wait_for(40)
        late = provider.counts()["requests"] - before
    provider.behave(error_rate=0)

    assert late <= 2 * BLOCK
    counts = [replica.stats()["blocks"] for replica in leasing.replicas]
    assert sum(each["late"] for each in counts) <= 2 * BLOCK
    assert all(each["granted"] == sum(each[step] for step in ("handed_out", "given_back", "held")) for each in counts)
    assert 'pllm_block_permits_total{step="handed_out"}' in survivor.get("/metrics").body.decode()
    assert leasing.transitions("failing")[0].startswith("closed>open")

    with Callers([survivor], "hot") as hot:
        hot.wait_for(50)
        with stopped(leasing.store):
            wait_until(lambda: "standby" in hot.states)
            hot.wait_for(20)
        wait_until(lambda: survivor.stats()["state"] == "shared")
        hot.states.clear()
        wait_until(lambda: "shared" in hot.states)
    assert set(hot.statuses) <= {200, 503}
    leasing.wait_until_idle()

    with Callers([doomed], "hot", per_replica=6) as hot:
        hot.wait_for(60)
        wait_until(lambda: leasing.leases() > 6)
        doomed.kill()
        killed_s = time.monotonic()
    leasing.wait_until_idle()
    assert time.monotonic() - killed_s <= 6.5
    assert survivor.chat("hot").status == 200
    leasing.check()
