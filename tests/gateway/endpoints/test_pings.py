"""Pings while a stream waits: the answer behind them is the same, and a failure is told in the stream."""

from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

PING = b": ping\n\n"


@pytest.fixture
def pinging(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first, second = provider_processes
    models = [deployment("first", first, timeout="1s"), deployment("second", second, "spare")]
    with running_cluster(
        store,
        provider_processes,
        models,
        domain="pinging",
        engines=("hypercorn", "uvicorn"),
        server={"ping_interval": "50ms"},
        router={"latency_threshold": "8s"},
    ) as cluster:
        first.behave(latency_ms=300)
        yield cluster
        first.behave(latency_ms=0, stall_rate=0, error_rate=0, error_status=500)


@pytest.mark.parametrize("number", [0, 1], ids=["hypercorn", "uvicorn"])
def test_stream_begins_with_pings_while_it_waits(pinging: Cluster, number: int) -> None:
    answer = pinging.replicas[number].chat(stream=True)

    assert answer.status == 200
    assert answer.body.startswith(PING)
    assert answer.content == "Hello from provider-0." + " word" * 7
    assert answer.body.endswith(b"data: [DONE]\n\n")
    pinging.wait_until_idle()


@pytest.mark.parametrize("status", [500, 400])
def test_failure_behind_pings_is_an_error_in_the_stream(pinging: Cluster, status: int) -> None:
    pinging.providers[0].behave(error_rate=1, error_status=status)
    answer = pinging.replicas[0].chat(stream=True)

    assert answer.status == 200
    assert answer.body.startswith(PING)
    assert answer.body.count(b'data: {"error"') == 1
    assert b"[DONE]" not in answer.body


def test_plain_answer_has_no_pings(pinging: Cluster) -> None:
    replica: ReplicaProcess = pinging.replicas[0]

    assert replica.chat().json()["choices"]


def test_client_that_leaves_while_it_is_pinged_ends_the_call(pinging: Cluster) -> None:
    provider = pinging.providers[0]
    provider.behave(stall_rate=1)
    with pinging.replicas[0].begin_chat(stream=True) as call:
        call.read_until(PING)
    pinging.wait_until_idle()

    assert provider.wait_for(in_flight=0)["aborted"] >= 1
