"""A chat completion as an Anthropic message."""

import json
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given

from gateway.json.malformed import Malformed
from gateway.upstream.dialects import call_ids, tool_names
from gateway.upstream.dialects.messages_as_chat.translation import reply
from gateway.upstream.dialects.origin import Origin
from tests.support.mangled_json import mangled

PLAIN: dict[str, Any] = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
    "service_tier": "default",
}
CALL: dict[str, Any] = {
    "id": "call_abc123",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{\n"location": "Boston, MA"\n}'},
}


def translated(body: object) -> Any:
    message = reply(json.dumps(body).encode())
    Message.model_validate_json(message)
    return json.loads(message)


def answered(message: dict[str, object], finish_reason: str | None = "stop", **more: object) -> Any:
    return translated({**PLAIN, "choices": [{"message": message, "finish_reason": finish_reason}], **more})


def called(arguments: object, finish_reason: str = "tool_calls") -> Any:
    call = {**CALL, "function": {"name": "get_weather", "arguments": arguments}}
    return answered({"content": None, "tool_calls": [call]}, finish_reason)["content"][0]["input"]


def test_plain_reply_becomes_a_message() -> None:
    assert translated(PLAIN) == {
        "type": "message",
        "id": "msg_chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "role": "assistant",
        "model": "gpt-4o-2024-08-06",
        "content": [{"type": "text", "text": "Hello!"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 15, "cache_read_input_tokens": 4, "output_tokens": 10},
    }


def test_calls_become_tool_use_behind_the_text() -> None:
    message = answered({"content": "I look.", "tool_calls": [CALL, {**CALL, "id": "call_2"}]}, "tool_calls")

    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_abc123", "name": "get_weather", "input": {"location": "Boston, MA"}},
        {"type": "tool_use", "id": "call_2", "name": "get_weather", "input": {"location": "Boston, MA"}},
    ]


@pytest.mark.parametrize("content", ["", None])
def test_empty_content_gives_no_block(content: str | None) -> None:
    assert answered({"content": content})["content"] == []


def test_refusal_becomes_text_and_the_reason() -> None:
    message = answered({"content": None, "refusal": "I'm sorry, I can't assist with that."})

    assert message["content"] == [{"type": "text", "text": "I'm sorry, I can't assist with that."}]
    assert message["stop_reason"] == "refusal"


@pytest.mark.parametrize(
    ("finish_reason", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("content_filter: RECITATION", "refusal"),
        ("model_length", "max_tokens"),
        ("eos", "end_turn"),
        (7, "end_turn"),
        (None, "end_turn"),
    ],
)
def test_finish_reason_has_its_stop_reason(finish_reason: Any, stop_reason: str) -> None:
    assert answered({"content": "a"}, finish_reason)["stop_reason"] == stop_reason


def test_calls_set_the_stop_reason_where_the_provider_sends_stop() -> None:
    assert answered({"tool_calls": [CALL]}, "stop")["stop_reason"] == "tool_use"


def test_calls_cut_short_are_not_to_be_run() -> None:
    assert answered({"tool_calls": [CALL]}, "length")["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("arguments", ["", " \n", None, "{}"])
def test_no_arguments_are_an_empty_object(arguments: str | None) -> None:
    assert called(arguments) == {}


@pytest.mark.parametrize("arguments", ["null", " null ", None])
def test_null_counts_as_no_arguments(arguments: str | None) -> None:
    assert called(arguments) == {}


@pytest.mark.parametrize("arguments", ["[]", "1", '"a"', '{"a"', '{"a": 1', "location: Boston", '{"a": "\n"}'])
@pytest.mark.parametrize("finish_reason", ["stop", "tool_calls"])
def test_arguments_that_are_no_object_are_the_answer_all_the_same(arguments: str, finish_reason: str) -> None:
    assert called(arguments, finish_reason) == {"INVALID_JSON": arguments}


def test_arguments_nested_beyond_all_measure_are_the_answer_all_the_same() -> None:
    arguments = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"

    assert called(arguments) == {"INVALID_JSON": arguments}


@pytest.mark.parametrize(("finish_reason", "stop_reason"), [("length", "max_tokens"), ("content_filter", "refusal")])
def test_answer_cut_inside_a_call_has_its_text_and_the_readable_part(finish_reason: str, stop_reason: str) -> None:
    cut = {**CALL, "function": {"name": "f", "arguments": '{"city": "Paris", "days": [1, 2, {"a'}}
    message = answered({"content": "I look.", "tool_calls": [cut]}, finish_reason)

    assert message["stop_reason"] == stop_reason
    assert message["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": CALL["id"], "name": "f", "input": {"city": "Paris", "days": [1, 2, {}]}},
    ]


