"""A client that leaves: in every phase the provider's call ends at once, the lease ends, and no deployment is
blamed.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from gateway.http.timer_wheel import GRAIN_S
from gateway.request.interrupt import Cause, Interrupt
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.raw_provider import DONE_EVENT, FLOOD_MOST, RawProvider, chunk_event
from tests.support.store_proxy import StoreProxy, running_store_proxy
from tests.support.wire import DONE, Call, chat_bytes, request_bytes


def assert_no_deployment_is_blamed(cluster: Cluster, deployment: str = "primary") -> None:
    cluster.wait_until_idle()
    fields = cluster.deployment(deployment)
    assert fields["state"] == "closed"
    assert not {"consecutive_failures", "consecutive_slow"} & fields.keys()
    assert fields.get("requests", "0") == fields.get("failures", "0") == "0"


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_leaving_while_waiting_ends_the_providers_call(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, is_stream: bool
) -> None:
    provider.behave(stall_rate=1)
    with replica.begin_chat(stream=is_stream):
        provider.wait_for(in_flight=1)

    provider.wait_for(aborted=1, in_flight=0)
    assert_no_deployment_is_blamed(cluster)


def test_leaving_in_the_middle_of_a_stream_ends_the_providers_call(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_after_chunks=2)
    with replica.begin_chat(stream=True) as call:
        call.read_until(b"Hello from")

    provider.wait_for(aborted=1, in_flight=0)
    assert_no_deployment_is_blamed(cluster)


def test_leaving_a_stream_that_flows_ends_the_providers_call(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(chunks=100_000, chunk_gap_ms=1)
    with replica.begin_chat(stream=True) as call:
        call.read_until(b"Hello from")

    provider.wait_for(aborted=1, in_flight=0)
    assert_no_deployment_is_blamed(cluster)


def test_leaving_while_the_fallback_waits_ends_its_call(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, spare: ProviderProcess
) -> None:
    provider.behave(error_rate=1)
    spare.behave(stall_rate=1)
    with replica.begin_chat("saved"):
        spare.wait_for(in_flight=1)

    spare.wait_for(aborted=1, in_flight=0)
    assert_no_deployment_is_blamed(cluster, "spare")


def test_leaving_with_a_large_body_sent_ends_the_providers_call(
    replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_rate=1)
    with replica.begin_chat(pad="x" * 200_000):
        provider.wait_for(in_flight=1)

    provider.wait_for(aborted=1, in_flight=0)


def test_many_clients_leaving_at_once_leave_nothing(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_rate=1)
    calls = [replica.begin_chat(stream=bool(number % 2)) for number in range(60)]
    provider.wait_for(in_flight=60)
    for call in calls:
        call.leave()

    provider.wait_for(aborted=60, in_flight=0)
    assert_no_deployment_is_blamed(cluster)


def test_clients_leaving_at_any_moment_leave_nothing(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    """Leaving at once meets the request in all its early phases: unread, unparsed, waiting for its permit, sent."""
    provider.behave(latency_ms=5)
    data = chat_bytes(model="gpt-4")
    for _ in range(60):
        replica.begin_chat().leave()
        call = replica.begin_chat(stream=True)
        call.send(data[:50])
        call.leave()

    cluster.wait_until_idle()
    provider.wait_for(in_flight=0)
    assert replica.chat().status == 200


def test_next_caller_is_served_after_many_left(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    """httpx's own pool loses a slot for every call cancelled while it waits for one."""
    provider.behave(stall_rate=1)
    for _ in range(5):
        calls = [replica.begin_chat() for _ in range(30)]
        provider.wait_for(in_flight=30)
        for call in calls:
            call.leave()
        provider.wait_for(in_flight=0)
    provider.behave(stall_rate=0)

    assert replica.chat().status == 200


# -- every phase, every way of leaving --------------------------------------------------------------------------


Leave = Callable[[Call], None]


class Sent(NamedTuple):
    path: str
    body: dict[str, Any]

    def bytes_for(self, model: str) -> bytes:
        return request_bytes("POST", self.path, json.dumps({**self.body, "model": model}).encode())


TURN: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
CALLS_SENT = {
    "chat": Sent("/v1/chat/completions", TURN),
    "chat stream": Sent("/v1/chat/completions", {**TURN, "stream": True}),
    "completions stream": Sent("/v1/completions", {"prompt": "hi", "stream": True}),
    "responses stream": Sent("/v1/responses", {"input": "hi", "stream": True}),
    "messages": Sent("/v1/messages", {**TURN, "max_tokens": 5}),
    "messages stream": Sent("/v1/messages", {**TURN, "max_tokens": 5, "stream": True}),
    "embeddings": Sent("/v1/embeddings", {"input": "hi"}),
}
BEGUN = {
    "nothing": b"",
    "headers": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9000\r\n\r\n",
    "half an event": b'HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\ndata: {"choices": [',
    "events": b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n" + chunk_event("Hello") * 3,
}


