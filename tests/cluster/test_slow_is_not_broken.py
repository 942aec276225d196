"""Slow is not broken: the only deployment of a model keeps serving, however slow it is, with default settings."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import fresh
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, deployment, in_turn, running_cluster
from tests.support.wire import Answer

KNOWN = 20  # streams after which the deployment has a baseline: from then on slowness is judged
SLOW_LIMIT = 3  # slow calls in a row open a breaker with relief
THINK_MS = 3000
CLIENTS, CALLS, SLOTS = 16, 2, 2
CHUNK_GAP_MS, CHUNKS = 50, 8  # so that the last client waits for longer than the 2 s of the threshold


@pytest.fixture(scope="module")
def patient_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    models = [deployment(name, provider, name) for name, provider in zip(("a", "b"), provider_processes, strict=False)]
    with running_cluster(store, provider_processes, models, domain="patient", replicas=2) as on:
        yield on


@pytest.fixture
def cluster(patient_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(patient_cluster)


def learn(cluster: Cluster, model: str) -> None:
    """Fast streams make the threshold its least, 2 s."""
    for replica in in_turn(cluster.replicas, KNOWN):
        assert replica.chat(model, stream=True).status == 200
    cluster.wait_until_idle()


def assert_slow_and_closed(cluster: Cluster, model: str) -> None:
    cluster.wait_until_idle()
    assert int(cluster.deployment(model)["slow"]) >= SLOW_LIMIT
    assert (cluster.state(model), cluster.transitions(model)) == ("closed", [])


def test_model_that_thinks_for_three_seconds_serves_eight_streams_at_once(cluster: Cluster) -> None:
    learn(cluster, "a")
    cluster.providers[0].behave(latency_ms=THINK_MS)
    calls = [replica.begin_chat("a", stream=True) for replica in in_turn(cluster.replicas, 8)]
    answers = [call.answer() for call in calls]
    for call in calls:
        call.leave()

    assert [answer.status for answer in answers] == [200] * 8
    assert {answer.content for answer in answers} == {answers[0].content}
    assert_slow_and_closed(cluster, "a")


def test_engine_with_two_slots_serves_every_call_of_sixteen_clients(cluster: Cluster) -> None:
    learn(cluster, "b")
    cluster.providers[1].behave(slots=SLOTS, chunk_gap_ms=CHUNK_GAP_MS, chunks=CHUNKS)

    def client(number: int) -> list[Answer]:
        replica = cluster.replicas[number % len(cluster.replicas)]
        return [replica.chat("b", stream=True) for _ in range(CALLS)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [answer for part in pool.map(client, range(CLIENTS)) for answer in part]

    assert [answer.status for answer in answers] == [200] * CLIENTS * CALLS
    assert {answer.content.count(" word") for answer in answers} == {CHUNKS - 1}
    assert_slow_and_closed(cluster, "b")
