"""The turns of a conversation as chat messages."""

import json
import re
from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.upstream.dialects import call_ids, tool_names
from gateway.upstream.dialects.messages_as_chat.turns import Turn, chat_messages

IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def messages(*turns: dict[str, Any]) -> Any:
    return msgspec.to_builtins(chat_messages(msgspec.json.decode(msgspec.json.encode(turns), type=list[Turn]), "m"))


def user(*blocks: object) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: object) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_use(number: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "get_weather", "input": {"number": number}}


def tool_result(number: int, content: object = "15 degrees", **more: object) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": content, **more}


def call(number: int) -> dict[str, Any]:
    arguments = json.dumps({"number": number}, separators=(",", ":"))
    return {"type": "function", "id": f"toolu_{number}", "function": {"name": "get_weather", "arguments": arguments}}


def tool_message(number: int, content: str = "15 degrees") -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": f"toolu_{number}"}


def test_plain_turns_stay_as_they_are() -> None:
    turns = [{"role": role, "content": role} for role in ("user", "assistant", "user", "system")]

    assert messages(*turns) == turns


def test_one_text_block_becomes_a_string() -> None:
    assert messages(user(text("hi"))) == [{"role": "user", "content": "hi"}]


def test_several_blocks_become_parts() -> None:
    assert messages(user(text("what is it?"), IMAGE)) == [
        {"role": "user", "content": [text("what is it?"), IMAGE_PART]}
    ]


def test_texts_of_the_assistant_are_one_string_without_gaps() -> None:
    assert messages(assistant(text("The sky"), text(" is blue"))) == [
        {"role": "assistant", "content": "The sky is blue"}
    ]


def test_calls_are_sent_next_to_the_text() -> None:
    sent = messages(assistant(text("I look."), tool_use(1), tool_use(2)), user(tool_result(1), tool_result(2)))

    assert sent[0] == {"role": "assistant", "content": "I look.", "tool_calls": [call(1), call(2)]}


def test_calls_alone_have_null_content() -> None:
    sent = messages(assistant(tool_use(1)), user(tool_result(1)))

    assert sent[0] == {"role": "assistant", "content": None, "tool_calls": [call(1)]}


def test_results_come_before_other_content_of_the_user() -> None:
    sent = messages(assistant(tool_use(1), tool_use(2)), user(text("here"), tool_result(2), tool_result(1)))

    assert sent[1:] == [tool_message(2), tool_message(1), {"role": "user", "content": "here"}]


def test_results_alone_give_no_user_message() -> None:
    assert messages(assistant(tool_use(1)), user(tool_result(1)))[1:] == [tool_message(1)]


def test_results_over_several_turns_come_directly_behind_their_calls() -> None:
    sent = messages(
        assistant(tool_use(1)),
        assistant(text("and"), tool_use(2)),
        user(tool_result(1), text("a")),
        user(tool_result(2)),
    )

    assert sent == [
        {"role": "assistant", "content": "and", "tool_calls": [call(1), call(2)]},
        tool_message(1),
        tool_message(2),
        {"role": "user", "content": "a"},
    ]


@pytest.mark.parametrize(
    ("content", "written"),
    [(None, ""), ("", ""), ([], ""), ([text("a"), text("b")], "a\n\nb")],
)
def test_content_of_a_result_is_one_text(content: object, written: str) -> None:
    assert messages(assistant(tool_use(1)), user(tool_result(1, content)))[1:] == [tool_message(1, written)]


def test_failed_result_is_marked() -> None:
    sent = messages(assistant(tool_use(1)), user(tool_result(1, "no such city", is_error=True)))

    assert sent[1:] == [tool_message(1, "Error: no such city")]


def test_images_of_results_move_to_the_user() -> None:
    sent = messages(
        assistant(tool_use(1), tool_use(2)),
        user(tool_result(1, [text("a shot"), IMAGE]), tool_result(2, [IMAGE]), text("look")),
    )

    assert sent[1:] == [
        tool_message(1, "a shot"),
        tool_message(2, ""),
        {"role": "user", "content": [IMAGE_PART, IMAGE_PART, text("look")]},
    ]


def test_thinking_is_left_out() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    redacted = {"type": "redacted_thinking", "data": "xx"}

    assert messages(assistant(thinking, redacted, text("yes"))) == [{"role": "assistant", "content": "yes"}]
    assert messages(assistant(thinking)) == []


