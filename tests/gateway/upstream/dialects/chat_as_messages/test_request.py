"""Options of a chat request, and the limits of every request."""

import json
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given, settings
from pydantic import TypeAdapter

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.chat_as_messages.request import JSON_ONLY, Abilities, request
from tests.support.mangled_json import mangled

HELLO: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}
WEATHER: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "developer", "content": "You are a helpful assistant."},
        {"role": "system", "content": [{"type": "text", "text": "Answer in French."}]},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "What's the weather like here?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/boston.jpg", "detail": "high"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Let me see."}, {"type": "refusal", "refusal": "Not there."}],
            "refusal": None,
            "tool_calls": [
                {
                    "id": "call_abc123",
                    "type": "function",
                    "function": {"name": "get_current_weather", "arguments": '{\n"location": "Boston, MA"\n}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_abc123", "content": "22 degrees"},
        {"role": "user", "content": "Thanks."},
        {"role": "assistant", "content": "You are "},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_current_weather",
                "description": "Get the current weather in a given location",
                "parameters": {
                    "type": "object",
                    "properties": {"location": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
                    "required": ["location"],
                },
                "strict": True,
            },
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "get_current_weather"}},
    "parallel_tool_calls": False,
    "max_completion_tokens": 300,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["END"],
    "user": "user-1",
    "response_format": {"type": "text"},
    "n": 1,
    "logprobs": False,
    "modalities": ["text"],
}
TUNING = {
    "frequency_penalty": 0.1,
    "logit_bias": {"50256": -100},
    "metadata": {"a": "b"},
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.1,
    "prompt_cache_key": "k",
    "seed": 7,
    "service_tier": "flex",
    "store": True,
    "stream_options": {"include_usage": True},
    "verbosity": "low",
    "unheard_of": 1,
}


def translated(**fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(request(json.dumps({**HELLO, **fields}).encode(), "claude-sonnet-4-5"))
    return answer


def test_plain_request_needs_only_model_limit_and_messages() -> None:
    assert translated() == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}],
    }


def test_full_request_is_one_the_provider_knows() -> None:
    sent = json.loads(request(json.dumps(WEATHER).encode(), "claude-sonnet-4-5"))
    TypeAdapter(MessageCreateParamsNonStreaming).validate_python(sent)

    assert {name: sent[name] for name in sent if name not in ("messages", "tools")} == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 300,
        "system": [
            {"type": "text", "text": "You are a helpful assistant."},
            {"type": "text", "text": "Answer in French."},
        ],
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "tool_choice": {"type": "tool", "name": "get_current_weather", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "user-1"},
    }


@pytest.mark.parametrize("name", TUNING)
def test_field_that_only_tunes_or_labels_is_dropped(name: str) -> None:
    assert translated(**{name: TUNING[name]}) == translated()


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_tokens": 7, "max_completion_tokens": 8}, 8),
        ({"max_tokens": None}, 64_000),
    ],
)
def test_newer_name_of_the_limit_goes_first(fields: dict[str, Any], limit: int) -> None:
    assert translated(**fields)["max_tokens"] == limit


@pytest.mark.parametrize(("temperature", "sent"), [(0, 0), (1, 1), (1.0001, 1), (2, 1)])
def test_temperature_above_the_providers_most_is_its_most(temperature: float, sent: float) -> None:
    assert translated(temperature=temperature)["temperature"] == sent


@pytest.mark.parametrize(
    ("fields", "sent"), [({"top_p": 0.9}, 0.9), ({"top_p": 0.9, "temperature": 0}, None), ({"top_p": None}, None)]
)
def test_top_p_is_dropped_next_to_a_temperature(fields: dict[str, Any], sent: float | None) -> None:
    assert translated(**fields).get("top_p") == sent


def test_model_without_sampling_gets_none() -> None:
    body = json.dumps({**HELLO, "temperature": 0.2, "top_p": 0.9}).encode()

    assert json.loads(request(body, "claude-sonnet-4-5", Abilities(has_sampling=False))) == translated()


def test_schema_of_the_answer_becomes_its_format() -> None:
    schema = {"type": "object", "properties": {"n": {"const": 1.50}}, "additionalProperties": False}
    named = {"name": "answer", "description": "It.", "strict": True, "schema": schema}

    assert translated(response_format={"type": "json_schema", "json_schema": named})["output_config"] == {
        "format": {"type": "json_schema", "schema": schema}
    }


@pytest.mark.parametrize(("stop", "sent"), [("END", ["END"]), (["a", "\nb"], ["a", "\nb"]), ([], None), (None, None)])
def test_stop_becomes_a_list(stop: Any, sent: Any) -> None:
    assert translated(stop=stop).get("stop_sequences") == sent


