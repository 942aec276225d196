"""A Messages request as a chat completion request."""

import json
from typing import Any

import pytest
from hypothesis import given
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from gateway.errors import InvalidRequest
from gateway.upstream.dialects import tool_names
from gateway.upstream.dialects.messages_as_chat.translation import Vocabulary, request
from tests.support.mangled_json import mangled

OFFICIAL = TypeAdapter(completion_create_params.CompletionCreateParams)
PLAIN: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hello, Claude"}],
}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the current weather in a given location",
    "input_schema": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
        "required": ["location"],
    },
}
WEATHER_FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a given location",
        "parameters": WEATHER["input_schema"],
    },
}
FULL: dict[str, Any] = {
    **PLAIN,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}, "title": "t"},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
                {"type": "text", "text": "What is the weather like in San Francisco?"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I ask.", "signature": "c2ln"},
                {"type": "text", "text": "I'll check."},
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "get_weather",
                    "input": {"location": "San Francisco, CA"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [
                        {"type": "text", "text": "15 degrees"},
                        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                    ],
                    "is_error": False,
                }
            ],
        },
        {"role": "system", "content": "Answer in verse."},
    ],
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "stop_sequences": ["END"],
    "stream": True,
    "tools": [{**WEATHER, "type": "custom", "strict": True}],
    "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "metadata": {"user_id": "user-1"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "service_tier": "auto",
    "container": None,
    "mcp_servers": [],
    "context_management": {"edits": []},
}


def translated(**more: object) -> Any:
    return json.loads(request(json.dumps({**PLAIN, **more}).encode(), "gpt-4o"))


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        request(body, "gpt-4o")
    return refused.value


def refused(**more: object) -> InvalidRequest:
    return refusal(json.dumps({**PLAIN, **more}).encode())


def block(content: object, role: str = "user") -> dict[str, object]:
    return {"messages": [{"role": role, "content": [content]}]}


def test_plain_request_is_the_same_for_the_providers_model() -> None:
    assert translated() == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello, Claude"}],
        "max_tokens": 1024,
    }


def test_official_types_know_the_request() -> None:
    OFFICIAL.validate_json(request(json.dumps(FULL).encode(), "gpt-4o"))


def test_words_that_only_tune_or_label_are_dropped() -> None:
    names = set(translated(**{**FULL, "top_k": 5}))

    assert names & {"top_k", "thinking", "service_tier", "container", "mcp_servers", "context_management"} == set()
    assert "cache_control" not in json.dumps(translated(**FULL))


@pytest.mark.parametrize("system", ["a\n\nb", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]])
def test_system_becomes_one_first_message(system: object) -> None:
    assert translated(system=system)["messages"][0] == {"role": "system", "content": "a\n\nb"}


@pytest.mark.parametrize("system", [None, "", []])
def test_empty_system_gives_no_message(system: object) -> None:
    assert len(translated(system=system)["messages"]) == 1


def test_sampling_and_stops_keep_their_values() -> None:
    sent = translated(temperature=0.5, top_p=0.9, stop_sequences=["a", "b"])

    assert (sent["temperature"], sent["top_p"], sent["stop"]) == (0.5, 0.9, ["a", "b"])


def test_stream_always_requests_usage() -> None:
    sent = translated(stream=True)

    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


def test_tools_become_functions() -> None:
    assert translated(tools=[WEATHER])["tools"] == [WEATHER_FUNCTION]


def test_tool_without_properties_is_given_none() -> None:
    sent = translated(tools=[{"name": "now", "input_schema": {"type": "object"}}])["tools"][0]["function"]["parameters"]

    assert sent == {"type": "object", "properties": {}}


def test_newer_name_of_the_limit_is_used_where_it_is_known() -> None:
    sent = json.loads(request(json.dumps(PLAIN).encode(), "m", Vocabulary(limit_field="max_completion_tokens")))

    assert (sent["max_completion_tokens"], "max_tokens" in sent) == (1024, False)


