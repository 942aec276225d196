"""Errors of type name their place."""

import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.chat_as_messages.schema import parse

USER = {"role": "user", "content": "Hello!"}
TOOL = b'{"type": "function", "function": {"name": "f", "parameters": {"a": "\xff"}}}'


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        parse(body)
    return refused.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [USER, 1]}, "messages[1]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [USER, {"role": "user", "content": [{"type": "text"}]}]}, "messages[1].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [USER], "max_tokens": 0}, "max_tokens"),
        ({"messages": [USER], "max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"messages": [USER], "temperature": 2.1}, "temperature"),
        ({"messages": [USER], "top_p": -1}, "top_p"),
        ({"messages": [USER], "stop": ["a", 1]}, "stop[1]"),
        ({"messages": [USER], "tools": [{"type": "function"}]}, "tools[0].function"),
        (
            {"messages": [USER], "tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"messages": [{**USER, "name": 5}]}, "messages[0].name"),
        ({"messages": [USER], "stream_options": {"include_obfuscation": "no"}}, "stream_options.include_obfuscation"),
        ({"messages": [USER], "metadata": {"a": 5}}, "metadata[...]"),
        ({"messages": [USER], "logit_bias": {"5": "x"}}, "logit_bias[...]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "prompt_cache_breakpoint": 1}]}]},
            "messages[0].content[0].prompt_cache_breakpoint",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "", "detail": 1}}]}]},
            "messages[0].content[0].image_url.detail",
        ),
        (
            {
                "messages": [USER],
                "response_format": {"type": "json_schema", "json_schema": {"schema": {}, "strict": 1}},
            },
            "response_format.json_schema.strict",
        ),
    ],
)
def test_mistake_is_named_by_its_place(fields: dict[str, Any], param: str) -> None:
    assert refusal(json.dumps(fields).encode()).param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "x - at `$.evil`", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [USER], "tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"messages": [USER], "tool_choice": "any"}, "tool_choice"),
    ],
)
def test_unknown_role_or_type_is_an_unsupported_value(fields: dict[str, Any], param: str) -> None:
    error = refusal(json.dumps(fields).encode())

    assert (error.param, error.code) == (param, "unsupported_value")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"messages": "\xff"}', b'{"messages": [{"role": "user", "content": "\\ud800 lone"}]}',
     b'{"messages": [{"role": "user", "content": "x"}], "tools": [%b]}' % TOOL, b'{"audio": ' + b"[" * 100_000],
)  # fmt: skip
def test_invalid_json_is_named(body: bytes) -> None:
    assert refusal(body).code == "invalid_json"


def test_body_of_another_kind_has_no_place_to_name() -> None:
    assert refusal(b"[]").param is None