@pytest.mark.parametrize(("stream", "sent"), [(True, True), (False, None), (None, None)])
def test_stream_is_requested_where_the_client_requests_it(stream: bool | None, sent: bool | None) -> None:
    assert translated(stream=stream).get("stream") == sent


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"user": "a"}, "a"),
        ({"safety_identifier": "b"}, "b"),
        ({"user": "a", "safety_identifier": "b"}, "b"),
        ({"user": ""}, None),
        ({"user": "a" * 256}, "a" * 256),
        ({"user": "a" * 257}, None),
    ],
)
def test_user_is_sent_to_the_provider(fields: dict[str, Any], user: str | None) -> None:
    assert translated(**fields).get("metadata") == ({"user_id": user} if user else None)


def test_one_system_message_is_plain_text() -> None:
    assert (
        translated(messages=[{"role": "system", "content": "Be brief."}, *HELLO["messages"]])["system"] == "Be brief."
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"logprobs": True, "top_logprobs": 2}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"web_search_options": {}}, "web_search_options"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", " \n"]}, "stop[1]"),
    ],
)
def test_field_that_would_change_the_answer_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        translated(**fields)

    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


@settings(max_examples=600, derandomize=True, deadline=None)
@given(body=mangled([WEATHER, {**HELLO, **TUNING}]))
def test_bad_request_is_an_error_of_the_request_and_nothing_else(body: bytes) -> None:
    try:
        sent = request(body, "claude")
    except InvalidRequest:
        return

    assert json.loads(sent)["model"] == "claude"


def test_json_object_becomes_an_instruction() -> None:
    assert translated(response_format={"type": "json_object"})["system"] == JSON_ONLY
    system = {"role": "system", "content": "Be brief."}
    sent = translated(response_format={"type": "json_object"}, messages=[system, *HELLO["messages"]])

    assert [block["text"] for block in sent["system"]] == ["Be brief.", JSON_ONLY]
    assert "output_config" not in sent


@pytest.mark.parametrize(
    ("model", "default", "most"),
    [
        ("claude-3-haiku-20240307", 4096, 4096), ("claude-3-5-sonnet-20241022", 8192, 8192),
        ("claude-3-7-sonnet-latest", 64_000, 64_000), ("claude-opus-4-20250514", 32_000, 32_000),
        ("claude-opus-4-1", 32_000, 32_000), ("claude-sonnet-4@20250514", 64_000, 64_000),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", 64_000, 64_000), ("claude-opus-4-5", 64_000, 64_000),
        ("claude-opus-4-6", 128_000, 128_000), ("us.anthropic.claude-sonnet-5", 128_000, 128_000),
        ("claude-haiku-5-5", 32_000, 200_000), ("claude-mythos-preview", 32_000, 200_000),
        ("claude-instant-1.2", 4096, 4096), ("kimi-k2", 4096, 200_000),
    ],
)  # fmt: skip
def test_limit_comes_from_the_model(model: str, default: int, most: int) -> None:
    def limit(given: int | None, max_output: int | None = None) -> int:
        body = json.dumps({**HELLO, "max_tokens": given}).encode()
        return int(json.loads(request(body, model, Abilities(max_output=max_output)))["max_tokens"])

    assert (limit(None), limit(200_000), limit(5)) == (default, most, 5)
    assert (limit(None, 7000), limit(200_000, 7000), limit(5, 7000)) == (7000, 7000, 5)


def thought(effort: str | None, model: str, **fields: Any) -> tuple[Any, Any]:
    body = json.dumps({**HELLO, "reasoning_effort": effort, **fields}).encode()
    sent = json.loads(request(body, model))
    return sent.get("thinking"), (sent.get("output_config") or {}).get("effort")


def enabled(budget: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": budget}


ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("effort", "budget", "newer", "newest"),
    [
        (None, None, None, None), ("none", None, None, None), ("minimal", 1024, "low", "low"),
        ("low", 2048, "low", "low"), ("medium", 8192, "medium", "medium"), ("high", 16_384, "high", "high"),
        ("xhigh", 32_768, "high", "xhigh"), ("max", 32_768, "max", "max"), ("of the future", None, None, None),
    ],
)  # fmt: skip
def test_effort_becomes_thinking_as_the_model_knows_it(
    effort: str | None, budget: int | None, newer: str | None, newest: str | None
) -> None:
    assert thought(effort, "claude-sonnet-4-5") == (enabled(budget) if budget else None, None)
    assert thought(effort, "claude-opus-4-6") == (ADAPTIVE if newer else None, newer)
    assert thought(effort, "claude-fable-5-1") == (ADAPTIVE if newest else None, newest)
    assert thought(effort, "claude-3-5-haiku-latest") == (None, None)