def reset(call: Call) -> None:
    call.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.leave()


def half_close(call: Call) -> None:
    """A client that closes its sending side counts as one that has left: what a half-closed connection shows is
    all that most clients' leaving shows.
    """
    call.socket.shutdown(socket.SHUT_WR)
    call.read_to_end()


each_way_of_leaving = pytest.mark.parametrize("leave", [Call.leave, reset, half_close])
each_kind_of_call = pytest.mark.parametrize("sent", CALLS_SENT.values(), ids=CALLS_SENT)


@pytest.fixture(scope="module")
def full_listener() -> Iterator[int]:
    """A port on which connecting takes for ever: its backlog is full."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def store_proxy(store: EmbeddedStore) -> Iterator[StoreProxy]:
    with running_store_proxy(store) as running:
        yield running


@pytest.fixture(scope="module")
def left_cluster(
    store: EmbeddedStore, store_proxy: StoreProxy, raw_provider_thread: RawProvider, full_listener: int
) -> Iterator[Cluster]:
    with running_cluster(
        store,
        [],
        [
            deployment("held", raw_provider_thread.url, "held"),
            deployment("unreached", f"http://127.0.0.1:{full_listener}", "unreached", connect_timeout="60s"),
            deployment("hasty", f"http://127.0.0.1:{full_listener}", "hasty", connect_timeout="200ms"),
        ],
        domain="left",
        replicas=1,
        state={"url": store_proxy.url, "standby": "none"},
        router={"latency_threshold": "60s"},
    ) as running:
        yield running


@pytest.fixture
def left(left_cluster: Cluster, raw_provider_thread: RawProvider) -> Iterator[Cluster]:
    raw_provider_thread.forget()
    raw_provider_thread.is_holding = True
    left_cluster.forget()
    yield left_cluster
    left_cluster.check()


@each_way_of_leaving
@each_kind_of_call
def test_leaving_during_a_call_of_the_store_leaves_no_lease(
    left: Cluster, store_proxy: StoreProxy, raw_provider_thread: RawProvider, sent: Sent, leave: Leave
) -> None:
    replica = left.replicas[0]
    store_proxy.forget()
    with store_proxy.hung(), Call(replica.address, sent.bytes_for("held")) as call:
        wait_until(lambda: any("acquire" in calls for calls in store_proxy.round_trips()))
        leave(call)
        # Whoever waits for this answer, waits for longer than a client's leaving takes to be noticed.
        assert replica.chat("held", headers={"x-pllm-timeout": "200ms"}).status == 504

    assert_no_deployment_is_blamed(left, "held")
    assert raw_provider_thread.requests == []


@each_way_of_leaving
@each_kind_of_call
def test_leaving_while_connecting_to_the_provider_leaves_no_lease(left: Cluster, sent: Sent, leave: Leave) -> None:
    with Call(left.replicas[0].address, sent.bytes_for("unreached")) as call:
        left.wait_for_leases(1)
        leave(call)

    assert_no_deployment_is_blamed(left, "unreached")


@each_way_of_leaving
@each_kind_of_call
@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_leaving_while_the_provider_answers_ends_its_call(
    left: Cluster, raw_provider_thread: RawProvider, sent: Sent, begun: bytes, leave: Leave
) -> None:
    raw_provider_thread.answer = begun
    with Call(left.replicas[0].address, sent.bytes_for("held")) as call:
        wait_until(lambda: len(raw_provider_thread.requests) == 1)
        if sent.body.get("stream") and b"Hello" in begun:
            call.read_until(b"Hello")
        leave(call)

    wait_until(lambda: raw_provider_thread.left == 1)
    assert_no_deployment_is_blamed(left, "held")


@each_way_of_leaving
@pytest.mark.parametrize("ahead", [1, 3, 2000], ids=["one", "three", "too many"])
@pytest.mark.parametrize("is_at_once", [True, False], ids=["at once", "later"])
def test_leaving_with_requests_sent_ahead_ends_the_providers_call(
    left: Cluster, raw_provider_thread: RawProvider, ahead: int, is_at_once: bool, leave: Leave
) -> None:
    """Requests that were sent ahead never reach the provider."""
    raw_provider_thread.answer = BEGUN["nothing"]
    data = chat_bytes(model="held")
    with Call(left.replicas[0].address, data * 2 if is_at_once else data) as call:
        wait_until(lambda: len(raw_provider_thread.requests) == 1)
        call.send(data * (ahead - is_at_once))
        leave(call)

    wait_until(lambda: raw_provider_thread.left == 1)
    assert_no_deployment_is_blamed(left, "held")
    assert len(raw_provider_thread.requests) == 1


@pytest.mark.parametrize("leave", [Call.leave, reset])
@pytest.mark.parametrize("name", ["chat stream", "messages stream"])
def test_leaving_without_having_read_ends_the_providers_call(
    left: Cluster, raw_provider_thread: RawProvider, name: str, leave: Leave
) -> None:
    raw_provider_thread.answer = BEGUN["headers"].replace(b"content-length: 9000\r\n", b"")
    raw_provider_thread.flood = chunk_event("Hello")
    with Call(left.replicas[0].address, CALLS_SENT[name].bytes_for("held")) as call:
        wait_until(lambda: raw_provider_thread.is_stuck)
        leave(call)

    assert_no_deployment_is_blamed(left, "held")
    assert raw_provider_thread.flooded < FLOOD_MOST


# -- the causes of one request ----------------------------------------------------------------------------------


async def cause_of_two(first: Cause, second: Cause) -> tuple[Cause | None, int]:
    """The cause, and how often the task was cancelled, when the second one comes while the first is being handled."""
    interrupt = Interrupt()

    def fire(cause: Cause) -> None:
        if cause is Cause.DEADLINE:
            interrupt.set_deadline(interrupt.time())
        else:
            interrupt.disconnected()

    cancelled = 0
    for cause in (first, second):
        fire(cause)
        ends = interrupt.time() + 5 * GRAIN_S
        while interrupt.time() < ends:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                cancelled += 1
    interrupt.close()
    return interrupt.cause, cancelled


@pytest.mark.parametrize(("first", "second"), [(Cause.DISCONNECT, Cause.DEADLINE), (Cause.DEADLINE, Cause.DISCONNECT)])
def test_first_cause_is_the_cause(first: Cause, second: Cause) -> None:
    assert asyncio.run(cause_of_two(first, second)) == (first, 1)


async def cancellations_after_taking() -> tuple[bool, bool, int]:
    interrupt, task = Interrupt(), asyncio.current_task()
    interrupt.set_deadline(interrupt.time())
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        taken = interrupt.take(Cause.DISCONNECT), interrupt.take(Cause.DEADLINE)
    assert task is not None
    return *taken, task.cancelling()


def test_cancellation_ends_when_its_cause_is_taken() -> None:
    """Else task groups and time-outs of what follows would end as cancelled."""
    assert asyncio.run(cancellations_after_taking()) == (False, True, 0)


PAUSE_S = 0.9  # a client takes nothing for so long: longer than `raw-lively` may be silent


def flood(provider: RawProvider) -> None:
    """A stream that goes on until its client has taken nothing for a while, and then ends as it should."""
    provider.answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    provider.flood, provider.ending, provider.stuck_most_s = chunk_event("x" * 16_000), DONE_EVENT, PAUSE_S


def test_client_that_reads_slowly_gets_its_whole_stream(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    """The provider is not silent: it is the client that must be waited for."""
    flood(raw_provider)
    with replica.begin_chat("raw-lively", stream=True) as call:
        wait_until(lambda: raw_provider.stuck_s >= PAUSE_S)
        answer = call.answer()
    cluster.wait_until_idle()

    assert answer.events[-1] == DONE
    assert len(answer.events) - 1 == raw_provider.flooded // len(raw_provider.flood)
    assert cluster.deployment("raw-lively").get("failures", "0") == "0"


def test_client_that_reads_slowly_is_not_the_providers_time_out(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    """Whether its stream is cut at the deployment's time or not."""
    flood(raw_provider)
    raw_provider.stuck_most_s = 2 * PAUSE_S
    with replica.begin_chat("raw-brief", stream=True) as call:
        wait_until(lambda: (raw_provider.flooded and not cluster.leases()) or raw_provider.stuck_s >= 2 * PAUSE_S)
        call.answer()
    cluster.wait_until_idle()

    fields = cluster.deployment("raw-brief")
    assert (fields.get("failures", "0"), fields.get("consecutive_failures", "0")) == ("0", "0")


def test_provider_that_cannot_be_connected_to_is_given_up_in_time(left: Cluster) -> None:
    answer = left.replicas[0].chat("hasty")

    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    reason = "timed out while connecting"
    assert answer.error["attempts"] == [{"deployment": "hasty", "outcome": "timeout", "reason": reason}]
