"""Faults of a replica itself: the client gets a 503 with the reason, and no deployment is blamed."""

import asyncio
import contextlib
import json
import resource
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

from gateway.configuration.provider import ProviderSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.settings import parse as parse_settings
from gateway.configuration.value_types import Secret
from gateway.errors import ReplicaFault
from gateway.request.auth import ANONYMOUS
from gateway.request.calls import Kind, parse
from gateway.request.interrupt import Interrupt
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.client_request import ClientRequest
from gateway.routing.deadline import Deadline
from gateway.routing.dispatch import Dispatcher
from gateway.routing.tracing import NO_TRACE
from gateway.upstream.client import UpstreamClient
from gateway.upstream.exchange import Exchange
from gateway.upstream.providers.adapters import Adapter
from shared_state.embedded import EmbeddedStore
from shared_state.records import Ending, Outcome
from tests.loadtest.process import ProviderProcess, wait_until
from tests.stage_path import GrantingStore, InstantUpstream
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.raw_provider import ANSWER, RawProvider, plain
from tests.support.wire import Answer, Call, chat_bytes, request_bytes

STD = 3  # standard input, output and error are open already


@contextlib.contextmanager
def without_descriptors(replica: ReplicaProcess) -> Iterator[None]:
    """What is open stays open; nothing more can be opened."""
    pid = replica.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (STD, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def ask_without_descriptors(replica: ReplicaProcess, first: bytes, request: bytes) -> Answer:
    """On a connection that a request has opened before."""
    with Call(replica.address, first) as call:
        assert call.answer().status == 200
        with without_descriptors(replica):
            call.send(request)
            return call.answer()


def assert_no_outcome(cluster: Cluster, *deployments: str) -> None:
    cluster.wait_until_idle()
    for each in deployments:
        fields = cluster.deployment(each)
        assert (fields["state"], fields.get("failures", "0"), fields.get("requests", "0")) == ("closed", "0", "0")
        assert "consecutive_failures" not in fields


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_replica_without_descriptors_returns_503_and_blames_no_deployment(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, is_stream: bool
) -> None:
    request = chat_bytes(model="raw-saved", stream=is_stream)
    answer = ask_without_descriptors(replica, request_bytes("GET", "/v1/models"), request)

    assert (answer.status, answer.error["code"]) == (503, "replica_exhausted")
    assert "too many open files" in answer.error["message"]
    wait_until(lambda: "raw-saved: this process has too many open files" in replica.said())
    assert raw_provider.requests == []
    assert_no_outcome(cluster, "raw-saved", "spare")
    assert replica.chat("raw-saved").headers["x-pllm-deployment"] == "raw-saved"


def test_client_of_messages_gets_an_overload_error(cluster: Cluster, replica: ReplicaProcess) -> None:
    body: Any = {"model": "raw-claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    request = request_bytes("POST", "/v1/messages", json.dumps(body).encode())
    answer = ask_without_descriptors(replica, request_bytes("GET", "/v1/models"), request)

    assert (answer.status, answer.json()["error"]["type"]) == (503, "overloaded_error")
    assert_no_outcome(cluster, "raw-claude")


# -- defects in a translation -------------------------------------------------------------------------------------


def defect(_: object) -> bytes:
    raise KeyError("a defect")


CALL = parse(Kind.CHAT, b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}')


def fault_of(url: str, **defects: Any) -> ReplicaFault:
    """Of a call whose adapter has these defects."""

    async def call() -> None:
        provider = ProviderSettings(base_url=f"{url}/v1", api_key=Secret("provider-secret"), model="m")
        upstream = UpstreamClient([DeploymentSettings(id="d", model_name="m", provider=provider)])
        target = upstream._targets["d", Kind.CHAT]
        broken: Adapter = msgspec.structs.replace(target.adapter, **defects)
        upstream._targets["d", Kind.CHAT] = msgspec.structs.replace(target, adapter=broken)
        try:
            await upstream.send("d", CALL)
        finally:
            await upstream.close()

    with pytest.raises(ReplicaFault) as caught:
        asyncio.run(call())
    return caught.value


@pytest.mark.parametrize("stage", ["request", "reply"])
def test_defect_in_a_translation_is_a_fault_of_ours_and_logged(
    raw_provider: RawProvider, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    raw_provider.answer = plain(ANSWER)
    fault = fault_of(raw_provider.url, **{stage: defect})

    assert (fault.status, fault.code) == (503, "internal_error")
    assert "KeyError" not in fault.message
    assert [record.getMessage() for record in caplog.records] == ["defect in the translation of a call to deployment d"]
    assert caplog.records[0].exc_info is not None


class ExhaustedUpstream(InstantUpstream):
    """The replica has no descriptor left for a call."""

    async def send(self, *_call: object) -> Exchange:
        raise ReplicaFault("no descriptor is left")


class RecordingStore(GrantingStore):
    def __init__(self) -> None:
        super().__init__()
        self.endings: list[Ending] = []

    def settle(self, *ending: Any) -> Any:
        self.endings.append(ending[1])
        return super().settle()


async def ending_of_a_call_without_descriptors() -> Ending:
    settings = parse_settings("model_list: [{id: d, model_name: m}]", {})
    store = RecordingStore()
    admission = Admission(cast(Any, store), settings.router)
    upstream, catalog = cast(Any, ExhaustedUpstream(b"")), Catalog(settings)
    dispatcher = Dispatcher(cast(Any, store), admission, upstream, catalog, settings.router)
    interrupt = Interrupt()
    request = ClientRequest(CALL, ANONYMOUS, 50, Deadline(interrupt.time() + 60), interrupt, NO_TRACE)
    with pytest.raises(ReplicaFault):
        await dispatcher.answer(request, dispatcher.resolve(CALL, ANONYMOUS))
    (ending,) = store.endings
    return ending


def test_call_that_could_not_be_sent_is_not_charged() -> None:
    ending = asyncio.run(ending_of_a_call_without_descriptors())

    assert (ending.outcome, ending.tokens) == (Outcome.CANCELLED, 0)


def test_idle_connections_take_no_descriptor_from_those_that_call(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    """As many of them as a process may have files, and more: the longest idle ones make room."""
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    with (
        running_cluster(store, provider_processes, models, domain="few-files", replicas=1, open_files=300) as cluster,
        contextlib.ExitStack() as idle,
    ):
        replica = cluster.replicas[0]
        for _ in range(8):
            for _ in range(50):
                idle.enter_context(Call(replica.address))
            calls = [idle.enter_context(replica.begin_chat()) for _ in range(5)]
            assert [call.answer().status for call in calls] == [200] * 5

        assert replica.get("/livez").status == 200
        assert "Traceback" not in replica.said()
        assert cluster.deployment("primary")["state"] == "closed"
        assert cluster.deployment("primary").get("failures", "0") == "0"
