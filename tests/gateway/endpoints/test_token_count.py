"""POST /v1/messages/count_tokens and /v1/responses/input_tokens."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from gateway.endpoints.token_count import COUNTED
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider, plain
from tests.support.wire import Answer

MESSAGES: dict[str, Any] = {"messages": [{"role": "user", "content": "How many tokens are these?"}]}
INPUT: dict[str, Any] = {"input": "How many tokens are these?"}
PROMPTS = {"/v1/messages/count_tokens": MESSAGES, "/v1/responses/input_tokens": INPUT}
ABLE = {"/v1/messages/count_tokens": "raw-claude", "/v1/responses/input_tokens": "raw"}


def counted(replica: ReplicaProcess, path: str, model: str, **fields: Any) -> Answer:
    return replica.request("POST", path, json.dumps({"model": model, **PROMPTS[path], **fields}).encode())


@pytest.fixture
def claude(replica: ReplicaProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=replica.url, api_key="any", max_retries=0) as running:
        yield running


def test_anthropic_client_gets_the_count_of_its_provider(
    claude: anthropic.Anthropic, raw_provider: RawProvider
) -> None:
    raw_provider.answer = plain(b'{"input_tokens": 7, "context_management": {"original_input_tokens": 9}}')

    counted = claude.beta.messages.count_tokens(model="raw-claude", messages=MESSAGES["messages"], betas=["some-beta"])

    head, body = raw_provider.requests[-1]
    assert head.startswith(b"POST /v1/messages/count_tokens HTTP/1.1\r\n")
    assert b"anthropic-beta: some-beta,token-counting-2024-11-01" in head
    assert json.loads(body) == {"model": "raw-claude", **MESSAGES}
    assert (counted.input_tokens, len(raw_provider.requests)) == (7, 1)


@pytest.mark.parametrize("path", COUNTED)
def test_provider_that_takes_the_clients_own_body_counts(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str
) -> None:
    raw_provider.answer = plain(b'{"object": "response.input_tokens", "input_tokens": 7, "more": [1]}')

    answer = counted(replica, path, ABLE[path])

    assert answer.json() == {"object": "response.input_tokens", "input_tokens": 7, "more": [1]}
    assert "x-pllm-estimate" not in answer.headers
    assert raw_provider.requests[-1][0].startswith(f"POST {path} HTTP/1.1\r\n".encode())


def test_count_of_a_renamed_model_names_the_providers_model(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(b'{"input_tokens": 7}')

    counted(replica, "/v1/responses/input_tokens", "renamed")

    assert json.loads(raw_provider.last_body)["model"] == "upstream-name"


@pytest.mark.parametrize("model", ["raw", "gpt-4", "azure-new", "best"])
def test_model_whose_provider_cannot_count_gets_an_estimate_without_a_call(
    replica: ReplicaProcess, raw_provider: RawProvider, model: str
) -> None:
    answer = counted(replica, "/v1/messages/count_tokens", model)

    assert answer.status == 200
    assert answer.headers["x-pllm-estimate"] == "1"
    assert answer.json() == {"input_tokens": 11}  # 41 bytes of names and texts
    assert raw_provider.requests == []


FAILURES = {
    "no endpoint": plain(b'{"error": {"type": "not_found_error", "message": "Not found"}}', "404 Not Found"),
    "no method": plain(b"", "405 Method Not Allowed"),
    "a wrong key": plain(b'{"error": {"type": "authentication_error", "message": "no"}}', "401 Unauthorized"),
    "a rate limit": plain(b'{"error": {"type": "rate_limit_error", "message": "no"}}', "429 Too Many Requests"),
    "a failure": plain(b"", "500 Internal Server Error"),
    "an overload": plain(b'{"error": {"type": "overloaded_error", "message": "no"}}', "529 Overloaded"),
    "no count": plain(b"{}"),
    "no JSON": plain(b"<html>"),
    "no answer": b"",
}


@pytest.mark.parametrize("path", COUNTED)
@pytest.mark.parametrize("failure", FAILURES)
def test_failing_count_becomes_an_estimate_and_moves_no_breaker(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, path: str, failure: str
) -> None:
    raw_provider.answer = FAILURES[failure]

    answers = [counted(replica, path, ABLE[path]) for _ in range(8)]

    assert [(answer.status, answer.headers.get("x-pllm-estimate")) for answer in answers] == [(200, "1")] * 8
    assert cluster.state(ABLE[path]) == "closed"
    assert cluster.transitions(ABLE[path]) == []


@pytest.mark.parametrize("path", COUNTED)
def test_providers_objection_to_the_request_reaches_the_client(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str
) -> None:
    error = {"type": "invalid_request_error", "message": "messages.0: no such role", "details": {"at": 1}}
    raw_provider.answer = plain(json.dumps({"type": "error", "error": error}).encode(), "400 Bad Request")

    answer = counted(replica, path, ABLE[path])

    assert answer.status == 400
    assert answer.json()["error"].items() >= error.items()


def test_hanging_count_ends_in_an_estimate_within_seconds(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer, raw_provider.is_holding = b"HTTP/1.1 200 OK\r\n", True

    answer = counted(replica, "/v1/messages/count_tokens", "raw-claude")

    assert answer.headers["x-pllm-estimate"] == "1"


WRONG = {
    "no messages": (b'{"model": "raw-claude"}', 400),
    "no JSON": (b"{", 400),
    "an unknown model": (b'{"model": "none", "messages": [{"role": "user", "content": "x"}]}', 404),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_request_to_count_is_refused_in_the_dialect_of_its_path(replica: ReplicaProcess, wrong: str) -> None:
    body, status = WRONG[wrong]

    answer = replica.request("POST", "/v1/messages/count_tokens", body)

    assert (answer.status, answer.json()["type"]) == (status, "error")
