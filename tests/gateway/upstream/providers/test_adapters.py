"""The request to a deployment, by its provider's type, address and model."""

import json
from typing import Any

import pytest

from gateway.configuration.provider import ProviderSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.value_types import Secret
from gateway.request.calls import Call, Kind, parse
from gateway.upstream.providers.adapters import Adapter, adapter

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}'
MESSAGE = b'{"model": "m", "max_tokens": 7, "messages": [{"role": "user", "content": "hi"}], "stream": true}'


def adapted(kind: Kind, **provider: Any) -> Adapter:
    settings = ProviderSettings(**{"model": "up", "api_key": Secret("k"), **provider})
    found = adapter(DeploymentSettings(id="d", model_name="m", provider=settings), kind)
    assert found is not None
    return found


def asked(kind: Kind, body: bytes, **provider: Any) -> Any:
    return json.loads(adapted(kind, **provider).request(Call("m", False, body, kind)))


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ({}, "max_completion_tokens"),
        ({"base_url": "https://eu.api.openai.com/v1"}, "max_completion_tokens"),
        ({"base_url": "http://vllm:8000/v1"}, "max_tokens"),
        ({"base_url": "https://notapi.openai.com.example.org/v1"}, "max_tokens"),
        ({"base_url": "http://vllm:8000/v1", "limit_field": "max_completion_tokens"}, "max_completion_tokens"),
        ({"limit_field": "max_tokens"}, "max_tokens"),
        ({"type": "azure", "base_url": "https://r.openai.azure.com"}, "max_completion_tokens"),
        ({"type": "azure", "base_url": "https://r", "api_version": "2024-10-21"}, "max_completion_tokens"),
        ({"type": "azure", "base_url": "https://r", "api_version": "2025-04-01-preview"}, "max_completion_tokens"),
        ({"type": "azure", "base_url": "https://r", "api_version": "2024-06-01"}, "max_tokens"),
    ],
)
def test_limit_has_the_name_that_the_provider_knows(provider: dict[str, Any], field: str) -> None:
    sent = asked(Kind.MESSAGE, MESSAGE, **provider)

    assert {name: sent[name] for name in sent if name.startswith("max")} == {field: 7}


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.MESSAGE])
@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1/messages"),
        ("http://127.0.0.1:9000/v1/", "http://127.0.0.1:9000/v1/messages"),
        ("http://proxy/v1beta", "http://proxy/v1beta/messages"),
        ("http://v1", "http://v1/v1/messages"),
    ],
)
def test_anthropic_url_has_the_version_whether_the_address_has_it_or_not(kind: Kind, base_url: str, url: str) -> None:
    assert adapted(kind, type="anthropic", base_url=base_url).url == url


@pytest.mark.parametrize(
    ("model", "has_sampling"),
    [
        ("claude-3-haiku-20240307", True),
        ("claude-opus-4-20250514", True),
        ("claude-sonnet-4@20250514", True),
        ("claude-opus-4-1", True),
        ("claude-sonnet-4-5-20250929", True),
        ("anthropic.claude-sonnet-4-6-v1:0", True),
        ("claude-opus-4-7", False),
        ("claude-opus-4-8", False),
        ("claude-sonnet-5", False),
        ("claude-haiku-5-5", False),
        ("claude-opus-4-10", False),
        ("something-new", False),
    ],
)
def test_sampling_is_sent_to_models_that_accept_it(model: str, has_sampling: bool) -> None:
    assert ("temperature" in asked(Kind.CHAT, CHAT, type="anthropic", model=model)) is has_sampling


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("claude-2.1", 4_096),
        ("claude-3-haiku-20240307", 4_096),
        ("claude-3-5-sonnet-20241022", 8_192),
        ("anthropic.claude-3-5-haiku-v1:0", 8_192),
        ("claude-3-7-sonnet-latest", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1", 32_000),
        ("claude-opus-4-1@20250805", 32_000),
        ("claude-sonnet-4@20250514", 64_000),
        ("claude-opus-4-5-20251101", 64_000),
        ("claude-haiku-4-5", 64_000),
        ("something-new", 4_096),
    ],
)
@pytest.mark.parametrize(("kind", "body"), [(Kind.CHAT, CHAT), (Kind.RESPONSE, b'{"model": "m", "input": "hi"}')])
def test_limit_that_a_client_leaves_out_is_the_most_that_the_model_writes(
    kind: Kind, body: bytes, model: str, most: int
) -> None:
    assert asked(kind, body, type="anthropic", model=model)["max_tokens"] == most


def test_limit_that_a_client_leaves_out_is_that_of_the_deployment() -> None:
    settings = ProviderSettings(type="anthropic", model="claude-sonnet-4-5", api_key=Secret("k"))
    found = adapter(DeploymentSettings(id="d", model_name="m", provider=settings, max_output_tokens=500), Kind.CHAT)

    assert found is not None
    assert json.loads(found.request(Call("m", False, CHAT, Kind.CHAT)))["max_tokens"] == 500


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize(("kind", "type_"), [(Kind.CHAT, "anthropic"), (Kind.MESSAGE, "openai")])
def test_setting_goes_before_the_models_name(kind: Kind, type_: str, is_told: bool) -> None:
    body = MESSAGE.replace(b'"stream": true', b'"temperature": 0.5') if kind is Kind.MESSAGE else CHAT
    sent = asked(kind, body, type=type_, model="claude-sonnet-4-5" if not is_told else "new", sampling=is_told)

    assert ("temperature" in sent) is is_told


