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
