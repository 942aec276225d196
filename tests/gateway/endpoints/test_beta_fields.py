"""Fields of Anthropic's betas at providers that cannot have them, and `error.details` of providers."""

import json
from typing import Any

import anthropic
import pytest

from tests.support.cluster import ReplicaProcess
from tests.support.raw_provider import RawProvider, plain

FIELDS: dict[str, Any] = {
    "thread": {"id": "thread_1"},
    "container": {"id": "c", "skills": []},
    "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}],
}
MESSAGE: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
DETAILS = {"error_code": "thread_unsupported_request", "unsupported": ["thinking"], "more": {"a": 1}}


@pytest.mark.parametrize("names", [["thread"], ["container"], ["mcp_servers"], ["thread", "container", "mcp_servers"]])
def test_beta_field_is_named_where_no_provider_can_have_it(
    replica: ReplicaProcess, raw_provider: RawProvider, names: list[str]
) -> None:
    with (
        anthropic.Anthropic(base_url=replica.url, api_key="any", max_retries=0) as client,
        pytest.raises(anthropic.BadRequestError) as caught,
    ):
        client.messages.create(model="raw", extra_body={name: FIELDS[name] for name in names}, **MESSAGE)

    body: Any = caught.value.body
    assert body["error"]["details"] == {"error_code": "thread_unsupported_request", "unsupported": names}
    assert raw_provider.requests == []


@pytest.mark.parametrize(
    "fields", [{"mcp_servers": []}, {"mcp_servers": None}, {"container": {}}, {"container": None}, {"thread": None}]
)
def test_empty_beta_field_changes_nothing(replica: ReplicaProcess, fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "raw", **MESSAGE, **fields}).encode()

    assert replica.request("POST", "/v1/messages", body).status == 200


@pytest.mark.parametrize(("path", "model"), [("/v1/messages", "raw-claude"), ("/v1/messages", "raw")])
def test_details_of_a_providers_error_reach_the_client(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str, model: str
) -> None:
    error = {"type": "invalid_request_error", "message": "No.", "details": DETAILS}
    raw_provider.answer = plain(json.dumps({"type": "error", "error": error}).encode(), "400 Bad Request")

    answer = replica.request("POST", path, json.dumps({"model": model, **MESSAGE}).encode())

    assert (answer.status, answer.json()["error"]["details"]) == (400, DETAILS)


@pytest.mark.parametrize("model", ["raw", "raw-claude"])
def test_details_of_a_providers_error_reach_a_chat_client(
    replica: ReplicaProcess, raw_provider: RawProvider, model: str
) -> None:
    error = {"type": "invalid_request_error", "message": "No.", "details": DETAILS}
    raw_provider.answer = plain(json.dumps({"type": "error", "error": error}).encode(), "400 Bad Request")

    answer = replica.chat(model)

    assert (answer.status, answer.json()["error"]["details"]) == (400, DETAILS)
