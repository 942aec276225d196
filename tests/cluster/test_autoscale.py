"""The autoscaling signal of a real cluster: from every replica the same, from the load of all of them."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import fresh
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster, running_store
from tests.support.wire import Call

PATH, LIVE = "/v1/admin/autoscale", "/v1/admin/live?frames=1"
# Two requests a replica, and five at the same time.
AUTOSCALE = {
    "target_concurrency": 2,
    "utilization": 1,
    "min_replicas": 3,
    "max_replicas": 9,
    "scale_down_delay": "1h",
}


@pytest.fixture(scope="module")
def scaling(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    models = [deployment("five", first, "five", max_parallel=5, concurrency="fixed")]
    router = {"latency_threshold": "60s", "autoscale": AUTOSCALE, "queue": {"max_wait": "60s", "target": "60s"}}
    with running_cluster(store, [first], models, domain="scaling", replicas=3, router=router) as running:
        yield running


@pytest.fixture
def cluster(scaling: Cluster) -> Iterator[Cluster]:
    yield from fresh(scaling)


def signal(replica: ReplicaProcess) -> dict[str, Any]:
    answer = replica.get(PATH)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json()
    return found


@contextlib.contextmanager
def held(cluster: Cluster, calls: int) -> Iterator[None]:
    """So many calls hang, through all replicas in turn."""
    cluster.providers[0].behave(stall_rate=1)
    with contextlib.ExitStack() as stack:
        begun: list[Call] = []
        for number in range(calls):
            replica = cluster.replicas[number % len(cluster.replicas)]
            begun.append(stack.enter_context(replica.begin_chat("five")))
        yield


def test_quiet_cluster_has_as_many_as_must_be(cluster: Cluster) -> None:
    wait_until(lambda: signal(cluster.replicas[0])["inputs"]["replicas"] == 3)
    found = signal(cluster.replicas[1])

    assert (found["desired_replicas"], found["wanted_replicas"]) == (3, 3)
    assert found["inputs"]["limit"] == 5
    assert found["settings"] == AUTOSCALE | {"utilization": 1.0, "scale_down_delay": "3600s", "ahead": "60s"}


def test_active_and_waiting_requests_of_all_replicas_ask_for_more(cluster: Cluster) -> None:
    # 5 are served, 13 wait, and of those 5 count: (5 + 5) / 2.
    with held(cluster, 18):
        wait_until(lambda: signal(cluster.replicas[0])["desired_replicas"] == 5)
        found = signal(cluster.replicas[0])

        assert (found["inputs"]["active_requests"], found["inputs"]["waiting_requests"]) == (5, 13)
        assert found["reason"] == "load"
    wait_until(lambda: signal(cluster.replicas[2])["wanted_replicas"] == 3)
    assert signal(cluster.replicas[2])["reason"] == "held"
    assert signal(cluster.replicas[2])["desired_replicas"] == 5


def test_every_replica_reports_the_same(cluster: Cluster) -> None:
    with held(cluster, 5):
        looks: list[list[dict[str, Any]]] = []

        def agree() -> bool:
            """Each second brings a new judgement: looks count that fall between two."""
            order = (*cluster.replicas, cluster.replicas[0])
            looks.append([{**signal(each), "age_ms": 0, "changed": None} for each in order])
            return looks[-1][0] == looks[-1][-1]

        wait_until(lambda: signal(cluster.replicas[1])["inputs"]["active_requests"] == 5)
        wait_until(agree)

    assert looks[-1][0] == looks[-1][1] == looks[-1][2]
    assert looks[-1][0]["inputs"]["active_requests"] == 5


def test_metrics_tell_the_signal_and_what_it_is_made_of(cluster: Cluster) -> None:
    def told(replica: ReplicaProcess) -> dict[str, float]:
        lines = re.findall(r"^pllm_(desired_replicas|autoscale_\w+) (\S+)$", replica.get("/metrics").text, re.MULTILINE)
        return {name: float(value) for name, value in lines}

    with held(cluster, 5):
        wait_until(lambda: all(told(each).get("autoscale_average", 0) > 4.9 for each in cluster.replicas))

    for replica in cluster.replicas:
        found = told(replica)
        assert found["autoscale_limit"] == 5
        assert found["desired_replicas"] == signal(replica)["desired_replicas"]
        assert found.keys() == {
            "desired_replicas",
            *(f"autoscale_{name}" for name in ("wanted_replicas", "average", "peak", "foreseen", "waiting", "limit")),
        }


def test_replica_on_its_standby_store_reports_nothing(provider_processes: list[ProviderProcess]) -> None:
    first = provider_processes[0]
    models = [deployment("alone", first, "alone")]
    with (
        running_store() as lost,
        running_cluster(lost, [first], models, replicas=1, router={"autoscale": AUTOSCALE}) as running,
    ):
        replica = running.replicas[0]
        wait_until(lambda: "pllm_desired_replicas" in replica.get("/metrics").text)
        lost.stop()
        wait_until(lambda: replica.get(PATH).status == 503)

        assert replica.get(PATH).error["code"] == "state_unavailable"
        wait_until(lambda: "pllm_desired_replicas" not in replica.get("/metrics").text)
        assert '"autoscale":{"desired_replicas":0,"why":"not known now"}' in replica.get(LIVE).text