def test_provider_without_stream_usage_or_sampling_gets_neither() -> None:
    body = json.dumps({**PLAIN, "stream": True, "temperature": 0.5, "top_p": 0.5}).encode()
    known = Vocabulary(has_stream_usage=False, has_sampling=False)

    assert json.loads(request(body, "gpt-4o", known)) == translated() | {"stream": True}


def test_strict_tool_stays_strict() -> None:
    assert translated(tools=[{**WEATHER, "strict": True}])["tools"][0]["function"]["strict"] is True


def test_no_tools_are_no_field() -> None:
    assert translated(tools=[], tool_choice={"type": "auto"}).keys() == translated().keys()


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_tool_choice_has_its_counterpart(choice: object, written: object) -> None:
    assert translated(tools=[WEATHER], tool_choice=choice)["tool_choice"] == written


@pytest.mark.parametrize(("disabled", "written"), [(True, False), (False, None), (None, None)])
def test_parallel_calls_can_be_switched_off(disabled: bool | None, written: bool | None) -> None:
    sent = translated(tools=[WEATHER], tool_choice={"type": "auto", "disable_parallel_tool_use": disabled})

    assert sent.get("parallel_tool_calls") is written


@pytest.mark.parametrize(("user_id", "written"), [("u" * 64, "u" * 64), ("u" * 65, None), ("", None), (None, None)])
def test_user_is_sent_if_openai_accepts_it(user_id: str | None, written: str | None) -> None:
    assert translated(metadata={"user_id": user_id}).get("user") == written


@pytest.mark.parametrize("place", ["output_format", "output_config"])
def test_format_of_the_answer_becomes_a_strict_schema(place: str) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
    wanted: dict[str, object] = {"type": "json_schema", "schema": schema}
    sent = translated(**{place: wanted if place == "output_format" else {"format": wanted}})

    assert sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        (block({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, "assistant"), "type"),
        (block({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, "assistant"), "type"),
        (block({"type": "search_result", "source": "s", "title": "t", "content": []}), "type"),
        (block({"type": "image", "source": {"type": "file", "file_id": "f"}}), "source.type"),
        (block({"type": "document", "source": {"type": "url", "url": "https://example.com"}}), "source.type"),
        (block({"type": "tool_use", "id": "t", "name": "n", "input": {}}), "type"),
        (block({"type": "tool_result", "tool_use_id": "t"}), "tool_use_id"),
        (block({"type": "image", "source": {}}, "assistant"), "type"),
    ],
)
def test_block_without_counterpart_is_refused_by_its_place(wrong: dict[str, object], param: str) -> None:
    error = refused(**wrong)

    assert (error.param, error.code) == (f"messages[0].content[0].{param}", "unsupported_value")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        (block({"type": "image", "source": {"type": "url", "url": "ftp://a"}}), "messages[0].content[0].source.url"),
        (block({"type": "image", "source": {"type": "url", "url": "https://"}}), "messages[0].content[0].source.url"),
        (
            block({"type": "image", "source": {"type": "url", "url": "https://a\0b"}}),
            "messages[0].content[0].source.url",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"stop_sequences": list("abcde")}, "stop_sequences"),
        ({"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "a"}]}, "mcp_servers"),
        ({"container": "container_1"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format.type"),
        (
            block({"type": "document", "source": {"type": "content", "content": ""}, "citations": {"enabled": True}}),
            "messages[0].content[0].citations",
        ),
    ],
)
def test_field_that_would_change_the_answer_is_refused(wrong: dict[str, object], param: str) -> None:
    error = refused(**wrong)

    assert (error.param, error.code) == (param, "unsupported_value")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": []}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        (block({"type": "text", "text": 5}), "messages[0].content[0].text"),
        (block({"type": "text"}), "messages[0].content[0].text"),
        (block({"type": "tool_use", "id": "t", "name": "n", "input": []}, "assistant"), "messages[0].content[0].input"),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "a", "input_schema": True}]}, "tools[0].input_schema"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"stop_sequences": [None]}, "stop_sequences[0]"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"thinking": {"budget_tokens": 5}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "5"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": 5}}, "output_config.effort"),
        ({"container": 0}, "container"),
        ({"mcp_servers": ""}, "mcp_servers"),
        ({"inference_geo": False}, "inference_geo"),
        ({"tools": [{**WEATHER, "cache_control": 5}]}, "tools[0].cache_control"),
        ({"tools": [{**WEATHER, "defer_loading": "yes"}]}, "tools[0].defer_loading"),
        ({"tools": [{**WEATHER, "input_examples": {}}]}, "tools[0].input_examples"),
        ({"system": [{"type": "text", "text": "a", "cache_control": "x"}]}, "system[0].cache_control"),
        (block({"type": "text", "text": "a", "citations": {}}), "messages[0].content[0].citations"),
        (block({"type": "text", "text": "a", "cache_control": []}), "messages[0].content[0].cache_control"),
        (block({"type": "thinking", "thinking": 5}, "assistant"), "messages[0].content[0].thinking"),
        (block({"type": "redacted_thinking", "data": {}}, "assistant"), "messages[0].content[0].data"),
        (
            block({"type": "document", "source": {"type": "text", "media_type": "text/html", "data": "a"}}),
            "messages[0].content[0].source.media_type",
        ),
    ],
)
def test_mistake_is_named_by_its_place(wrong: dict[str, object], param: str) -> None:
    assert refused(**wrong).param == param


