"""The document against the endpoints: schemathesis makes requests from it, and judges the responses by it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.endpoints.openapi.document import document
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import ReplicaProcess, deployment, running_cluster

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = schemathesis.openapi.from_dict(json.loads(document("test")))
OPERATIONS: dict[str, Any] = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}  # type: ignore[union-attr]
# Whether a request is good is for the provider to say, and the document cannot know.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def described(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[ReplicaProcess]:
    """A replica of its own: some requests create tenants, and from then on no caller is anonymous."""
    first, second = provider_processes
    models = [
        deployment("gpt", first, "gpt-4"),
        deployment("claude", second, "claude", provider_fields={"type": "anthropic"}),
    ]
    router: dict[str, Any] = {"autoscale": {}}
    with running_cluster(store, provider_processes, models, domain="described", replicas=1, router=router) as running:
        yield running.replicas[0]


@pytest.mark.parametrize("label", OPERATIONS)
def test_endpoints_behave_as_the_document_describes_them(described: ReplicaProcess, label: str) -> None:
    @given(OPERATIONS[label].as_strategy())
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "claude" if case.path == "/v1/messages" else "gpt-4"
        if case.headers:
            case.headers.pop("x-pllm-timeout", None)  # a limit of a microsecond ends in a 504
        if case.path == "/v1/admin/live":
            case.query["frames"] = 1  # or it would not end
        case.call_and_validate(base_url=described.url, checks=CHECKS)

    check()


def test_document_is_served(replica: ReplicaProcess) -> None:
    paths = replica.get("/openapi.json").json()["paths"]

    assert {"/v1/chat/completions", "/v1/messages", "/v1/models/{model}", "/metrics"} <= set(paths)


def test_request_headers_are_described() -> None:
    paths = json.loads(document("test"))["paths"]
    described = [each["name"] for each in paths["/v1/messages"]["post"]["parameters"]]

    page = (ROOT / "docs" / "request-headers.md").read_text()
    assert {"x-pllm-priority", "x-pllm-timeout", "x-pllm-fallbacks", "x-pllm-max-attempts"} <= set(described)
    assert all(f"`{name}`" in page for name in described)