def test_arguments_may_be_an_object_already() -> None:
    assert called({"city": "Zürich", "days": 2.5}) == {"city": "Zürich", "days": 2.5}


def test_call_without_an_id_gets_one() -> None:
    blocks = answered({"tool_calls": [{**CALL, "id": ""}, {"function": CALL["function"]}]})["content"]

    assert all(block["id"].startswith("toolu_") for block in blocks)
    assert blocks[0]["id"] != blocks[1]["id"]


def test_id_that_is_given_twice_is_replaced() -> None:
    first, second = answered({"content": None, "tool_calls": [CALL, CALL]}, "tool_calls")["content"]

    assert first["id"] == CALL["id"]
    assert second["id"].startswith("toolu_")


@pytest.mark.parametrize(("given_id", "told_id"), [("msg_1", "msg_1"), ("1", "msg_1")])
def test_id_begins_as_ids_of_messages_do(given_id: str, told_id: str) -> None:
    assert translated({**PLAIN, "id": given_id})["id"] == told_id


def test_reply_without_an_id_gets_one() -> None:
    assert len(translated({**PLAIN, "id": None})["id"]) > len("msg_")


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (None, (0, 0, 0)),
        ({}, (0, 0, 0)),
        ({"prompt_tokens": 3.0, "completion_tokens": 5, "prompt_tokens_details": None}, (3, 0, 5)),
        ({"prompt_tokens": 208, "prompt_tokens_details": {"cached_tokens": 314}}, (0, 208, 0)),
        ({"prompt_tokens": "3", "completion_tokens": "x", "prompt_tokens_details": []}, (3, 0, 0)),
        ([], (0, 0, 0)),
        ("none", (0, 0, 0)),
        ({"prompt_tokens": -3, "completion_tokens": 1e300}, (0, 0, 999_999_999)),
    ],
)
def test_usage_is_whole_and_bounded(counted: object, expected: tuple[int, int, int]) -> None:
    usage = translated({**PLAIN, "usage": counted})["usage"]

    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"choices": null}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": "a"}]}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_body_that_is_not_a_chat_completion_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        reply(body)


def test_call_without_a_name_is_the_answer_all_the_same() -> None:
    blocks = answered({"tool_calls": [{"id": "a", "function": {"name": ""}}, {"id": "b"}]}, "tool_calls")["content"]

    assert [(block["id"], block["name"], block["input"]) for block in blocks] == [("a", "", {}), ("b", "", {})]


def test_answer_that_was_blocked_may_lack_its_message() -> None:
    message = translated({**PLAIN, "choices": [{"index": 0, "finish_reason": "content_filter: OTHER"}]})

    assert (message["content"], message["stop_reason"]) == ([], "refusal")


@pytest.mark.parametrize(
    "content",
    [
        ["hel", {"text": "lo"}, {"type": "reference", "reference_ids": [1]}, None, {"type": "text", "text": 7}],
        "hello",
    ],
)
def test_content_may_be_a_list_of_texts(content: object) -> None:
    assert answered({"content": content})["content"] == [{"type": "text", "text": "hello"}]


@pytest.mark.parametrize("content", [[], {}, True, None, [{"type": "thinking", "thinking": []}]])
def test_content_without_text_gives_no_block(content: object) -> None:
    assert answered({"content": content})["content"] == []


def test_ids_that_are_numbers_become_text() -> None:
    message = translated({**PLAIN, "id": 7, "model": 4})

    assert (message["id"], message["model"]) == ("msg_7", "4")


def test_json_that_only_lenient_readers_accept_leaves_the_text_readable() -> None:
    choice = (
        b'{"message":{"content":"a \\ud83d"},"finish_reason":"stop","logprobs":{"content":[{"logprob":-Infinity}]}}'
    )

    assert (
        json.loads(reply(b'{"choices":[%b],"usage":{"prompt_tokens":NaN}}' % choice))["content"][0]["text"]
        == "a \ufffd"
    )


