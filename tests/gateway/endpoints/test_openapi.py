"""The document against what is served: schemathesis makes requests from it, and judges the answers by it."""

import json
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

from gateway.openapi import document
from tests.support.cluster import ReplicaProcess

SCHEMA = schemathesis.openapi.from_dict(json.loads(document("test")))
OPERATIONS: dict[str, Any] = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}  # type: ignore[union-attr]
# Whether a request is good is for the provider to say, and the document cannot know.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_is_served_is_what_the_document_says(replica: ReplicaProcess, label: str) -> None:
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
        case.call_and_validate(base_url=replica.url, checks=CHECKS)

    check()


def test_document_is_served(replica: ReplicaProcess) -> None:
    paths = replica.get("/openapi.json").json()["paths"]

    assert {"/v1/chat/completions", "/v1/messages", "/v1/models/{model}", "/metrics"} <= set(paths)
