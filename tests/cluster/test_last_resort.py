"""A provider that is back serves again within two seconds, and one that is down gets one probe a second, however many
replicas there are.
"""

import time
from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, running_provider
from tests.support.cluster import Cluster, deployment, in_turn, running_cluster
from tests.support.ports import free_port
from tests.support.wire import Answer

SOON_S, SLACK_S = 2.0, 1.0  # what is promised, and what a busy machine may take besides


@pytest.fixture(scope="module")
def port() -> int:
    """Of the provider that is killed and comes back."""
    return free_port()


@pytest.fixture(scope="module")
def lone(store: EmbeddedStore, provider_processes: list[ProviderProcess], port: int) -> Iterator[Cluster]:
    """Two replicas whose model has one deployment, with a cooldown that no test waits for."""
    models = [
        deployment("only", provider_processes[0], "only"),
        deployment("mortal", f"http://127.0.0.1:{port}", "mortal"),
    ]
    router = {
        "circuit_breaker_cooldown": "300s",
        "max_attempts": 1,
        "latency_threshold": "8s",
        "load_shedding": {"max_failure_rate": 1, "min_healthy_ratio": 0},
    }
    with running_cluster(store, provider_processes, models, domain="lone", router=router) as running:
        yield running


@pytest.fixture
def cluster(lone: Cluster) -> Cluster:
    lone.forget()
    for provider in lone.providers:
        provider.behave(error_rate=0)
        provider.request("POST", "/control/reset")
    return lone


def trip(cluster: Cluster, model: str) -> None:
    for replica in in_turn(cluster.replicas, 5):
        assert replica.chat(model).status == 502
        cluster.wait_until_idle()
    assert cluster.state(model) == "open"


def test_failing_provider_gets_one_probe_a_second_of_the_whole_cluster(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    provider.behave(error_rate=1)
    trip(cluster, "only")
    refused: list[Answer] = []
    began_s = time.monotonic()
    for replica in in_turn(cluster.replicas, 10_000):
        refused.append(replica.chat("only"))
        if provider.counts()["requests"] >= 5 + 3:
            break
    took_s = time.monotonic() - began_s

    probes = provider.counts()["requests"] - 5
    assert probes == 3
    assert took_s > probes - 1
    assert [answer.status for answer in refused].count(502) == probes
    assert {answer.headers["retry-after"] for answer in refused if answer.status == 503} == {"1"}


def test_killed_provider_that_is_back_serves_everybody_within_two_seconds(cluster: Cluster, port: int) -> None:
    with running_provider("--port", str(port)):
        assert cluster.replicas[0].chat("mortal").status == 200
    trip(cluster, "mortal")
    with running_provider("--port", str(port)):
        began_s, answers = time.monotonic(), []
        for replica in in_turn(cluster.replicas, 10_000):
            answers.append((time.monotonic() - began_s, replica.chat("mortal")))
            if time.monotonic() - began_s > SOON_S + SLACK_S:
                break

    refused_s = [at_s for at_s, answer in answers if answer.status != 200]
    first = next(answer for _, answer in answers if answer.status == 200)
    assert max(refused_s, default=0.0) < SOON_S
    assert first.headers["x-pllm-last-resort"] == "1"
    assert "open>half_open last_resort" in cluster.transitions("mortal")


def test_explanation_names_the_last_resort(cluster: Cluster) -> None:
    cluster.providers[0].behave(error_rate=1)
    trip(cluster, "only")
    [candidate] = cluster.replicas[0].get("/v1/admin/explain?model=only").json()["candidates"]

    assert (candidate["verdict"], candidate["state"]) == ("last_resort", "open")
