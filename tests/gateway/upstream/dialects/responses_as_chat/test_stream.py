"""The chunks of a streamed chat completion as the events of a streamed response."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.responses_as_chat.translation import Stream, reply
from tests.support.mangled_json import mangled
from tests.support.response_events import added_up, kinds, read

PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files."}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
SPAWN = {**LOOK, "name": "spawn"}
TOOLS = [LOOK, PATCH, {"type": "namespace", "name": "agents", "description": "d", "tools": [SPAWN]}]
REQUEST = json.dumps({"model": "m", "input": "hi", "instructions": "Be brief.", "tools": TOOLS}).encode()
HEAD: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "llama"}
USAGE: dict[str, Any] = {
    **HEAD,
    "choices": [],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}
DONE = "[DONE]"


def chunk(delta: object, finish_reason: str | None = None) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def call(index: int, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return chunk({"tool_calls": [{"index": index, "function": function} | ({"id": call_id} if call_id else {})]})


def events(*fed: object) -> list[Any]:
    """Returns the events for the client, after a check that each is whole, named, numbered and of an official type."""
    stream = Stream(REQUEST)
    body = b"".join(stream.feed("", as_bytes(data)) for data in fed)
    return read(body, stream.sequence_number)


def as_bytes(data: object) -> bytes:
    return (data if isinstance(data, str) else json.dumps(data)).encode()


def test_text_stream_has_the_complete_sequence_of_events() -> None:
    sent = events(chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"}),
                  chunk({}, "stop"), USAGE, DONE)  # fmt: skip

    assert kinds(sent) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert added_up(sent) == [("message", "Hello")]
    response = Response.model_validate(sent[-1]["response"])
    assert (response.status, response.output_text, response.model) == ("completed", "Hello", "llama")
    assert (response.instructions, len(response.tools)) == ("Be brief.", 3)
    assert response.usage is not None
    assert response.usage.model_dump(exclude_none=True) == {
        "input_tokens": 19,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 29,
    }


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_becomes_a_summary_before_the_answer(field: str) -> None:
    sent = events(chunk({field: "I th"}), chunk({field: "ink"}), chunk({"content": "So."}), chunk({}, "stop"), DONE)

    assert kinds(sent)[2:9] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_summary_part.done",
        "output_item.done",
    ]  # fmt: skip
    assert added_up(sent) == [("reasoning", "I think"), ("message", "So.")]


def test_calls_become_items_one_after_the_other_even_if_their_pieces_alternate() -> None:
    sent = events(
        call(0, "call_a", "look", '{"x"'), call(1, "call_b", "agents__spawn", '{"y": '), call(0, None, None, ": 1}"),
        call(1, None, None, "2}"), chunk({}, "tool_calls"), DONE,
    )  # fmt: skip

    assert added_up(sent) == [("function_call", '{"x": 1}'), ("function_call", '{"y": 2}')]
    output = sent[-1]["response"]["output"]
    assert [(item["call_id"], item["name"], item.get("namespace")) for item in output] == [
        ("call_a", "look", None),
        ("call_b", "spawn", "agents"),
    ]


def test_call_of_a_custom_tool_becomes_its_input() -> None:
    sent = events(call(0, "call_a", "apply_patch", '{"input": "*** Be'), call(0, None, None, 'gin\\n"}'), DONE)

    assert kinds(sent)[2:6] == [
        "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done",
    ]  # fmt: skip
    assert added_up(sent) == [("custom_tool_call", "*** Begin\n")]


def test_call_without_arguments_has_an_empty_object() -> None:
    assert added_up(events(call(0, "call_a", "look", ""), chunk({}, "tool_calls"), DONE)) == [("function_call", "{}")]


@pytest.mark.parametrize(
    ("finish_reason", "status", "reason"),
    [
        ("stop", "completed", None),
        (None, "completed", None),
        ("tool_calls", "completed", None),
        ("of the future", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("model_length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("content_filter: RECITATION", "incomplete", "content_filter"),
        ("error", "failed", None),
    ],
)
def test_finish_reason_decides_how_the_response_ends(
    finish_reason: str | None, status: str, reason: str | None
) -> None:
    sent = events(chunk({"content": "a"}), chunk({}, finish_reason), DONE)

    response = sent[-1]["response"]
    assert (sent[-1]["type"], response["status"]) == (f"response.{status}", status)
    assert response["incomplete_details"] == (reason and {"reason": reason})
    assert (response["error"] is not None) == (status == "failed")
    assert response["output"][-1]["status"] == ("incomplete" if status == "incomplete" else "completed")


def test_refusal_becomes_a_part_of_its_type() -> None:
    sent = events(chunk({"refusal": "I may"}), chunk({"refusal": " not."}), chunk({}, "stop"), DONE)

    assert added_up(sent) == [("message", "I may not.")]
    assert sent[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I may not."}]


def test_stream_that_never_began_is_malformed() -> None:
    with pytest.raises(Malformed):
        events(DONE)


WHOLE = [
    {"role": "assistant", "content": "", "reasoning_content": "Let me see. "},
    {"content": "I look 😀."},
    {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "look", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Zür'}}]},
    {"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "apply_patch", "arguments": '{"input":'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": 'ich"}'}}]},
    {"tool_calls": [{"index": 1, "function": {"arguments": ' "a\\nb"}'}}]},
    {"refusal": "No."},
]


@pytest.mark.parametrize("end", range(1, len(WHOLE) + 1))
@pytest.mark.parametrize("finish_reason", ["stop", "length", "error", None])
def test_answer_cut_after_any_chunk_is_a_stream_that_adds_up(end: int, finish_reason: str | None) -> None:
    added_up(events(*map(chunk, WHOLE[:end]), chunk({}, finish_reason), USAGE, DONE))


PIECES = st.lists(
    st.one_of(
        st.fixed_dictionaries({}, optional={
            "content": st.text(max_size=5), "refusal": st.text(max_size=3), "reasoning_content": st.text(max_size=5),
        }),
        st.fixed_dictionaries({"tool_calls": st.lists(st.fixed_dictionaries({
            "index": st.integers(0, 2),
            "function": st.fixed_dictionaries(
                {"arguments": st.sampled_from(["", "{", "}", '{"input": "a"}', '"a"', ":", " ", "x"])},
                optional={"name": st.sampled_from(["look", "apply_patch", "agents__spawn", "made_up"])},
            ),
        }, optional={"id": st.sampled_from(["call_1", "call_2"])}), max_size=2)}),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


@settings(deadline=None)
@given(PIECES, st.sampled_from(["stop", "length", "tool_calls", "error", None]))
def test_any_stream_of_pieces_adds_up(deltas: list[dict[str, Any]], finish_reason: str | None) -> None:
    added_up(events(*map(chunk, deltas), chunk({}, finish_reason), DONE))


@settings(deadline=None)
@given(st.lists(mangled([*map(chunk, WHOLE), USAGE]), min_size=1, max_size=6))
def test_any_chunk_is_translated_or_malformed(data: list[bytes]) -> None:
    stream, body = Stream(REQUEST), b""
    try:
        for each in [*data, b"[DONE]"]:
            body += stream.feed("", each)
    except Malformed:
        pass
    sent = read(body, stream.sequence_number)
    if kinds(sent)[-1:] in (["completed"], ["incomplete"], ["failed"]):
        added_up(sent)


ARGUMENTS = '{"city": "Zürich \\"é\\u00e9 \\ud83d\\ude00", "days": [1, 2.5e3, {"a": null}], "is_hot": true}'


@settings(deadline=None, max_examples=50)
@given(st.integers(0, len(ARGUMENTS)), st.sets(st.integers(0, len(ARGUMENTS)), max_size=5))
def test_answer_is_the_same_plain_and_streamed_however_it_is_cut(end: int, cuts: set[int]) -> None:
    bounds = [0, *sorted(min(cut, end) for cut in cuts), end]
    pieces = [ARGUMENTS[start:stop] for start, stop in pairwise(bounds)]
    function = {"name": "look", "arguments": ARGUMENTS[:end]}
    message = {"content": "I look.", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    choice = {"message": message, "finish_reason": "length"}

    plain = json.loads(reply(REQUEST, json.dumps({**HEAD, "choices": [choice]}).encode()))
    streamed = events(
        chunk({"content": "I look."}), call(0, "call_1", "look", ""), *(call(0, None, None, each) for each in pieces),
        chunk({}, "length"), DONE,
    )[-1]["response"]  # fmt: skip

    for response in (plain, streamed):
        for item in response["output"]:
            del item["id"]
    assert plain["output"] == streamed["output"]
    assert set(plain) == set(streamed)
