"""The order of turns: system messages, merged turns, tool calls with their results, prefill."""

import re
from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.chat_as_messages.schema import Message
from gateway.upstream.dialects.chat_as_messages.turns import conversation

USER = {"role": "user", "content": "go"}


def talk(*messages: dict[str, Any]) -> Any:
    return msgspec.json.decode(
        msgspec.json.encode(conversation(msgspec.json.decode(msgspec.json.encode(messages), type=list[Message])))
    )


def turns(*messages: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """Text blocks are shown as their text."""
    return [
        (turn["role"], [block.get("text", block) for block in turn["content"]]) for turn in talk(*messages)["messages"]
    ]


def calling(*ids: str, arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    calls = [{"id": id_, "type": "function", "function": {"name": "f", "arguments": arguments}} for id_ in ids]
    return {"role": "assistant", "tool_calls": calls, **fields}


def result(id_: str, content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def use(id_: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "f", "input": {}}


def answer(id_: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": "done"}


def test_system_messages_are_collected_in_order() -> None:
    translated = talk(
        {"role": "system", "content": "a"},
        USER,
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        USER,
    )

    assert [block["text"] for block in translated["system"]] == ["a", "b", "c"]
    assert len(translated["messages"]) == 1


def test_neighbours_of_one_role_are_one_turn() -> None:
    messages = [
        {"role": role, "content": text} for role, text in zip(["user", "user", "assistant"] * 2, "abcdef", strict=True)
    ]

    assert turns(*messages) == [("user", ["a", "b"]), ("assistant", ["c"]), ("user", ["d", "e"]), ("assistant", ["f"])]


@pytest.mark.parametrize("content", ["", "  ", None, []])
def test_message_without_content_is_left_out(content: Any) -> None:
    assert turns(USER, {"role": "assistant", "content": content}, USER) == [("user", ["go", "go"])]


def test_refusals_are_text_of_the_assistant() -> None:
    message = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "Never."}

    assert turns(USER, message) == [("user", ["go"]), ("assistant", ["No.", "Never."])]


def test_results_are_merged_into_one_turn_with_the_users_next_message() -> None:
    assert turns(USER, calling("a", "b", content="I see."), result("b"), result("a"), USER) == [
        ("user", ["go"]),
        ("assistant", ["I see.", use("a"), use("b")]),
        ("user", [answer("b"), answer("a"), "go"]),
    ]


def test_system_message_among_results_is_no_interruption() -> None:
    messages = turns(calling("a", "b"), result("a"), {"role": "system", "content": "x"}, result("b"))

    assert messages[1] == ("user", [answer("a"), answer("b")])


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        ("22", "22"),
        ("", None),
        (" ", None),
        ([], None),
        ([{"type": "text", "text": "22"}], [{"type": "text", "text": "22"}]),
    ],
)
def test_result_keeps_its_form(content: Any, sent: Any) -> None:
    assert turns(calling("a"), result("a", content))[1][1][0].get("content") == sent


@pytest.mark.parametrize(("arguments", "sent"), [("", {}), ("{}", {}), (' {"a": [1e2]} ', {"a": [100.0]})])
def test_arguments_are_parsed(arguments: str, sent: Any) -> None:
    assert turns(calling("a", arguments=arguments), result("a"))[0][1][0]["input"] == sent


@pytest.mark.parametrize("arguments", ["[]", "1", "{", '"x"', '{"a": "b', "[" * 100_000, '{"a":' * 100_000])
def test_arguments_that_are_no_object_are_wrapped(arguments: str) -> None:
    assert turns(calling("a", arguments=arguments), result("a"))[0][1][0]["input"] == {"INVALID_JSON": arguments}


def test_arguments_that_are_an_object_keep_their_bytes() -> None:
    arguments = '{"a": 1e2, "b": 1.10,\n"a": 12345678901234567890123}'
    talk = conversation(msgspec.convert([calling("a", arguments=arguments), result("a")], list[Message]))

    assert arguments.encode() in msgspec.json.encode(talk)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([result("a")], "messages[0].tool_call_id"),
        ([USER, calling("a"), result("b")], "messages[2].tool_call_id"),
        ([calling("a"), result("a"), result("a")], "messages[2].tool_call_id"),
        ([calling("a", "b"), result("a"), USER, result("b")], "messages[0].tool_calls[1]"),
        ([USER, calling("a"), {"role": "assistant", "content": "x"}], "messages[1].tool_calls[0]"),
        ([USER, calling("a")], "messages[1].tool_calls[0]"),
        ([USER, calling("a", "a")], "messages[1].tool_calls[1].id"),
        ([{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}], "messages[0].function_call"),
        ([USER, {"role": "assistant", "audio": {"id": "a"}}], "messages[1].audio"),
        ([{"role": "system", "content": "x"}, {"role": "user", "content": ""}], "messages"),
    ],
)
def test_conversation_that_does_not_hold_together_is_refused(messages: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        talk(*messages)

    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


def test_prefill_ends_without_white_space() -> None:
    earlier = {"role": "assistant", "content": "a "}

    assert turns(earlier, USER, {"role": "assistant", "content": "so: \n"}) == [
        ("assistant", ["a "]),
        ("user", ["go"]),
        ("assistant", ["so:"]),
    ]


def test_id_that_the_provider_does_not_take_is_replaced_for_call_and_result() -> None:
    translated = turns(USER, calling("functions.f:0"), result("functions.f:0"))
    use_id = translated[1][1][0]["id"]

    assert re.fullmatch(r"toolu_[0-9a-f]{32}", use_id)
    assert translated[1:] == [("assistant", [use(use_id)]), ("user", [answer(use_id)])]


def test_id_that_recurs_in_a_later_turn_gets_another_id() -> None:
    once = [USER, calling("call_0"), result("call_0")]
    (_, [first]), (_, [second]) = turns(*once, *once)[1::2]
    again = turns(*once, *once, *once)

    assert first["id"] == "call_0" != second["id"]
    assert again[3] == ("assistant", [second])
    assert again[4][1][0]["tool_use_id"] == second["id"]


def detail(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "pllm-thought", "index": 0, **fields}


ENCRYPTED = {"type": "reasoning.encrypted", "data": "x", "format": "pllm-thought"}


@pytest.mark.parametrize(
    ("details", "blocks"),
    [
        ([detail()], [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]),
        ([detail(format="anthropic-claude-v1")], [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]),
        ([detail(text=None)], [{"type": "thinking", "thinking": "", "signature": "c2ln"}]),
        ([ENCRYPTED], [{"type": "redacted_thinking", "data": "x"}]),
        ([detail(signature=None)], []),
        ([detail(format="google-gemini-v1")], []),
        ([detail(format=None)], []),
        ([{"type": "reasoning.summary", "summary": "a", "format": "pllm-thought"}], []),
        ([7], []), ("x", []), (None, []), ({}, []), ([detail(text=7)], []),
    ],
)  # fmt: skip
def test_signed_thoughts_come_before_what_they_led_to(details: Any, blocks: list[Any]) -> None:
    translated = talk(USER, calling("a", content="I look.", reasoning_details=details), result("a"))

    assert translated["messages"][1]["content"] == [*blocks, {"type": "text", "text": "I look."}, use("a")]


def test_thoughts_alone_are_no_turn() -> None:
    assert turns(USER, {"role": "assistant", "content": "", "reasoning_details": [detail()]}, USER) == [
        ("user", ["go", "go"])
    ]


def test_arguments_may_be_an_object() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"n": 1.50, "o": {}}}}
    used = talk(USER, {"role": "assistant", "tool_calls": [call]}, result("a"))["messages"][1]["content"][0]

    assert used["input"] == {"n": 1.5, "o": {}}