@pytest.mark.parametrize("has_usage", [True, False])
def test_stream_requests_its_usage_unless_the_server_refuses_that(has_usage: bool) -> None:
    assert ("stream_options" in asked(Kind.MESSAGE, MESSAGE, stream_usage=has_usage)) is has_usage


def test_own_dialect_passes_as_bytes() -> None:
    for kind, body, type_ in ((Kind.CHAT, CHAT, "openai"), (Kind.MESSAGE, MESSAGE, "anthropic")):
        found = adapted(kind, type=type_, model="m")

        assert found.request(Call("m", False, body, kind)) is body
        assert found.reply is None


@pytest.mark.parametrize(
    ("provider", "body", "sent"),
    [
        ({}, {"max_tokens": 9}, {"max_tokens": 5}),
        ({}, {"max_completion_tokens": 9, "max_tokens": 3}, {"max_completion_tokens": 5, "max_tokens": 3}),
        ({}, {"max_tokens": 5}, {"max_tokens": 5}),
        ({}, {}, {}),
        ({"type": "anthropic"}, {"max_tokens": 9}, {"max_tokens": 5}),
        ({"type": "anthropic"}, {"max_tokens": 4}, {"max_tokens": 4}),
    ],
)
def test_limit_above_the_models_is_lowered_in_the_providers_own_dialect(
    provider: dict[str, Any], body: dict[str, Any], sent: dict[str, Any]
) -> None:
    kind = Kind.MESSAGE if provider else Kind.CHAT
    call = parse(kind, json.dumps({**json.loads(CHAT), **body}).encode())
    written = json.loads(adapted(kind, max_output=5, **provider).request(call))

    assert {name: written[name] for name in written if name.startswith("max")} == sent
    assert json.loads(adapted(kind, **provider).request(call)) == {**json.loads(call.body), "model": "up"}


def test_limit_of_a_response_is_lowered_too() -> None:
    call = parse(Kind.RESPONSE, b'{"model": "m", "input": "hi", "max_output_tokens": 9}')

    assert json.loads(adapted(Kind.RESPONSE, max_output=5).request(call))["max_output_tokens"] == 5


THINKING: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 5000}}


@pytest.mark.parametrize(
    ("model", "base_url", "fields"),
    [
        ("o3", "https://api.openai.com/v1", {"reasoning_effort": "medium"}),
        ("gpt-5-mini", "https://api.openai.com/v1", {"reasoning_effort": "medium"}),
        ("o1-mini", "https://api.openai.com/v1", {}),
        ("gpt-5-chat-latest", "https://api.openai.com/v1", {}),
        ("gpt-5-pro", "https://api.openai.com/v1", {}),
        ("gpt-4o", "https://api.openai.com/v1", {}),
        ("openai/gpt-oss-120b", "https://api.groq.com/openai/v1", {"reasoning_effort": "medium"}),
        ("moonshotai/kimi-k2", "https://api.groq.com/openai/v1", {}),
        ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai", {"reasoning_effort": "medium"}),
        ("gemini-2.0-flash", "https://generativelanguage.googleapis.com/v1beta/openai", {}),
        ("anything", "https://openrouter.ai/api/v1", {"reasoning_effort": "medium"}),
        ("deepseek-chat", "https://api.deepseek.com/v1", {"thinking": {"type": "enabled"}}),
        ("kimi-k2.5", "https://api.moonshot.ai/v1", {"thinking": {"type": "enabled"}}),
        ("glm-4.6", "https://open.bigmodel.cn/api/paas/v4", {"thinking": {"type": "enabled"}}),
        ("mistral-large", "https://api.mistral.ai/v1", {}),
        ("deepseek-chat", "https://notdeepseek.com/v1", {}),
    ],
)
def test_reasoning_is_set_where_the_model_and_its_server_know_how(
    model: str, base_url: str, fields: dict[str, Any]
) -> None:
    body = json.dumps({**json.loads(MESSAGE), **THINKING}).encode()
    sent = asked(Kind.MESSAGE, body, model=model, base_url=base_url)

    assert {name: sent[name] for name in ("reasoning_effort", "thinking") if name in sent} == fields


@pytest.mark.parametrize(
    ("reasoning", "names"), [("effort", {"reasoning_effort"}), ("thinking", {"thinking"}), ("none", set())]
)
def test_setting_of_reasoning_goes_before_the_models_name(reasoning: str, names: set[str]) -> None:
    body = json.dumps({**json.loads(MESSAGE), **THINKING}).encode()
    sent = asked(Kind.MESSAGE, body, model="new", reasoning=reasoning)

    assert {"reasoning_effort", "thinking"} & sent.keys() == names


def test_thoughts_for_other_models_do_not_pass() -> None:
    detail = {"type": "reasoning.text", "signature": "s", "format": "pllm-thought", "index": 0}
    chat = {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [detail]}
    block = {"type": "thinking", "thinking": "hm", "signature": "pllm-thought.qwen.reasoning"}
    turn = {"role": "assistant", "content": [block, {"type": "text", "text": "a"}]}
    sent = asked(Kind.CHAT, json.dumps({"model": "m", "messages": [chat]}).encode())
    passed = asked(Kind.MESSAGE, json.dumps({"model": "m", "messages": [turn]}).encode(), type="anthropic")

    assert sent["messages"] == [{"role": "assistant", "content": "a"}]
    assert passed["messages"][0]["content"] == [{"type": "text", "text": "a"}]