@pytest.mark.parametrize(("limit", "budget"), [(1365, None), (1366, 1024), (4000, 3000), (50_000, 16_384)])
def test_budget_leaves_room_for_the_answer(limit: int, budget: int | None) -> None:
    assert thought("high", "claude-sonnet-4-5", max_tokens=limit)[0] == (enabled(budget) if budget else None)


def test_setting_goes_before_the_name_of_the_model() -> None:
    body = json.dumps({**HELLO, "reasoning_effort": "low", "max_tokens": 9000}).encode()
    styles: list[Any] = [
        json.loads(request(body, "new", Abilities(reasoning=r))) for r in ("effort", "thinking", "none")
    ]

    assert [sent.get("thinking") for sent in styles] == [ADAPTIVE, enabled(2048), None]


TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
SIGNED = [{"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "pllm-thought", "index": 0}]
SIGNED_CALL = {**CALL, "reasoning_details": SIGNED}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "1"}


@pytest.mark.parametrize(
    ("fields", "older", "newer"),
    [
        ({"tools": [TOOL], "tool_choice": "auto"}, enabled(16_384), (ADAPTIVE, "high")),
        ({"tools": [TOOL], "tool_choice": "required"}, None, (None, "high")),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, None, (None, "high")),
        ({"messages": [*HELLO["messages"], {"role": "assistant", "content": "I"}]}, None, (None, "high")),
        ({"messages": [*HELLO["messages"], CALL, RESULT]}, None, (ADAPTIVE, "high")),
        ({"messages": [*HELLO["messages"], SIGNED_CALL, RESULT]}, enabled(16_384), (ADAPTIVE, "high")),
        ({"messages": [*HELLO["messages"], CALL, RESULT, *HELLO["messages"]]}, None, (ADAPTIVE, "high")),
    ],
)  # fmt: skip
def test_request_goes_without_thinking_where_the_provider_would_refuse_it(
    fields: dict[str, Any], older: Any, newer: Any
) -> None:
    assert thought("high", "claude-opus-4-5", **fields) == (older, None)
    assert thought("high", "claude-opus-4-7", **fields) == newer


@pytest.mark.parametrize("effort", ["high", None])
def test_thoughts_of_the_history_are_sent_only_next_to_thinking(effort: str | None) -> None:
    messages = [*HELLO["messages"], SIGNED_CALL, RESULT]
    sent = translated(reasoning_effort=effort, messages=messages)["messages"][1]["content"]

    assert [block["type"] for block in sent] == (["thinking", "tool_use"] if effort else ["tool_use"])


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-6"])
def test_thinking_excludes_sampling(model: str) -> None:
    body = json.dumps({**HELLO, "reasoning_effort": "low", "temperature": 0.5, "top_p": 0.9}).encode()

    assert not {"temperature", "top_p"} & json.loads(request(body, model)).keys()


def test_schema_of_the_answer_is_one_that_anthropic_accepts() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    sent = translated(response_format=wanted, reasoning_effort="low")

    assert sent["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {"age": {"type": "integer", "description": "(minimum: 0)"}},
        "required": ["age"],
        "additionalProperties": False,
    }


def marked(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def test_at_most_four_marks_of_the_cache_are_kept_the_last_ones() -> None:
    tools = [{**TOOL, "cache_control": {"type": "ephemeral"}}]
    messages = [
        {"role": "system", "content": [marked("s")]},
        {"role": "user", "content": [marked(text) for text in "abcd"]},
    ]
    sent = translated(messages=messages, tools=tools)

    assert sent["system"] == "s"
    assert "cache_control" not in sent["tools"][0]
    assert sent["messages"][0]["content"] == messages[1]["content"]
    assert "cache_control" in translated(tools=tools)["tools"][0]


@pytest.mark.parametrize(
    ("model", "size", "default"),
    [
        ("claude-sonnet-4-5", 272_000, 64_000), ("claude-sonnet-4-5", 300_000, 50_000),
        ("claude-sonnet-4", 1_000_000, 4096), ("claude-opus-4-6", 1_000_000, 128_000),
        ("claude-3-haiku-20240307", 1_000_000, 4096), ("other", 1_000_000, 4096),
    ],
)  # fmt: skip
def test_default_limit_leaves_room_for_a_long_prompt(model: str, size: int, default: int) -> None:
    body = json.dumps(HELLO).encode()

    assert json.loads(request(body + b" " * (size - len(body)), model))["max_tokens"] == default