MARK = {"type": "ephemeral", "ttl": "1h"}


def test_cache_control_of_parts_and_messages_is_kept() -> None:
    part = {"type": "text", "text": "x", "cache_control": MARK}
    image = {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}, "cache_control": MARK}
    pdf = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}, "cache_control": MARK}
    translated = talk(
        {"role": "system", "content": [part]},
        {"role": "system", "content": "y", "cache_control": MARK},
        {"role": "user", "content": [part, image, pdf]},
        calling("a", content="z", cache_control=MARK),
        {**result("a", [part]), "cache_control": MARK},
        {"role": "user", "content": "last", "cache_control": MARK},
    )
    blocks = [*translated["system"], *[block for turn in translated["messages"] for block in turn["content"]]]

    assert [(block["type"], block.get("cache_control")) for block in blocks] == [
        *[("text", MARK)] * 3, ("image", MARK), ("document", MARK), ("text", None), ("tool_use", MARK),
        ("tool_result", MARK), ("text", MARK),
    ]  # fmt: skip
    assert blocks[-2]["content"] == [{"type": "text", "text": "x", "cache_control": MARK}]


@pytest.mark.parametrize("name", ["files.read", "a b", "x" * 129])
def test_name_of_a_tool_that_anthropic_refuses_is_replaced(name: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": name, "arguments": "{}"}}
    used = talk(USER, {"role": "assistant", "tool_calls": [call]}, result("a"))["messages"][1]["content"][0]

    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", used["name"])