def test_missing_field_at_the_top_is_named() -> None:
    assert refusal(b'{"model": "m", "messages": [{"role": "user", "content": "a"}]}').param == "max_tokens"


def test_long_nonsense_is_not_repeated_at_length() -> None:
    assert len(refused(messages=[{"role": "x" * 100_000, "content": "a"}]).message) < 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"model": "m"',
        b'{"model": "\xff"}',
        b'{"tools": [{"input_schema": {"a": "\xff"}}]}',
        b'{"unknown": ' + b"[" * 100_000 + b"]" * 100_000,
        json.dumps({**PLAIN, "system": "\ud800"}).encode(),
    ],
)
def test_body_that_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"'])
def test_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body).param is None


def test_input_of_a_call_keeps_its_exact_numbers() -> None:
    used = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
    body = json.dumps({**PLAIN, "messages": [used, result]})
    exact = '{"big":123456789012345678901234567890,"small":0.10000000000000000001}'
    sent = json.loads(request(body.replace('"input": {}', f'"input": {exact}').encode(), "m"))

    assert sent["messages"][0]["tool_calls"][0]["function"]["arguments"] == exact


@given(mangled([FULL]))
def test_damaged_request_is_refused_or_good(body: bytes) -> None:
    try:
        sent = request(body, "gpt-4o")
    except InvalidRequest:
        return

    assert json.loads(sent)["model"] == "gpt-4o"


def test_filling_the_prompt_cache_without_an_answer_is_refused_in_words() -> None:
    body = {"model": "m", "max_tokens": 0, "messages": [{"role": "user", "content": "a"}]}

    with pytest.raises(InvalidRequest) as refused:
        request(json.dumps(body).encode(), "gpt-4o")

    assert (refused.value.param, refused.value.code) == ("max_tokens", "unsupported_value")
    assert "prompt cache" in refused.value.message


def test_long_name_of_a_tool_is_shortened_wherever_it_stands() -> None:
    name = "mcp__" + "long" * 20
    sent = translated(tools=[{**WEATHER, "name": name}], tool_choice={"type": "tool", "name": name})

    assert sent["tools"][0]["function"]["name"] == sent["tool_choice"]["function"]["name"] == tool_names.for_chat(name)


