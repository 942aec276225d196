"""The headers that pass between clients and providers: those on a list, under documented names."""

import json
from typing import Any

import pytest

from gateway.version import VERSION
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import ANSWER, RawProvider, plain
from tests.support.wire import Answer

MESSAGE: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
GIVEN = {
    "openai-organization": "org-1",
    "openai-project": "proj_1",
    "openai-beta": "responses=v1",
    "idempotency-key": "retry-1",
    "anthropic-beta": "context-1m-2025-08-07",
    "anthropic-version": "2023-06-01",
}
OTHERS = {"cookie": "a=b", "x-api-key": "client", "x-stainless-lang": "python", "openai-other": "x", "x-secret": "y"}
REPLY = plain(json.dumps({"content": [], "type": "message", **json.loads(ANSWER)}).encode())


def post(replica: ReplicaProcess, path: str, model: str, headers: dict[str, str]) -> Answer:
    return replica.request("POST", path, json.dumps({"model": model, **MESSAGE}).encode(), headers)


def sent(raw_provider: RawProvider) -> dict[str, str]:
    lines = raw_provider.requests[-1][0].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}


OPENAI = {"openai-organization", "openai-project", "openai-beta", "idempotency-key"}
ANTHROPIC = {"anthropic-beta", "anthropic-version", "idempotency-key"}


@pytest.mark.parametrize(
    ("path", "model", "known"),
    [
        ("/v1/chat/completions", "raw", OPENAI),
        ("/v1/messages", "raw", OPENAI),
        ("/v1/chat/completions", "azure-new", {"openai-beta", "idempotency-key"}),
        ("/v1/chat/completions", "raw-claude", ANTHROPIC),
        ("/v1/messages", "raw-claude", ANTHROPIC),
    ],
)
def test_provider_gets_the_headers_on_the_list_that_it_knows(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str, model: str, known: set[str]
) -> None:
    raw_provider.answer = REPLY
    assert post(replica, path, model, GIVEN | OTHERS).status == 200

    found = sent(raw_provider)
    assert {name: found[name] for name in found.keys() & GIVEN.keys()} == {name: GIVEN[name] for name in known}
    assert not found.keys() & (OTHERS.keys() - {"x-api-key"})
    assert found.get("x-api-key") != "client"


@pytest.mark.parametrize("value", ["", "a\tb", "\u00e9", "x" * 2_001])
def test_header_that_is_not_well_formed_is_left_out(
    replica: ReplicaProcess, raw_provider: RawProvider, value: str
) -> None:
    assert replica.chat("raw", headers={"openai-organization": value}).status == 200

    assert "openai-organization" not in sent(raw_provider)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("claude-cli/2.1.197 (external, cli)", "; claude-cli/2.1.197 (external, cli)"),
        ("a" * 300, "; " + "a" * 200),
        ("caf\u00e9\t/1", "; caf/1"),
        ("\u00e9", ""),
        (None, ""),
    ],
)
def test_user_agent_names_the_gateway_and_its_client(
    replica: ReplicaProcess, raw_provider: RawProvider, agent: str | None, name: str
) -> None:
    replica.chat("raw", headers={} if agent is None else {"user-agent": agent})

    assert sent(raw_provider)["user-agent"] == f"pllm/{VERSION}{name}"


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found"])
@pytest.mark.parametrize("header", ["openai-organization", "openai-project"])
def test_organization_that_the_provider_refuses_is_no_failure_of_the_deployment(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, header: str, status: str
) -> None:
    error = {"type": "invalid_request_error", "message": "No such organization: org-1.", "code": None}
    raw_provider.answer = plain(json.dumps({"error": error}).encode(), status)

    answers = [replica.chat("raw", headers={header: "org-1"}) for _ in range(8)]

    assert {answer.error["message"] for answer in answers} == {error["message"]}
    assert cluster.state("raw") == "closed"
    raw_provider.forget()
    assert replica.chat("raw").status == 200


LIMITS = {
    "x-ratelimit-remaining-requests": ("x-pllm-provider-ratelimit-remaining-requests", "59"),
    "x-ratelimit-reset-tokens": ("x-pllm-provider-ratelimit-reset-tokens", "6m0s"),
    "anthropic-ratelimit-tokens-reset": ("x-pllm-provider-ratelimit-tokens-reset", "2026-12-01T00:00:00Z"),
    "ratelimit-limit": ("x-pllm-provider-ratelimit-limit", "10"),
}
BROKEN = json.dumps({"error": {"message": "No.", "type": "t", "code": None}}).encode()
ANSWERS = {
    "an answer": ("200 OK", b'{"choices": []}'),
    "a refusal": ("400 Bad Request", BROKEN),
    "a limit": ("429 Too Many Requests", BROKEN),
    "a failure": ("500 Internal Server Error", BROKEN),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_request_id_and_rate_limits_of_the_provider_come_back_under_our_names(
    replica: ReplicaProcess, raw_provider: RawProvider, kind: str
) -> None:
    status, body = ANSWERS[kind]
    extra = "".join(f"{name}: {value}\r\n" for name, (_, value) in LIMITS.items()) + "x-ratelimit-odd: \xe9\r\n"
    raw_provider.answer = plain(
        body, status, extra=f"{extra}x-request-id: req-of-provider\r\nx-ratelimit-odd: \xe9\r\n"
    )

    headers = replica.chat("raw").headers

    assert headers["x-pllm-provider-request-id"] == "req-of-provider"
    assert {name: headers[name] for name, _ in LIMITS.values()} == dict(LIMITS.values())
    assert not [name for name in headers if "ratelimit" in name and not name.startswith("x-pllm-provider-")]
    assert "x-pllm-provider-ratelimit-odd" not in headers