@pytest.mark.parametrize(
    ("turns", "param"),
    [
        ([user(tool_result(1))], "messages[0].content[0].tool_use_id"),
        ([assistant(tool_use(2)), user(text("a"), tool_result(1))], "messages[1].content[1].tool_use_id"),
        ([assistant(tool_use(1)), user(tool_result(1), tool_result(1))], "messages[1].content[1].tool_use_id"),
        (
            [assistant(tool_use(1)), user(tool_result(1)), assistant(text("a")), user(tool_result(1))],
            "messages[3].content[0].tool_use_id",
        ),
    ],
)
def test_result_without_its_call_is_refused(turns: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages(*turns)

    assert str(refused.value.param).startswith(param)
    assert refused.value.code == "unsupported_value"


@pytest.mark.parametrize(
    ("turns", "param"),
    [
        ([user(text("go")), assistant(tool_use(1))], "messages[1].content[0]"),
        ([assistant(text("a"), tool_use(1)), user(text("go on"))], "messages[0].content[1]"),
        ([assistant(tool_use(1), tool_use(2)), user(tool_result(1))], "messages[0].content[1]"),
        ([assistant(tool_use(1)), assistant(text("a")), user(text("b")), user(text("c"))], "messages[0].content[0]"),
        ([assistant(tool_use(1)), {"role": "system", "content": "s"}, user(tool_result(1))], "messages[0].content[0]"),
    ],
)
def test_call_without_its_result_is_refused(turns: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages(*turns)

    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


@pytest.mark.parametrize(
    ("calls", "param"),
    [
        ([assistant(tool_use(1), tool_use(1))], "messages[0].content[1].id"),
        ([assistant(tool_use(1)), assistant(text("and"), tool_use(1))], "messages[1].content[1].id"),
    ],
)
def test_calls_of_one_id_are_refused_while_both_wait_for_results(calls: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages(*calls, user(tool_result(1)))

    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


def test_id_may_come_again_in_a_later_turn() -> None:
    again = [assistant(tool_use(1)), user(tool_result(1))]

    assert messages(*again, *again) == messages(*again) * 2


def test_id_that_is_too_long_for_openai_is_replaced_for_call_and_result() -> None:
    long = "toolu_" + "a" * 40
    used = {"type": "tool_use", "id": long, "name": "f", "input": {}}
    sent = messages(user(text("go")), assistant(used), user({"type": "tool_result", "tool_use_id": long}))

    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]
    assert len(sent[2]["tool_call_id"]) <= 40


def thinking(words: str, family: str = "m", field: str = "reasoning_content") -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": f"pllm-thought.{family}.{field}"}


SIGNED = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}  # by Claude


def sent_back(model: str, *blocks: dict[str, Any]) -> dict[str, str]:
    """The reasoning of an assistant's message that has these blocks and a call."""
    turns = [assistant(*blocks, tool_use(1)), user(tool_result(1))]
    decoded = msgspec.json.decode(msgspec.json.encode(turns), type=list[Turn])
    message = msgspec.to_builtins(chat_messages(decoded, model))[0]
    return {name: message[name] for name in ("reasoning_content", "reasoning") if name in message}


@pytest.mark.parametrize(
    ("model", "blocks", "fields"),
    [
        ("m-2", [thinking("a"), text("b"), thinking("c")], {"reasoning_content": "ac"}),
        ("qwen/qwen3-30b", [thinking("a", "qwen")], {"reasoning_content": "a"}),
        ("qwen/qwen3-30b", [thinking("a", "deepseek")], {}),
        ("qwen3", [thinking("a", "qwen", "reasoning")], {}),
        ("qwen3", [thinking("a", "qwen", "content")], {}),
        ("qwen3", [thinking("a", "qwen", "tool_call_id")], {}),
        ("qwen3", [SIGNED], {}),
        ("deepseek-chat", [thinking("a", "deepseek")], {"reasoning_content": "a"}),
        ("moonshotai/Kimi-K2-Thinking", [thinking("a", "kimi", "reasoning")], {"reasoning": "a"}),
        ("deepseek-reasoner", [SIGNED], {"reasoning_content": "hm"}),
        ("kimi-k2", [{"type": "thinking", "thinking": "hm"}], {"reasoning_content": "hm"}),
        ("kimi-k2", [{"type": "thinking", "thinking": "", "signature": "c2ln"}], {}),
    ],
)
def test_reasoning_goes_back_to_the_family_that_made_it_or_demands_it(
    model: str, blocks: list[dict[str, Any]], fields: dict[str, str]
) -> None:
    assert sent_back(model, *blocks) == fields


def test_reasoning_of_a_turn_without_calls_is_left_out() -> None:
    assert messages(assistant(thinking("a"), text("b"))) == [{"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        ("gemini-3-pro", {"google": {"thought_signature": "c2ln"}}),
        ("google/gemini-2.5-flash", {"google": {"thought_signature": "c2ln"}}),
        ("gpt-5", None),
    ],
)
def test_thought_signature_goes_back_to_its_family(model: str, extra: object) -> None:
    used = {"type": "tool_use", "id": "call_1-pllm-thought-gemini-YzJsbg", "name": "f", "input": {}}
    turns = [assistant(used), user({"type": "tool_result", "tool_use_id": used["id"], "content": "sun"})]
    decoded = msgspec.json.decode(msgspec.json.encode(turns), type=list[Turn])
    sent = msgspec.to_builtins(chat_messages(decoded, model))

    assert sent[0]["tool_calls"][0].get("extra_content") == extra
    assert sent[0]["tool_calls"][0]["id"] == sent[1]["tool_call_id"] == "call_1"


def test_id_that_held_another_one_goes_back_as_the_provider_made_it() -> None:
    given = call_ids.for_client("functions.Bash:0")
    used = {"type": "tool_use", "id": given, "name": "f", "input": {}}
    sent = messages(assistant(used), user({"type": "tool_result", "tool_use_id": given}))

    assert sent[0]["tool_calls"][0]["id"] == sent[1]["tool_call_id"] == "functions.Bash:0"


def test_long_name_of_a_tool_is_shortened_in_the_history() -> None:
    name = "mcp__" + "long" * 20
    used = {**tool_use(1), "name": name}
    sent = messages(assistant(used), user(tool_result(1)))

    assert sent[0]["tool_calls"][0]["function"]["name"] == tool_names.for_chat(name) != name


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        ("no", "Error: no"),
        ("Error: no", "Error: no"),
        (" error - no", " error - no"),
        ("ERROR 5", "ERROR 5"),
        ("", "Error: "),
    ],
)
def test_failed_result_is_marked_once(content: str, sent: str) -> None:
    turns = [assistant(tool_use(1)), user(tool_result(1, content, is_error=True))]

    assert messages(*turns)[1]["content"] == sent