@given(mangled([{**PLAIN, "choices": [{"message": {"content": "a", "tool_calls": [CALL]}, "finish_reason": "stop"}]}]))
def test_damaged_reply_is_malformed_or_good(body: bytes) -> None:
    try:
        message = reply(body)
    except Malformed:
        return

    Message.model_validate_json(message)


def test_tokens_written_to_the_cache_and_of_reasoning_are_separate() -> None:
    counted = {"prompt_tokens": 100, "completion_tokens": 50}
    prompt = {"cached_tokens": 30, "cache_write_tokens": 20}
    usage = {**counted, "prompt_tokens_details": prompt, "completion_tokens_details": {"reasoning_tokens": 40}}

    assert translated({**PLAIN, "usage": usage})["usage"] == {
        "input_tokens": 50,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 20,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 40},
    }


def test_parts_of_a_count_are_never_more_than_the_whole() -> None:
    prompt = {"cached_tokens": 80, "cache_write_tokens": 70}
    counted = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": prompt}
    usage = {**counted, "completion_tokens_details": {"reasoning_tokens": 40}}

    assert translated({**PLAIN, "usage": usage})["usage"] == {
        "input_tokens": 0,
        "cache_read_input_tokens": 80,
        "cache_creation_input_tokens": 20,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 5},
    }


THOUGHT = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "42"}]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"reasoning_content": "Hm.", "content": "42"}, "reasoning_content"),
        ({"reasoning": "Hm.", "content": "42"}, "reasoning"),
        ({"reasoning": "Hm.", "reasoning_content": "Hm.", "content": "42"}, "reasoning_content"),
        ({"content": THOUGHT}, "content"),
        ({"content": [{"type": "thinking", "thinking": "Hm."}, "42"]}, "content"),
    ],
)
def test_reasoning_becomes_a_thinking_block_before_the_text(message: dict[str, object], field: str) -> None:
    assert answered(message)["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": f"pllm-thought.model.{field}"},
        {"type": "text", "text": "42"},
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (None, 1), (1, None)])
def test_choice_of_index_0_counts(order: tuple[int | None, int | None]) -> None:
    choices = [
        {"index": index, "message": {"content": "second" if index else "first"}, "finish_reason": "stop"}
        for index in order
    ]

    assert translated({**PLAIN, "choices": choices})["content"] == [{"type": "text", "text": "first"}]


def test_refusal_is_explained() -> None:
    explained = {"type": "refusal", "category": None, "explanation": "I cannot."}

    assert answered({"content": None, "refusal": "I cannot."})["stop_details"] == explained
    assert "stop_details" not in answered({"content": "a"})


def test_reply_has_the_requested_model_where_it_names_none() -> None:
    body = json.dumps({"choices": [{"message": {"content": "a"}}]}).encode()

    assert json.loads(reply(body, Origin("mine", "theirs")))["model"] == "mine"


def test_long_name_of_a_tool_comes_back_as_the_client_knows_it() -> None:
    name = "mcp__" + "long" * 20
    request = json.dumps({"tools": [{"name": "short"}, {"name": name}]}).encode()
    calls = [{"id": "a", "function": {"name": each}} for each in ("short", tool_names.for_chat(name), "no_0123456789")]
    body = json.dumps({"choices": [{"message": {"tool_calls": calls}}]}).encode()
    blocks = json.loads(reply(body, Origin("m", "m", request)))["content"]

    assert [block["name"] for block in blocks] == ["short", name, "no_0123456789"]


def test_thought_signature_is_kept_in_the_id_of_the_call() -> None:
    extra = {"google": {"thought_signature": "c2ln"}}
    call = {"id": "function-call-1", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
    body = json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode()
    given = json.loads(reply(body, Origin("m", "gemini-3-pro")))["content"][0]["id"]

    assert call_ids.signature_in(given) == call_ids.Signature("c2ln", "gemini")
    assert call_ids.for_chat(given) == "function-call-1"


@pytest.mark.parametrize("extra", [None, [], {"google": None}, {"google": {"thought_signature": 7}}, {"google": "x"}])
def test_odd_signature_counts_as_left_out(extra: object) -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}

    assert answered({"tool_calls": [call]})["content"][0]["name"] == "f"
