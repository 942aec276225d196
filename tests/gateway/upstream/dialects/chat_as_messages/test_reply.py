"""Plain replies."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from openai.types.chat import ChatCompletion

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_as_messages.reply import reply
from tests.support.mangled_json import mangled

HELLO: dict[str, Any] = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hi! My name is Claude."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 2095,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 503,
        "service_tier": "standard",
    },
}
TOOLS = [
    {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"},
    {"type": "redacted_thinking", "data": "EmwK"},
    {"type": "text", "text": "I'll check ", "citations": None},
    {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": []},
    {"type": "text", "text": "the weather."},
    {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "get_weather", "input": {"location": "Zürich"}},
    {"type": "tool_use", "id": "toolu_02", "name": "now", "input": {}},
]
THOUGHTS = {
    "reasoning_content": "Hm.",
    "reasoning_details": [
        {"type": "reasoning.text", "index": 0, "text": "Hm.", "signature": "EqQB", "format": "pllm-thought"},
        {"type": "reasoning.encrypted", "index": 1, "data": "EmwK", "format": "pllm-thought"},
    ],
}


def answered(**fields: Any) -> dict[str, Any]:
    body = reply(json.dumps({**HELLO, **fields}, ensure_ascii=False).encode())
    ChatCompletion.model_validate_json(body, strict=True)
    answer: dict[str, Any] = json.loads(body)
    return answer


def test_text_is_a_chat_completion() -> None:
    before = int(time.time())
    answer = answered()

    assert before <= answer.pop("created") <= time.time()
    assert answer == {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "object": "chat.completion",
        "model": "claude-sonnet-4-5-20250929",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi! My name is Claude.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 2215,
            "completion_tokens": 503,
            "total_tokens": 2718,
            "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 100},
        },
    }


def test_texts_are_joined_and_uses_of_tools_are_calls() -> None:
    choice = answered(content=TOOLS, stop_reason="tool_use")["choices"][0]

    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "I'll check the weather.",
        "refusal": None,
        "tool_calls": [
            {
                "id": "toolu_01A09q90qw90lq917835lq9",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"location": "Zürich"}'},
            },
            {"id": "toolu_02", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
        **THOUGHTS,
    }


@pytest.mark.parametrize(("content", "sent"), [(TOOLS[-1:], None), ([], ""), (TOOLS[:2], "")])
def test_content_is_null_only_next_to_calls(content: list[Any], sent: str | None) -> None:
    assert answered(content=content)["choices"][0]["message"]["content"] == sent


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("model_context_window_exceeded", "length"),
        ("not_known_yet", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reason_is_translated_for_the_client(stop_reason: str | None, finish_reason: str) -> None:
    assert answered(stop_reason=stop_reason)["choices"][0]["finish_reason"] == finish_reason


def test_counts_left_out_are_zero() -> None:
    usage = answered(usage={"input_tokens": 3, "cache_read_input_tokens": None})["usage"]

    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (3, 0, 3)


@pytest.mark.parametrize("content", [None, 7, {"type": "text", "text": "a"}])
def test_reply_without_content_is_malformed(content: object) -> None:
    with pytest.raises(Malformed):
        answered(content=content)


@pytest.mark.parametrize(
    ("fields", "finish_reason", "total"),
    [
        ({"usage": None}, "stop", 0),
        ({"usage": []}, "stop", 0),
        ({"usage": {"input_tokens": -1}}, "stop", 0),
        ({"usage": {"input_tokens": 3.0, "output_tokens": "4"}}, "stop", 7),
        ({"usage": {"input_tokens": "many", "output_tokens": True}}, "stop", 0),
        ({"usage": {"input_tokens": 10**400}}, "stop", 2**50),
        ({"stop_reason": 1}, "stop", 503),
        ({"stop_details": "none"}, "stop", 503),
        ({"model": 4, "id": 17}, "stop", 503),
    ],
)
def test_fields_of_another_type_count_as_left_out(fields: dict[str, Any], finish_reason: str, total: int) -> None:
    answer = answered(**{"usage": {"input_tokens": 500, "output_tokens": 3}, **fields})

    assert answer["choices"][0]["finish_reason"] == finish_reason
    assert answer["usage"]["total_tokens"] == total


def test_ids_that_are_missing_are_made_up_and_numbers_become_text() -> None:
    nameless = [{"type": "tool_use", "input": {}}, {"type": "tool_use", "id": 7, "name": "f", "input": {}}]
    answer = answered(id=None, model=None, content=nameless)
    first, second = answer["choices"][0]["message"]["tool_calls"]

    assert answer["id"].startswith("chatcmpl-")
    assert (first["id"].startswith("call_"), first["function"]["name"]) == (True, "")
    assert (second["id"], second["function"]["name"]) == ("7", "f")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hello", "Hello"),
        ([{"type": "text"}, {"type": "text", "text": None}, {"type": "text", "text": "a"}], "a"),
        ([{}, "odd", None, {"type": 1, "text": "b"}, {"type": "text", "text": "a"}], "a"),
    ],
)
def test_blocks_of_another_form_leave_the_text_readable(content: object, text: str) -> None:
    assert answered(content=content)["choices"][0]["message"]["content"] == text


def test_half_a_surrogate_pair_leaves_the_rest_readable() -> None:
    body = json.dumps({**HELLO, "content": [{"type": "text", "text": "\ud83d and \ud83d\ude00"}]}).encode()

    assert json.loads(reply(body))["choices"][0]["message"]["content"] == "\ufffd and 😀"


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        (None, "{}"),
        ("", "{}"),
        ('{"city": "Par', '{"city": "Par'),
        ('{"city": "Paris"}', '{"city": "Paris"}'),
        ([1, 2], "[1, 2]"),
        (7, "7"),
    ],
)
def test_input_of_a_tool_cut_at_the_limit_is_sent_as_it_is(given: object, arguments: str) -> None:
    used = [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": given}]
    choice = answered(content=[{"type": "text", "text": "I look."}, *used], stop_reason="max_tokens")["choices"][0]

    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == "I look."
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": arguments}


def test_counts_of_iterations_are_not_those_of_the_call() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "iterations": [{"input_tokens": 900, "output_tokens": 800}]}

    assert answered(usage=usage)["usage"]["total_tokens"] == 15


def test_tokens_of_reasoning_are_never_more_than_those_of_the_answer() -> None:
    usage = {"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}}

    assert answered(usage=usage)["usage"]["completion_tokens_details"] == {"reasoning_tokens": 5}


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"[" * 100_000, b"\xff",
     json.dumps({**HELLO, "content": TOOLS}, ensure_ascii=False).encode("latin-1")],
)  # fmt: skip
def test_invalid_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        reply(body)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(body=mangled([HELLO, {**HELLO, "content": TOOLS}]))
def test_reply_is_a_chat_completion_or_malformed(body: bytes) -> None:
    try:
        answer = reply(body)
    except Malformed:
        return

    assert ChatCompletion.model_validate_json(answer, strict=True).choices[0].message.role == "assistant"


def test_tokens_of_thinking_are_tokens_of_reasoning() -> None:
    usage = {**HELLO["usage"], "output_tokens_details": {"thinking_tokens": 400}}

    assert answered(usage=usage)["usage"]["completion_tokens_details"] == {"reasoning_tokens": 400}


def test_explanation_of_a_refusal_is_the_refusal() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "I may not."}
    choice = answered(content=[], stop_reason="refusal", stop_details=details)["choices"][0]

    assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "I may not.")
