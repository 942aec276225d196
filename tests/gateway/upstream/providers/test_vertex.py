"""Claude on Vertex over the wire: the fake provider refuses a call that the real service would refuse."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.cli.provider_probe import probe
from gateway.configuration.provider import ProviderSettings
from gateway.configuration.settings import parse
from gateway.upstream.providers import anthropic
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

BASE = "/v1/projects/p/locations/europe-west1/publishers/anthropic"
VERSION = "vertex-2023-10-16"
MESSAGES: Any = {"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
CLIENT = {"anthropic-version": "2023-06-01", "anthropic-beta": "context-1m-2025-08-07"}


def settings_of(provider: ProviderProcess, model: str) -> dict[str, Any]:
    return {"type": "anthropic", "base_url": provider.url + BASE, "model": model}


@pytest.fixture(scope="module")
def vertex_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    models = [
        deployment("v", first, "claude", provider_fields=settings_of(first, "claude-haiku-4-5@20251001")),
        deployment("p", first, "vertex/*", provider_fields=settings_of(first, "*")),
    ]
    with running_cluster(store, provider_processes, models, domain="vertex", replicas=1) as running:
        yield running


@pytest.fixture
def vertex(vertex_cluster: Cluster, provider: ProviderProcess) -> Iterator[ReplicaProcess]:
    vertex_cluster.forget()
    yield vertex_cluster.replicas[0]
    vertex_cluster.check()


def called(replica: ReplicaProcess, path: str, model: str, **fields: Any) -> Any:
    body = json.dumps({"model": model, **MESSAGES, **fields}).encode()
    return replica.request("POST", path, body, {"content-type": "application/json", **CLIENT})


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize(
    ("model", "upstream"), [("claude", "claude-haiku-4-5@20251001"), ("vertex/claude-opus-4-1", "claude-opus-4-1")]
)
def test_call_names_its_model_in_the_address_and_its_version_in_the_body(
    vertex: ReplicaProcess, provider: ProviderProcess, model: str, upstream: str, path: str, is_stream: bool
) -> None:
    answer = called(vertex, path, model, stream=is_stream)
    counts = provider.counts()
    sent = counts["last_body"]

    assert (answer.status, counts["succeeded"]) == (200, 1)
    assert upstream.encode() in answer.body  # the fake repeats the name in the address
    assert sent["anthropic_version"] == VERSION
    assert "model" not in sent
    assert counts["last_headers"]["authorization"] == "Bearer provider-secret"
    assert "x-api-key" not in counts["last_headers"]
    assert counts["last_headers"]["anthropic-beta"] == CLIENT["anthropic-beta"]


def test_other_fields_of_a_message_keep_their_bytes(vertex: ReplicaProcess, provider: ProviderProcess) -> None:
    odd = {"temperature": 1.0, "metadata": {"user_id": "ü"}, "anthropic_version": "2023-06-01"}
    called(vertex, "/v1/messages", "claude", **odd)

    assert provider.counts()["last_body"] == {**MESSAGES, **odd, "anthropic_version": VERSION}


def test_probe_calls_the_model_at_its_address(provider: ProviderProcess) -> None:
    entry = {"id": "v", "model_name": "m", "provider": settings_of(provider, "claude-haiku-4-5@20251001")}
    (found,) = probe(parse(json.dumps({"model_list": [entry]}), {}))

    assert (found.is_ok, found.words) == (True, "ok, claude-haiku-4-5@20251001 answers; no list of models")


@pytest.mark.parametrize(
    ("base_url", "model", "is_stream", "url"),
    [
        ("https://h/v1/publishers/anthropic", "claude@1", False, "/v1/publishers/anthropic/models/claude@1:rawPredict"),
        ("https://h/publishers/anthropic/", "claude", True, "/publishers/anthropic/models/claude:streamRawPredict"),
        (
            "https://h/publishers/anthropic",
            "a/../b:c?d",
            False,
            "/publishers/anthropic/models/a%2F..%2Fb%3Ac%3Fd:rawPredict",
        ),
        ("https://h/publishers/anthropics", "claude", True, "/publishers/anthropics/v1/messages"),
        ("https://publishers/anthropic.example/v1", "claude", True, None),
    ],
)
def test_address_of_vertex_is_known_by_its_end_and_a_model_cannot_leave_it(
    base_url: str, model: str, is_stream: bool, url: str | None
) -> None:
    settings = ProviderSettings(type="anthropic", base_url=base_url, model=model)
    expected = f"https://h{url}" if url else "https://publishers/anthropic.example/v1/messages"

    assert anthropic.address(settings, is_stream=is_stream) == expected
