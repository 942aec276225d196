"""A client that leaves: in every phase the provider's call ends at once, the lease goes, and nobody is blamed."""

import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.wire import chat_bytes


def assert_nobody_is_blamed(cluster: Cluster, deployment: str = "primary") -> None:
    cluster.wait_until_idle()
    fields = cluster.deployment(deployment)
    assert fields["state"] == "closed"
    assert not {"consecutive_failures", "consecutive_slow"} & fields.keys()
    assert fields.get("requests", "0") == fields.get("failures", "0") == "0"


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_leaving_while_waiting_ends_the_providers_call(
    cluster: Cluster, each_engine: ReplicaProcess, provider: ProviderProcess, is_stream: bool
) -> None:
    provider.behave(stall_rate=1)
    with each_engine.begin_chat(stream=is_stream):
        provider.wait_for(in_flight=1)

    provider.wait_for(aborted=1, in_flight=0)
    assert_nobody_is_blamed(cluster)


def test_leaving_in_the_middle_of_a_stream_ends_the_providers_call(
    cluster: Cluster, each_engine: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_after_chunks=2)
    with each_engine.begin_chat(stream=True) as call:
        call.read_until(b"Hello from")

    provider.wait_for(aborted=1, in_flight=0)
    assert_nobody_is_blamed(cluster)


def test_leaving_a_stream_that_flows_ends_the_providers_call(
    cluster: Cluster, each_engine: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(chunks=100_000, chunk_gap_ms=1)
    with each_engine.begin_chat(stream=True) as call:
        call.read_until(b"Hello from")

    provider.wait_for(aborted=1, in_flight=0)
    assert_nobody_is_blamed(cluster)


def test_leaving_while_the_fallback_waits_ends_its_call(
    cluster: Cluster, each_engine: ReplicaProcess, provider: ProviderProcess, spare: ProviderProcess
) -> None:
    provider.behave(error_rate=1)
    spare.behave(stall_rate=1)
    with each_engine.begin_chat("saved"):
        spare.wait_for(in_flight=1)

    spare.wait_for(aborted=1, in_flight=0)
    assert_nobody_is_blamed(cluster, "spare")


def test_leaving_with_a_large_body_sent_ends_the_providers_call(
    each_engine: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_rate=1)
    with each_engine.begin_chat(pad="x" * 200_000):
        provider.wait_for(in_flight=1)

    provider.wait_for(aborted=1, in_flight=0)


def test_many_clients_leaving_at_once_leave_nothing(
    cluster: Cluster, each_engine: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_rate=1)
    calls = [each_engine.begin_chat(stream=bool(number % 2)) for number in range(60)]
    provider.wait_for(in_flight=60)
    for call in calls:
        call.leave()

    provider.wait_for(aborted=60, in_flight=0)
    assert_nobody_is_blamed(cluster)


def test_clients_leaving_at_any_moment_leave_nothing(
    cluster: Cluster, each_engine: ReplicaProcess, provider: ProviderProcess
) -> None:
    """Leaving at once meets the request in all its early phases: unread, unparsed, waiting for its permit, sent."""
    provider.behave(latency_ms=5)
    data = chat_bytes(model="gpt-4")
    for _ in range(60):
        each_engine.begin_chat().leave()
        call = each_engine.begin_chat(stream=True)
        call.send(data[:50])
        call.leave()

    cluster.wait_until_idle()
    provider.wait_for(in_flight=0)
    assert each_engine.chat().status == 200


def test_next_caller_is_served_after_many_left(each_engine: ReplicaProcess, provider: ProviderProcess) -> None:
    """httpx's own pool loses a slot for every call cancelled while it waits for one."""
    provider.behave(stall_rate=1)
    for _ in range(5):
        calls = [each_engine.begin_chat() for _ in range(30)]
        provider.wait_for(in_flight=30)
        for call in calls:
            call.leave()
        provider.wait_for(in_flight=0)
    provider.behave(stall_rate=0)

    assert each_engine.chat().status == 200