def test_schema_of_a_strict_tool_is_one_that_openai_accepts() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a"]}
    sent = translated(tools=[{"name": "f", "input_schema": schema, "strict": True}])["tools"][0]["function"]

    assert sent["parameters"]["required"] == ["a", "b"]
    assert sent["parameters"]["additionalProperties"] is False
    assert sent["parameters"]["properties"]["b"] == {"type": ["string", "null"]}


@pytest.mark.parametrize(
    ("model", "most", "sent"),
    [
        ("gpt-4o", None, 16_384), ("openai/gpt-4o-mini-2024-07-18", None, 16_384), ("gpt-4o-2024-05-13", None, 4096),
        ("gpt-4.1-mini", None, 32_768), ("gpt-3.5-turbo", None, 4096), ("gpt-5", None, 50_000),
        ("my-gpt-4o", None, 50_000), ("llama", None, 50_000), ("llama", 8192, 8192), ("gpt-4o", 20_000, 20_000),
        ("llama", 60_000, 50_000),
    ],
)  # fmt: skip
def test_limit_is_at_most_what_the_model_accepts(model: str, most: int | None, sent: int) -> None:
    body = json.dumps({**PLAIN, "max_tokens": 50_000}).encode()

    assert json.loads(request(body, model, Vocabulary(max_output=most)))["max_tokens"] == sent


def budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def effort(word: str) -> dict[str, Any]:
    return {"output_config": {"effort": word}}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, None), (effort("low"), "low"), (effort("medium"), "medium"), (effort("high"), "high"),
        (effort("xhigh"), "high"), (effort("max"), "high"), (effort("of the future"), None),
        (budget(0), "low"), (budget(1024), "low"), (budget(4095), "low"), (budget(4096), "medium"),
        (budget(16_383), "medium"), (budget(16_384), "high"), (budget(31_999), "high"),
        ({**budget(31_999), **effort("low")}, "low"), ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "disabled"}}, None), ({"thinking": {"type": "adaptive"}, **effort("max")}, "high"),
    ],
)  # fmt: skip
def test_effort_or_budget_becomes_the_effort(fields: dict[str, Any], sent: str | None) -> None:
    body = json.dumps({**PLAIN, **fields}).encode()
    written = json.loads(request(body, "o3", Vocabulary(reasoning="effort")))

    assert (written.get("reasoning_effort"), written.get("thinking")) == (sent, None)
    assert "reasoning_effort" not in json.loads(request(body, "o3"))


@pytest.mark.parametrize(
    ("model", "sent", "with_tools"),
    [
        ("o3", "high", "high"), ("gpt-5", "high", "high"), ("gpt-5.1", "high", "high"), ("gpt-5.2", "high", None),
        ("gpt-5.4-mini", "high", None), ("gpt-5.6", "high", "none"), ("gpt-6", "high", "none"),
    ],
)  # fmt: skip
def test_effort_next_to_tools_is_one_that_openai_accepts(model: str, sent: str, with_tools: str | None) -> None:
    def effort_of(tools: list[Any], **more: Any) -> Any:
        body = json.dumps({**PLAIN, **effort("max"), "tools": tools}).encode()
        return json.loads(request(body, model, Vocabulary(reasoning="effort", **more))).get("reasoning_effort")

    assert (effort_of([]), effort_of([WEATHER])) == (sent, with_tools)
    assert effort_of([WEATHER], limits_effort_with_tools=False) == sent


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        (None, None), ({"type": "enabled", "budget_tokens": 1024}, {"type": "enabled"}),
        ({"type": "adaptive"}, {"type": "enabled"}), ({"type": "disabled"}, {"type": "disabled"}),
        ({"type": "between_tools"}, None),
    ],
)  # fmt: skip
def test_thinking_is_switched_where_the_provider_has_a_switch(thinking: Any, sent: Any) -> None:
    body = json.dumps({**PLAIN, "thinking": thinking}).encode()
    written = json.loads(request(body, "glm-4.6", Vocabulary(reasoning="thinking")))

    assert (written.get("thinking"), written.get("reasoning_effort")) == (sent, None)
