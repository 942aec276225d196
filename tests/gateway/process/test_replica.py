"""The end of a replica: it reports that it drains, finishes the requests in flight, and only then ends."""

import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import PATIENCE_S, ProviderProcess, wait_until
from tests.support.cluster import Cluster, deployment, running_cluster
from tests.support.raw_provider import RawProvider, chunk_event, plain
from tests.support.wire import DONE

Replica = Callable[..., Cluster]


@pytest.fixture
def leaving(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], raw_provider_thread: RawProvider
) -> Iterator[Replica]:
    """Starts one replica, which ends with its test."""
    raw_provider_thread.forget()
    provider = provider_processes[0]
    provider.behave(stall_rate=0, stall_after_chunks=None, chunk_gap_ms=0, chunks=8, error_rate=0, latency_ms=0)
    provider.wait_for(in_flight=0)
    provider.request("POST", "/control/reset")
    with contextlib.ExitStack() as stack:

        def start(drain_timeout: str = "60s") -> Cluster:
            return stack.enter_context(
                running_cluster(
                    store,
                    provider_processes,
                    [deployment("primary", provider), deployment("raw", raw_provider_thread.url, "raw")],
                    domain="leaving",
                    replicas=1,
                    server={"drain_timeout": drain_timeout},
                )
            )

        yield start


def ended(cluster: Cluster) -> int:
    """The exit code, once every lease is gone too."""
    code = cluster.replicas[0].process.wait(PATIENCE_S)
    assert cluster.leases() == 0
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_replica_ends_at_once_with_code_0(leaving: Replica, number: signal.Signals) -> None:
    cluster = leaving()
    cluster.replicas[0].signal(number)

    assert ended(cluster) == 0
    assert "Traceback" not in cluster.replicas[0].said()


def test_idle_keep_alive_connections_do_not_delay_the_end(leaving: Replica) -> None:
    cluster = leaving()
    with cluster.replicas[0].begin_chat() as call:
        assert call.answer().status == 200
        cluster.replicas[0].signal(signal.SIGTERM)

        assert ended(cluster) == 0


def test_stream_in_flight_is_finished(leaving: Replica) -> None:
    cluster = leaving()
    replica, provider = cluster.replicas[0], cluster.providers[0]
    provider.behave(chunks=20, chunk_gap_ms=30)
    with replica.begin_chat(stream=True) as call:
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        answer = call.answer()

    assert (answer.status, answer.is_whole, answer.events[-1]) == (200, True, DONE)
    assert ended(cluster) == 0
    assert provider.counts()["succeeded"] == 1


def test_call_in_flight_is_finished(leaving: Replica) -> None:
    cluster = leaving()
    replica, provider = cluster.replicas[0], cluster.providers[0]
    provider.behave(latency_ms=300)
    with replica.begin_chat() as call:
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)

        assert call.answer().status == 200
    assert ended(cluster) == 0
    assert "Traceback" not in replica.said()


def test_draining_replica_is_alive_but_not_ready(leaving: Replica) -> None:
    cluster = leaving()
    replica, provider = cluster.replicas[0], cluster.providers[0]
    provider.behave(stall_rate=1)
    with replica.begin_chat():
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        wait_until(lambda: replica.get("/readyz").status == 503)

        assert replica.get("/livez").status == 200
    assert ended(cluster) == 0


def test_calls_that_arrive_while_draining_are_still_served(leaving: Replica) -> None:
    """A load balancer needs a moment to see that a replica is not ready."""
    cluster = leaving()
    replica, provider = cluster.replicas[0], cluster.providers[0]
    provider.behave(stall_rate=1)
    with replica.begin_chat():
        provider.wait_for(in_flight=1)
        replica.signal(signal.SIGTERM)
        wait_until(lambda: replica.get("/readyz").status == 503)
        provider.behave(stall_rate=0)

        assert replica.chat().status == 200
    assert ended(cluster) == 0


def test_replica_does_not_wait_for_ever(leaving: Replica) -> None:
    """A call without an end is cut off at the drain timeout: its client sees that, its provider's call is ended and
    its permit given back.
    """
    cluster = leaving(drain_timeout="500ms")
    replica, provider = cluster.replicas[0], cluster.providers[0]
    provider.behave(stall_after_chunks=1)
    with replica.begin_chat(stream=True) as call:
        call.peek_until(b"Hello")
        replica.signal(signal.SIGTERM)
        answer = call.answer()

    assert (answer.status, answer.is_whole) == (200, False)
    assert ended(cluster) == 0
    provider.wait_for(aborted=1, in_flight=0)


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_replica_does_not_wait_for_a_client_that_reads_nothing(
    leaving: Replica, raw_provider_thread: RawProvider, is_stream: bool
) -> None:
    """The bytes for this client can never be flushed."""
    cluster = leaving(drain_timeout="500ms")
    replica, text = cluster.replicas[0], "x" * 20_000_000
    raw_provider_thread.answer = plain(json.dumps({"choices": [{"message": {"content": text}}]}).encode())
    if is_stream:
        raw_provider_thread.answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        raw_provider_thread.flood = chunk_event("x" * 1000)
    with replica.begin_chat("raw", stream=is_stream) as call:
        call.peek_until(b"200 OK")
        replica.signal(signal.SIGTERM)

        assert ended(cluster) == 0


@pytest.mark.parametrize(
    ("host", "expected"), [("0.0.0.0", socket.gethostname()), ("::", socket.gethostname()), ("127.0.0.1", "127.0.0.1")]
)
def test_replica_that_listens_everywhere_names_a_local_address(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], host: str, expected: str
) -> None:
    """In containers all replicas would report 0.0.0.0:8080."""
    models = [deployment("primary", provider_processes[0])]
    keys = {"admin": "local", "keys": [{"name": "someone", "key": "key-4f9d1c7ae2b05863"}]}
    with running_cluster(
        store, provider_processes, models, domain="found", replicas=1, server={"host": host}, auth=keys
    ) as cluster:
        replica = cluster.replicas[0]
        (shown,) = replica.get("/v1/admin/replicas").json()["replicas"]
        assert replica.stop() == 0

    assert shown["address"] == f"{expected}:{replica.port}"
