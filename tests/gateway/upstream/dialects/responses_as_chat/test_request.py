"""A request for a response as a chat completion request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.responses_as_chat.translation import Vocabulary, request, translated
from tests.support.mangled_json import mangled

OFFICIAL: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": None}
CHAT_LOOK = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
IMAGE = "data:image/png;base64,iVBORw0KGgo="


def sent(vocabulary: Vocabulary | None = None, **fields: Any) -> Any:
    body = json.dumps({"model": "m", "input": "hi", **fields}).encode()
    chat = json.loads(request(body, "llama", vocabulary or Vocabulary()))
    if not chat.get("stream") and all("reasoning_content" not in message for message in chat["messages"]):
        OFFICIAL.validate_python(chat)
    return chat


def messages(*items: Any, **fields: Any) -> Any:
    return sent(input=list(items), **fields)["messages"]


def refused(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        sent(**fields)
    return caught.value


def turn_of(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def holding(part: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"input": [{"role": role, "content": [part]}]}


def call(call_id: str, name: str = "look", arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def output(call_id: str, result: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": result}


def chat_call(call_id: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_text_becomes_a_message_of_the_user() -> None:
    assert sent() == {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}


def test_instructions_and_the_first_system_messages_become_one() -> None:
    found = messages(
        turn_of("developer", "b"), {"role": "system", "content": "c"}, turn_of("user", "hi"),
        turn_of("developer", "later"), instructions="a",
    )  # fmt: skip

    assert found == [
        {"role": "system", "content": "a\n\nb\n\nc"},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "later"},
    ]


def test_images_and_files_become_parts() -> None:
    parts = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": IMAGE, "detail": "high"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "original"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"},
    ]

    assert messages({"role": "user", "content": parts})[0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
    ]


def test_calls_join_the_text_before_them_and_results_follow_directly() -> None:
    found = messages(
        turn_of("user", "hi"), turn_of("assistant", "I look."), call("a"), call("b", arguments='{"x": 1}'),
        output("b", "2"), output("a", "1"), turn_of("assistant", "Done."), turn_of("user", "Thanks."),
    )  # fmt: skip

    calls = [chat_call("a"), chat_call("b", arguments='{"x": 1}')]
    assert found == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2", "tool_call_id": "b"},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks."},
    ]  # fmt: skip


def test_result_may_stand_behind_other_messages() -> None:
    found = messages(call("a"), turn_of("user", "And?"), output("a", "1"))

    assert [message["role"] for message in found] == ["assistant", "tool", "user"]


def test_id_that_recurs_in_a_later_turn_has_the_result_that_follows_it() -> None:
    found = messages(call("a"), output("a", "1"), call("a"), output("a", "2"))

    assert [message.get("content") for message in found] == [None, "1", None, "2"]


def test_images_of_a_result_follow_in_a_message_of_the_user() -> None:
    shown = [{"type": "input_text", "text": "A cat."}, {"type": "input_image", "image_url": IMAGE}]

    assert messages(call("a"), output("a", shown), turn_of("assistant", "Nice."))[1:] == [
        {"role": "tool", "content": "A cat.", "tool_call_id": "a"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
        {"role": "assistant", "content": "Nice."},
    ]


def test_items_of_tools_that_ran_at_another_provider_are_left_out() -> None:
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}

    assert messages(turn_of("user", "hi"), searched, turn_of("assistant", "So.")) == messages(
        turn_of("user", "hi"), turn_of("assistant", "So.")
    )


THOUGHT = {"type": "reasoning", "id": "rs_pllm_1", "summary": [{"type": "summary_text", "text": "Hm."}]}


@pytest.mark.parametrize(
    ("thought", "is_kept"),
    [
        (THOUGHT, True),
        ({**THOUGHT, "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}, True),
        ({key: value for key, value in THOUGHT.items() if key != "id"}, True),
        ({**THOUGHT, "id": "rs_1"}, False),
        ({**THOUGHT, "encrypted_content": "gAAA"}, False),
        ({**THOUGHT, "summary": []}, False),
    ],
)
def test_readable_reasoning_of_this_turn_returns_with_its_call(thought: dict[str, Any], is_kept: bool) -> None:
    turn = [thought, call("a"), output("a", "1")]

    assert messages(turn_of("user", "hi"), *turn)[1].get("reasoning_content") == ("Hm." if is_kept else None)
    assert all("reasoning_content" not in each for each in messages(*turn, turn_of("user", "hi")))


def test_custom_tools_become_functions_of_one_text() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
    tool = {"type": "custom", "name": "patch", "description": "Edits.", "format": grammar}
    made = {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": 'say "a"'}
    answered = {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"}

    chat = sent(tools=[tool], input=[made, answered])

    function = chat["tools"][0]["function"]
    assert function["name"] == "patch"
    assert function["description"] == "Edits.\n\nThe input must match this lark grammar:\nstart: /a+/"
    assert (list(function["parameters"]["properties"]), function["parameters"]["required"]) == (["input"], ["input"])
    assert chat["messages"][0]["tool_calls"] == [chat_call("a", "patch", '{"input":"say \\"a\\""}')]
    assert chat["messages"][1] == {"role": "tool", "content": "ok", "tool_call_id": "a"}


def test_tools_of_a_namespace_are_named_after_it() -> None:
    agents = {"type": "namespace", "name": "agents", "description": "d", "tools": [LOOK, {**LOOK, "name": "b" * 70}]}

    chat = sent(tools=[LOOK, agents], input=[call("a", namespace="agents"), output("a", "1")])

    names = [tool["function"]["name"] for tool in chat["tools"]]
    assert names[:2] == ["look", "agents__look"]
    assert (len(names[2]), names[2][:30]) == (64, "agents__" + "b" * 22)
    assert chat["messages"][0]["tool_calls"][0]["function"]["name"] == "agents__look"


def test_tools_that_run_at_openai_are_left_out() -> None:
    assert sent(tools=[{"type": "web_search", "external_web_access": False}, LOOK])["tools"] == [CHAT_LOOK]
    assert "tools" not in sent(tools=[{"type": "web_search"}], tool_choice="auto", parallel_tool_calls=False)


@pytest.mark.parametrize("kind", ["file_search", "mcp", "code_interpreter", "shell", "local_shell", "of_the_future"])
def test_tools_that_the_answer_depends_on_are_refused(kind: str) -> None:
    error = refused(tools=[LOOK, {"type": kind}])

    assert (error.param, error.code) == ("tools[1].type", "unsupported_value")


@pytest.mark.parametrize(
    ("choice", "translated_choice"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (None, None),
        ({"type": "function", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]}, "required"),
    ],
)
def test_choice_of_a_tool_is_translated(choice: Any, translated_choice: Any) -> None:
    chat = sent(tools=[LOOK, {**LOOK, "name": "other"}], tool_choice=choice)

    assert chat.get("tool_choice") == translated_choice
    names = [tool["function"]["name"] for tool in chat["tools"]]
    assert names == (["look"] if isinstance(choice, dict) and "mode" in choice else ["look", "other"])


@pytest.mark.parametrize(
    ("choice", "tools", "param"),
    [
        ({"type": "function", "name": "other"}, [LOOK], "tool_choice.name"),
        ({"type": "web_search_preview"}, [LOOK], "tool_choice.type"),
        ({"type": "mcp", "server_label": "a"}, [LOOK], "tool_choice.type"),
        ("required", [{"type": "web_search"}], "tool_choice"),
        ("any", [LOOK], "tool_choice"),
        (7, [LOOK], "tool_choice"),
    ],
)
def test_choice_that_cannot_be_kept_is_refused(choice: Any, tools: list[Any], param: str) -> None:
    assert refused(tools=tools, tool_choice=choice).param == param


def test_formats_of_the_text_are_translated() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    wanted = {"type": "json_schema", "name": "a", "schema": schema, "strict": True}

    assert sent(text={"format": wanted})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": schema, "strict": True},
    }
    assert sent(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in sent(text={"format": {"type": "text"}, "verbosity": "low"})


def test_tuning_fields_are_translated() -> None:
    fields: dict[str, Any] = {
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.25,
        "reasoning": {"effort": "low"},
        "user": "u",
    }

    assert sent(**fields, tools=[LOOK], parallel_tool_calls=False) == {
        "model": "llama", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "temperature": 0.5,
        "top_p": 0.25, "reasoning_effort": "low", "user": "u", "tools": [CHAT_LOOK], "parallel_tool_calls": False,
    }  # fmt: skip
    spare = Vocabulary("max_completion_tokens", has_stream_usage=False, has_sampling=False)
    assert sent(spare, **fields, stream=True) == {
        "model": "llama", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 9,
        "reasoning_effort": "low", "user": "u", "stream": True,
    }  # fmt: skip
    assert sent(stream=True)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": "compaction", "encrypted_content": "g"}]}, "input[0].type"),
        ({"input": [turn_of("user", "a"), call("a")]}, "input[1].call_id"),
        ({"input": [output("a", "1")]}, "input[0].call_id"),
        ({"input": [output("a", "1"), call("a")]}, "input[1].call_id"),
        ({"input": [call("a"), call("a"), output("a", "1"), output("a", "2")]}, "input[1].call_id"),
        (holding({"type": "input_image", "file_id": "f"}), "input[0].content[0].file_id"),
        (holding({"type": "input_file", "file_url": "u"}), "input[0].content[0].file_url"),
        (holding({"type": "input_image", "image_url": IMAGE}, "system"), "input[0].content[0].type"),
        (holding({"type": "input_audio"}), "input[0].content[0].type"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_refused_with_its_place(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)

    assert (error.param, error.code) == (param, "unsupported_value")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [{"role": "user", "content": []}]}, "input"),
        ({"input": 7}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (holding({"type": "input_text"}), "input[0].content[0].text"),
        (holding({"type": "input_image", "image_url": "ftp://a"}), "input[0].content[0].image_url"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)  # fmt: skip
def test_invalid_field_is_named(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


def test_every_message_has_the_place_that_it_comes_from() -> None:
    items = [
        turn_of("developer", "a"),
        turn_of("user", "hi"),
        turn_of("assistant", "I look."),
        call("a"),
        output("a", "1"),
    ]

    found = translated(json.dumps({"model": "m", "input": items, "instructions": "b"}).encode(), "m")

    assert found.places == ["input[0]", "input[1]", "input[2]", "input[4]"]


VALID: list[Any] = [
    {"model": "m", "input": [turn_of("user", "a"), turn_of("assistant", "b"), call("a"), output("a", "1"), THOUGHT],
     "tools": [LOOK, {"type": "custom", "name": "c"}], "tool_choice": {"type": "function", "name": "look"}},
    {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]}],
     "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}, "reasoning": {"effort": "low"}},
]  # fmt: skip


@given(mangled(VALID))
def test_any_body_is_translated_or_refused(body: bytes) -> None:
    try:
        json.loads(request(body, "m"))
    except InvalidRequest:
        return


ITEMS = st.lists(
    st.one_of(
        st.builds(turn_of, st.sampled_from(["user", "assistant", "developer"]), st.text(max_size=3)),
        st.builds(call, st.sampled_from(["a", "b"])),
        st.builds(output, st.sampled_from(["a", "b"]), st.text(max_size=3)),
        st.just(THOUGHT),
    ),
    max_size=12,
)


@given(ITEMS)
def test_results_follow_their_calls_in_any_conversation(items: list[Any]) -> None:
    try:
        found = messages(*items)
    except InvalidRequest:
        return
    expected: list[str] = []
    for message in found:
        if message["role"] == "tool":
            assert message["tool_call_id"] == expected.pop(0)
            continue
        assert expected == []
        expected = [each["id"] for each in message.get("tool_calls", [])]
    assert expected == []
    results = [each["output"] for each in items if each["type"] == "function_call_output"]
    assert sorted(each["content"] for each in found if each["role"] == "tool") == sorted(results)