@pytest.mark.parametrize("model", ["mistral-large-latest", "mistralai/magistral-small", "codestral"])
@pytest.mark.parametrize("given", ["toolu_1", "D681PevKs", "functions.f:0"])
def test_id_for_a_model_of_mistral_has_nine_letters_in_call_and_result(model: str, given: str) -> None:
    used = {"type": "tool_use", "id": given, "name": "f", "input": {}}
    turns = [assistant(used), user({"type": "tool_result", "tool_use_id": given})]
    decoded = msgspec.json.decode(msgspec.json.encode(turns), type=list[Turn])
    call, result = msgspec.to_builtins(chat_messages(decoded, model))

    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert re.fullmatch("[a-zA-Z0-9]{9}", result["tool_call_id"])
    assert result["tool_call_id"] == given or given != "D681PevKs"


def test_calls_of_other_models_reach_gemini_3_with_the_documented_signature() -> None:
    signed = {"type": "tool_use", "id": "call_1-pllm-thought-gemini-YzJsbg", "name": "f", "input": {}}
    turns = [
        assistant(tool_use(1), tool_use(2)), user(tool_result(1), tool_result(2)),
        assistant(tool_use(3), signed), user(tool_result(3), {"type": "tool_result", "tool_use_id": signed["id"]}),
    ]  # fmt: skip
    decoded = msgspec.json.decode(msgspec.json.encode(turns), type=list[Turn])

    def signatures(model: str) -> list[Any]:
        messages = msgspec.to_builtins(chat_messages(decoded, model))
        calls = [call for message in messages for call in message.get("tool_calls", [])]
        return [call.get("extra_content", {}).get("google", {}).get("thought_signature") for call in calls]

    assert signatures("google/gemini-3-pro") == ["skip_thought_signature_validator", None, None, "c2ln"]
    assert signatures("gemini-2.5-pro") == [None, None, None, "c2ln"]
    assert signatures("gpt-5") == [None] * 4
