"""Requests wait while every deployment of their model is full, and go on when something is freed in the cluster."""

import contextlib
from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import fresh
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, in_turn, running_cluster
from tests.support.wire import Call

PLACES = 4


@pytest.fixture(scope="module")
def queueing(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    models = [
        deployment(name, first, name, max_parallel=PLACES, concurrency="fixed")
        for name in ("wide", "short", "off", "brief")
    ]
    with running_cluster(
        store,
        [first],
        models,
        domain="queueing",
        replicas=3,
        router={
            "latency_threshold": "60s",
            "model_queues": {
                "short": {"max_waiting": 2},
                "off": {"max_waiting": 0},
                "brief": {"max_wait": "100ms"},
                "wide": {"max_wait": "60s", "target": "60s"},
            },
        },
    ) as running:
        yield running


@pytest.fixture
def queues(queueing: Cluster) -> Iterator[Cluster]:
    yield from fresh(queueing)


def waiting(replica: ReplicaProcess) -> dict[str, int]:
    counts: dict[str, int] = replica.stats()["waiting"]
    return counts


@contextlib.contextmanager
def filled(cluster: Cluster, model: str, replica: ReplicaProcess) -> Iterator[list[Call]]:
    """Every place of the model is taken, by calls through this replica, until its clients leave."""
    provider = cluster.providers[0]
    provider.behave(stall_rate=1)
    with contextlib.ExitStack() as stack:
        calls = [stack.enter_context(replica.begin_chat(model)) for _ in range(PLACES)]
        provider.wait_for(in_flight=PLACES)
        provider.behave(stall_rate=0)
        yield calls


def test_more_than_there_is_room_for_is_served_all_the_same(queues: Cluster) -> None:
    queues.providers[0].behave(latency_ms=30)
    with contextlib.ExitStack() as stack:
        calls = [stack.enter_context(replica.begin_chat("wide")) for replica in in_turn(queues.replicas, 60)]
        statuses = {call.answer().status for call in calls}

    counts = queues.providers[0].counts()
    assert statuses == {200}
    assert (counts["requests"], counts["max_in_flight"]) == (60, PLACES)


def test_place_that_another_replica_frees_is_taken(queues: Cluster) -> None:
    replica = queues.replicas[0]
    with filled(queues, "wide", queues.replicas[2]) as calls, replica.begin_chat("wide") as late:
        wait_until(lambda: waiting(replica) == {"wide": 1})
        calls[0].leave()

        assert late.answer().status == 200
    assert waiting(replica) == {}


def test_client_that_leaves_no_longer_waits(queues: Cluster) -> None:
    replica = queues.replicas[0]
    with filled(queues, "wide", queues.replicas[2]):
        with replica.begin_chat("wide"), replica.begin_chat("wide", stream=True):
            wait_until(lambda: waiting(replica) == {"wide": 2})
        wait_until(lambda: waiting(replica) == {})

    queues.wait_until_idle()
    assert queues.providers[0].counts()["requests"] == PLACES


def test_full_queue_is_refused_at_once_with_the_wait(queues: Cluster) -> None:
    replica = queues.replicas[0]
    with filled(queues, "short", replica), replica.begin_chat("short"), replica.begin_chat("short"):
        wait_until(lambda: waiting(replica) == {"short": 2})
        refused = replica.chat("short")
        message = replica.request(
            "POST", "/v1/messages", b'{"model":"short","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
        )

    assert (refused.status, refused.error["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert "x-should-retry" not in refused.headers
    assert (message.status, message.json()["error"]["type"]) == (429, "rate_limit_error")


def test_model_without_a_queue_refuses_at_once(queues: Cluster) -> None:
    replica = queues.replicas[0]
    with filled(queues, "off", replica):
        refused = replica.chat("off")

    assert (refused.status, refused.error["code"]) == (503, "server_is_overloaded")


def test_no_request_waits_longer_than_the_queue_allows(queues: Cluster) -> None:
    replica = queues.replicas[0]
    with filled(queues, "brief", replica):
        late = replica.chat("brief")

    assert (late.status, late.error["code"]) == (503, "server_is_overloaded")
    assert "waited" in late.error["message"]


def test_no_request_waits_beyond_its_own_deadline(queues: Cluster) -> None:
    replica = queues.replicas[0]
    with filled(queues, "wide", replica):
        late = replica.chat("wide", headers={"x-pllm-timeout": "100ms"})

    assert (late.status, "x-pllm-attempts" in late.headers) in ((503, False), (504, False))
    assert queues.providers[0].counts()["requests"] == PLACES


def test_critical_goes_before_those_who_came_earlier(queues: Cluster) -> None:
    replica, provider = queues.replicas[0], queues.providers[0]
    with filled(queues, "wide", queues.replicas[2]) as calls, contextlib.ExitStack() as stack:
        bulk = [stack.enter_context(replica.begin_chat("wide", headers={"x-pllm-priority": "bulk"})) for _ in range(3)]
        wait_until(lambda: waiting(replica) == {"wide": 3})
        critical = stack.enter_context(replica.begin_chat("wide"))
        wait_until(lambda: waiting(replica) == {"wide": 4})
        provider.behave(stall_rate=1)
        calls[0].leave()
        provider.wait_for(requests=PLACES + 1, in_flight=PLACES, aborted=1)

        assert waiting(replica) == {"wide": 3}
        critical.leave()
        provider.wait_for(aborted=2)
        assert not any(call.has_data() for call in bulk)
