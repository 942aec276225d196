"""The store as people run it: failover by Sentinel, a Cluster whose slot moves and whose master dies, TLS and a user of
few rights. Real servers, real gateways, steady load: no client sees any of it.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import PATIENT
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.stores import wait_until
from tests.support.topologies import Encrypted, Server, Sharded, Watched, ending, until

DOMAIN = "default"
LEASES = f"pllm:{{{DOMAIN}}}:leases"
GATEWAY_ACL = Path(__file__).parents[2] / "docs" / "gateway.acl"


@contextlib.contextmanager
def gateways(url: str, store: EmbeddedStore, provider: ProviderProcess, name: str) -> Iterator[Cluster]:
    models = [deployment("a", provider), deployment("b", provider)]
    state = {"url": url, "deadline": "100ms", "domain": DOMAIN}
    with running_cluster(
        store, [provider], models, domain=name, state=state, router={"latency_threshold": PATIENT}
    ) as running:
        yield running


@contextlib.contextmanager
def steady_load(replicas: Sequence[ReplicaProcess]) -> Iterator[dict[str, Any]]:
    """Calls through all replicas until the block ends; the report is in the dict then."""
    report: dict[str, Any] = {}
    urls = ",".join(replica.url for replica in replicas)
    file = replicas[0].log.with_suffix(".json")
    flags = ["-url", urls, "-rps", "60", "-duration", "120s", "-json", str(file)]
    load = subprocess.Popen(
        [sys.executable, "-m", "loadtest", *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield report
        load.send_signal(2)  # an interrupted load test still reports
        output, _ = load.communicate(timeout=30)
        assert file.exists(), output
        report.update(json.loads(file.read_text()))
    finally:
        load.kill()
        load.communicate()


def state_of(replica: ReplicaProcess) -> str:
    answer = replica.chat()
    assert answer.status == 200, answer
    return answer.headers["x-pllm-state"]


def wait_for_shared(replicas: Sequence[ReplicaProcess]) -> None:
    for replica in replicas:
        until(lambda r=replica: state_of(r) == "shared", "back on the shared store")  # type: ignore[misc]


def assert_nobody_noticed(report: dict[str, Any]) -> None:
    assert report["requests"] > 60
    assert report["failed"] == 0, report


def wait_until_idle(server: Server) -> None:
    wait_until(lambda: server.redis.zcard(LEASES) == 0, lambda: str(server.redis.zrange(LEASES, 0, -1)))


def test_replica_that_sentinels_promote_is_the_shared_store(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], tmp_path: Path
) -> None:
    watched = Watched(tmp_path)
    with ending(watched.servers), gateways(watched.url, store, provider_processes[0], "sentinel") as cluster:
        assert [state_of(replica) for replica in cluster.replicas] == ["shared", "shared"]
        with steady_load(cluster.replicas) as report:
            wait_until(lambda: int(watched.primary.redis.hget("pllm:{default}:global", "sequence")) > 60)
            watched.primary.kill()
            until(watched.promoted, repr(watched.sentinels[0]))
            wait_for_shared(cluster.replicas)
        assert_nobody_noticed(report)
        wait_until_idle(watched.replica)


@pytest.fixture
def sharded(tmp_path: Path) -> Iterator[Sharded]:
    cluster = Sharded(tmp_path)
    with ending(cluster.servers):
        yield cluster


@pytest.mark.long
def test_slot_moves_and_its_new_owner_dies(
    sharded: Sharded, store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    slot = sharded.slot(LEASES)
    with gateways(sharded.url, store, provider_processes[0], "sharded") as cluster:
        assert [state_of(replica) for replica in cluster.replicas] == ["shared", "shared"]
        first = sharded.owner(slot)
        second = next(server for server in sharded.masters if server is not first)
        with steady_load(cluster.replicas) as report:
            wait_until(lambda: int(first.redis.hget("pllm:{default}:global", "sequence")) > 60)
            sharded.move(slot, second)
            wait_for_shared(cluster.replicas)
            wait_until(lambda: second.redis.zcard("pllm:{default}:replicas") == 2)
            second.kill()
            until(lambda: sharded.owner(slot) in sharded.replicas, "a replica was promoted")
            wait_for_shared(cluster.replicas)
        assert_nobody_noticed(report)
        wait_until_idle(sharded.owner(slot))


def test_user_of_few_rights_over_tls_is_enough(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], tmp_path: Path
) -> None:
    acl = next(line for line in GATEWAY_ACL.read_text().splitlines() if line.startswith("user "))
    encrypted = Encrypted(tmp_path, acl.replace("<password>", "secret"))
    url = encrypted.url("gateway", "secret")
    with ending(encrypted.servers), gateways(url, store, provider_processes[0], "tls") as cluster:
        assert [state_of(replica) for replica in cluster.replicas] == ["shared", "shared"]
        assert cluster.replicas[0].stats()["replicas"] == 2
        cluster.replicas[0].force("a", "open")
        cluster.replicas[1].force("a", "reset")
        encrypted.server.redis.flushall()
        assert [state_of(replica) for replica in cluster.replicas] == ["shared", "shared"]
        cluster.replicas[1].kill()
        until(lambda: cluster.replicas[0].stats()["replicas"] == 1, "the dead replica is reaped")
        denied = encrypted.server.redis.acl_log()
        assert denied == []
