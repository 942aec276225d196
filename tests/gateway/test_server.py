"""The end of a replica: it says it is leaving, finishes what is in flight, and only then goes."""

import signal
from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, deployment, running_cluster
from tests.support.wire import DONE

ENGINES = ("hypercorn", "uvicorn")


@pytest.fixture(params=ENGINES)
def leaving(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """One replica of its own for each test, because it ends with it."""
    provider = provider_processes[0]
    provider.behave(stall_rate=0, stall_after_chunks=None, chunk_gap_ms=0, chunks=8, error_rate=0, latency_ms=0)
    provider.wait_for(in_flight=0)
    provider.request("POST", "/control/reset")
    engine: str = request.param
    with running_cluster(
        store,
        provider_processes,
        [deployment("primary", provider)],
        domain="leaving",
        engines=(engine,),
        server={"drain_timeout": "3s"},
    ) as running:
        yield running
        assert running.leases() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_replica_ends_at_once_with_code_0(leaving: Cluster, number: signal.Signals) -> None:
    replica = leaving.replicas[0]
    replica.signal(number)

    assert replica.process.wait(3) == 0


def test_idle_keep_alive_connections_do_not_delay_the_end(leaving: Cluster) -> None:
    replica = leaving.replicas[0]
    with replica.begin_chat() as call:
        assert call.answer().status == 200
        replica.signal(signal.SIGTERM)

        assert replica.process.wait(4) == 0


def test_stream_in_flight_is_finished(leaving: Cluster) -> None:
    replica, provider = leaving.replicas[0], leaving.providers[0]
    provider.behave(chunks=20, chunk_gap_ms=50)
    with replica.begin_chat(stream=True) as call:
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        answer = call.answer()

    assert (answer.status, answer.is_whole, answer.events[-1]) == (200, True, DONE)
    assert replica.process.wait(5) == 0
    assert provider.counts()["succeeded"] == 1


def test_call_in_flight_is_finished(leaving: Cluster) -> None:
    replica, provider = leaving.replicas[0], leaving.providers[0]
    provider.behave(latency_ms=500)
    with replica.begin_chat() as call:
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)

        assert call.answer().status == 200
    assert replica.process.wait(5) == 0


def test_draining_replica_is_alive_but_not_ready(leaving: Cluster) -> None:
    replica, provider = leaving.replicas[0], leaving.providers[0]
    provider.behave(stall_rate=1)
    with replica.begin_chat():
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        wait_until(lambda: replica.get("/readyz").status == 503)

        assert replica.get("/livez").status == 200
    assert replica.process.wait(5) == 0


def test_calls_that_arrive_while_draining_are_still_served(leaving: Cluster) -> None:
    """A load balancer needs a moment to see that a replica is not ready."""
    replica, provider = leaving.replicas[0], leaving.providers[0]
    provider.behave(stall_rate=1)
    with replica.begin_chat():
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        wait_until(lambda: replica.get("/readyz").status == 503)
        provider.behave(stall_rate=0)

        assert replica.chat().status == 200
    assert replica.process.wait(5) == 0


def test_replica_does_not_wait_for_ever(leaving: Cluster) -> None:
    """A call without an end is cut off at the drain timeout: its client sees that, its provider's call is ended and
    its permit given back.
    """
    replica, provider = leaving.replicas[0], leaving.providers[0]
    provider.behave(stall_after_chunks=1)
    with replica.begin_chat(stream=True) as call:
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        answer = call.answer()

    assert (answer.status, answer.is_whole) == (200, False)
    assert replica.process.wait(5) == 0
    provider.wait_for(aborted=1, in_flight=0)


def test_end_of_a_replica_is_no_defect(leaving: Cluster) -> None:
    replica, provider = leaving.replicas[0], leaving.providers[0]
    provider.behave(latency_ms=100)
    with replica.begin_chat() as call:
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        call.answer()
    replica.process.wait(5)

    assert "Traceback" not in replica.said()
