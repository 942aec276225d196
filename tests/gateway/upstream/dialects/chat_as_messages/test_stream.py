"""Streams, event by event."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from gateway.json.malformed import Malformed
from gateway.upstream.dialects import tool_names
from gateway.upstream.dialects.chat_as_messages.stream import DONE, Stream
from gateway.upstream.dialects.origin import Origin
from tests.support.mangled_json import mangled

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "claude-sonnet-4-5-20250929",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "cache_read_input_tokens": 5, "output_tokens": 1},
    },
}
STOP: dict[str, Any] = {"type": "message_stop"}
USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 15,
    "total_tokens": 45,
    "prompt_tokens_details": {"cached_tokens": 5},
}


def began(index: int, type_: str = "text", **fields: Any) -> dict[str, Any]:
    block = {"type": type_, **({"text": ""} if type_ == "text" else {}), **fields}
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, type_: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": type_, **fields}}


def ended(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def finished(stop_reason: object = "end_turn", **usage: Any) -> dict[str, Any]:
    change = {"stop_reason": stop_reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": change, "usage": {"output_tokens": 15, **usage}}


TEXT = [
    START,
    began(0),
    {"type": "ping"},
    delta(0, "text_delta", text="Hello"),
    delta(0, "text_delta", text="日本!"),
    ended(0),
    finished(),
    STOP,
]
TOOLS = [
    START,
    began(0, "thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="Hm."),
    delta(0, "signature_delta", signature="EqQB"),
    ended(0),
    began(1),
    delta(1, "text_delta", text="Okay"),
    delta(1, "citations_delta", citation={"type": "char_location"}),
    ended(1),
    began(2, "server_tool_use", id="srvtoolu_1", name="web_search", input={}),
    delta(2, "input_json_delta", partial_json='{"query": "x"}'),
    ended(2),
    began(3, "tool_use", id="toolu_01", name="get_weather", input={}),
    delta(3, "input_json_delta", partial_json=""),
    delta(3, "input_json_delta", partial_json='{"location":'),
    delta(3, "input_json_delta", partial_json=' "Paris"}'),
    ended(3),
    began(4, "tool_use", id="toolu_02", name="now", input={}),
    delta(4, "input_json_delta", partial_json=""),
    ended(4),
    finished("tool_use"),
    STOP,
]


def fed(stream: Stream, event: dict[str, Any], is_named: bool = True) -> bytes:
    return stream.feed(event["type"] if is_named else "", json.dumps(event).encode())


def streamed(*events: dict[str, Any], include_usage: bool = True, is_named: bool = True) -> bytes:
    stream = Stream(include_usage)
    return b"".join([fed(stream, event, is_named) for event in events])


def chunks(text: bytes) -> list[dict[str, Any]]:
    """All of them but the final mark, checked against OpenAI's own type."""
    parts = text.removesuffix(DONE).decode().split("\n\n")

    assert parts.pop() == ""
    assert all(part.startswith("data: {") for part in parts)
    for part in parts:
        ChatCompletionChunk.model_validate_json(part[6:], strict=True)
    return [json.loads(part[6:]) for part in parts]


def deltas(text: bytes) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks(text) if chunk["choices"]]


@pytest.mark.parametrize("is_named", [True, False])
def test_text_comes_in_chunks_with_a_role_first_and_the_usage_last(is_named: bool) -> None:
    sent = streamed(*TEXT, is_named=is_named)

    assert sent.endswith(DONE)
    assert deltas(sent) == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hello"},
        {"content": "日本!"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks(sent)[:-1]] == [None, None, None, "stop"]
    assert [chunk["usage"] for chunk in chunks(sent)] == [None, None, None, None, USAGE]
    assert chunks(sent)[-1]["choices"] == []


def test_chunks_share_id_model_and_time() -> None:
    sent = {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks(streamed(*TEXT))}

    assert [(id_, model) for id_, model, _ in sent] == [(START["message"]["id"], START["message"]["model"])]


def test_usage_is_sent_only_where_it_was_requested() -> None:
    sent = streamed(*TEXT, include_usage=False)

    assert b'"usage"' not in sent
    assert sent.endswith(DONE)
    assert len(chunks(sent)) == 4


def test_calls_are_counted_apart_from_other_blocks() -> None:
    sent = streamed(*TOOLS)

    assert chunks(sent)[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert [piece["tool_calls"][0] for piece in deltas(sent) if "tool_calls" in piece] == [
        {"index": 0, "id": "toolu_01", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"location":'}},
        {"index": 0, "function": {"arguments": ' "Paris"}'}},
        {"index": 1, "id": "toolu_02", "type": "function", "function": {"name": "now", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]


def test_the_providers_own_tools_are_left_out() -> None:
    assert [piece["content"] for piece in deltas(streamed(*TOOLS)) if "content" in piece] == ["", "Okay"]


SIGNED = {"type": "reasoning.text", "index": 0, "text": "Hm. Yes.", "signature": "EqQB", "format": "pllm-thought"}


@pytest.mark.parametrize("has_stop", [True, False])
def test_thinking_is_streamed_as_reasoning_and_then_whole_with_its_signature(has_stop: bool) -> None:
    fed = [
        began(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Hm."),
        delta(0, "thinking_delta", thinking=" Yes."),
        delta(0, "signature_delta", signature="Eq"),
        delta(0, "signature_delta", signature="QB"),
        *([ended(0), ended(0)] if has_stop else []),
    ]
    sent = [piece for piece in deltas(streamed(START, *fed, finished(), STOP)) if piece.keys() & {*REASONING}]

    assert sent == [{"reasoning_content": "Hm."}, {"reasoning_content": " Yes."}, {"reasoning_details": [SIGNED]}]


def test_encrypted_thinking_is_kept_for_the_next_turn() -> None:
    fed = [began(0, "redacted_thinking", data="EmwK"), ended(0), *TOOLS[1:]]
    sent = [piece["reasoning_details"][0] for piece in deltas(streamed(START, *fed)) if "reasoning_details" in piece]
    encrypted = {"type": "reasoning.encrypted", "index": 0, "data": "EmwK", "format": "pllm-thought"}

    assert sent == [encrypted, {**SIGNED, "text": "Hm.", "index": 1}]


def test_thinking_without_a_signature_is_shown_only() -> None:
    fed = [began(0, "thinking", thinking="Hm."), ended(0)]
    sent = [piece for piece in deltas(streamed(START, *fed, finished(), STOP)) if piece.keys() & {*REASONING}]

    assert sent == [{"reasoning_content": "Hm."}]


REASONING = ("reasoning_content", "reasoning_details")


def test_chunks_have_the_requested_model_where_the_message_names_none() -> None:
    start = json.dumps({"type": "message_start", "message": {"id": "m"}}).encode()

    assert (
        json.loads(Stream(origin=Origin("mine")).feed("message_start", start).removeprefix(b"data: "))["model"]
        == "mine"
    )


def test_long_name_of_a_tool_comes_back_as_the_client_knows_it() -> None:
    name = "files.read"
    body = json.dumps({"tools": [{"type": "function", "function": {"name": name}}]}).encode()
    stream = Stream(origin=Origin("m", "m", body))
    used = began(0, "tool_use", id="a", name=tool_names.for_messages(name), input={})
    sent = stream.feed("", json.dumps(used).encode()).split(b"data: ")[2]

    assert json.loads(sent)["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == name


def test_text_and_input_that_come_with_the_start_of_a_block_are_not_lost() -> None:
    call = began(1, "tool_use", id="a", name="f", input={"x": 1})
    sent = deltas(streamed(START, began(0, text="Hi"), ended(0), call, ended(1)))

    assert sent[1] == {"content": "Hi"}
    assert sent[3] == {"tool_calls": [{"index": 0, "function": {"arguments": '{"x": 1}'}}]}


def arguments_of(*events: dict[str, Any]) -> list[str]:
    """Those of each call, put together."""
    sent: dict[int, str] = {}
    for call in [
        call for delta in deltas(streamed(START, *events, finished("tool_use"), STOP)) for call in calls(delta)
    ]:
        sent[call["index"]] = sent.get(call["index"], "") + call["function"]["arguments"]
    return [sent[index] for index in sorted(sent)]


def calls(delta: dict[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = delta.get("tool_calls", [])
    return made


def test_interleaved_calls_stay_apart_however_they_are_cut() -> None:
    first = json.dumps({"a": 'é "}\\ \n'})
    second = json.dumps({"b": [{}]}).ljust(len(first))
    pieces = [
        delta(index, "input_json_delta", partial_json=letter)
        for letters in zip(first, second, strict=True)
        for index, letter in zip((5, 1), letters, strict=True)
    ]
    begin = [began(index, "tool_use", id=f"toolu_{index}", name="f", input={}) for index in (5, 1)]

    assert arguments_of(*begin, *pieces, ended(1), ended(5)) == [first, second]


@pytest.mark.parametrize("given", [{}, None, {"a": 1}])
@pytest.mark.parametrize("end", [[ended(1)], []], ids=["stopped", "left open"])
def test_call_without_a_piece_of_input_has_that_of_its_start(given: object, end: list[dict[str, Any]]) -> None:
    sent = arguments_of(began(1, "tool_use", id="toolu_1", name="f", input=given), *end)

    assert [json.loads(arguments) for arguments in sent] == [given or {}]


def test_usage_may_be_null() -> None:
    start = {**START, "message": {**START["message"], "usage": None}}
    sent = chunks(streamed(start, began(0), ended(0), {**finished(), "usage": None}, STOP))

    assert sent[-1]["usage"]["total_tokens"] == 0


def test_later_counts_hold() -> None:
    sent = chunks(streamed(START, finished(None, input_tokens=40), finished(output_tokens=20), STOP))

    assert sent[-1]["usage"] == {**USAGE, "prompt_tokens": 45, "completion_tokens": 20, "total_tokens": 65}


def test_stream_without_a_reason_ends_like_any_other() -> None:
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks(streamed(START, STOP))[:-1]] == [None, "stop"]


@pytest.mark.parametrize("event", ["ping", "unheard_of", "content_block_rewind"])
def test_unknown_events_are_ignored(event: str) -> None:
    assert Stream().feed(event, b"\xff{") == b""


@pytest.mark.parametrize(
    "events",
    [
        [STOP],
        [START, delta(0, "input_json_delta", partial_json="{}")],
        [START, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}],
    ],
)
def test_stream_that_no_client_could_use_is_malformed(events: list[dict[str, Any]]) -> None:
    with pytest.raises(Malformed):
        streamed(*events)


@pytest.mark.parametrize(
    "events",
    [
        [began(0), delta(0, "text_delta", text="Hello"), ended(0), finished(), STOP],
        [START, START, began(0, text="Hello"), ended(0), finished(), STOP],
        [START, delta(0, "text_delta", text="Hello"), finished(), STOP],
        [START, began(0), ended(0), delta(0, "text_delta", text="Hello"), finished(), STOP],
        [START, began(0), delta(0, "text_delta"), delta(0, "text_delta", text="Hello"), finished(), STOP],
        [START, {"type": "content_block_start", "content_block": {"type": "text", "text": "Hello"}}, finished(), STOP],
        [START, {"type": "content_block_start"}, {"type": "content_block_delta"}, began(1, text="Hello"), STOP],
        [START, {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}}, STOP],
        [START, began(0, text="Hello"), {"type": "message_delta"}, STOP],
        [START, began(0, text="Hello"), finished(), STOP, STOP],
        [START, began(0, text="Hello"), finished(), STOP, delta(0, "text_delta", text="x")],
        [START, began(0, text="Hello"), finished(), finished(), STOP],
        [{"type": "message_start"}, began(0, text="Hello"), finished(7), STOP],
    ],
)
def test_events_out_of_order_or_incomplete_leave_the_text_readable(events: list[dict[str, Any]]) -> None:
    sent = streamed(*events)

    assert "".join(piece.get("content", "") for piece in deltas(sent)) == "Hello"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks(sent) if chunk["choices"]][-1] == "stop"
    assert sent.count(DONE) == 1


@pytest.mark.parametrize("counts", [{"output_tokens": -1}, {"output_tokens": "x"}, {"output_tokens": None}])
def test_counts_of_another_type_count_as_left_out(counts: dict[str, Any]) -> None:
    usage = chunks(streamed(START, finished(**counts), STOP))[-1]["usage"]

    assert usage["completion_tokens"] == (1 if counts["output_tokens"] != -1 else 0)


def test_call_without_index_id_or_name_is_sent() -> None:
    start = {"type": "content_block_start", "content_block": {"type": "tool_use", "input": {}}}
    piece = {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}}
    empty = {"type": "content_block_delta", "delta": {"type": "input_json_delta"}}
    sent = [call for each in deltas(streamed(START, start, empty, piece, start, piece)) for call in calls(each)]

    assert [call["index"] for call in sent] == [0, 0, 1, 1]
    assert (sent[0]["id"].startswith("call_"), sent[0]["function"]["name"]) == (True, "")
    assert sent[1]["function"]["arguments"] == sent[3]["function"]["arguments"] == '{"a":1}'


@pytest.mark.parametrize(
    ("given", "arguments"), [('{"a": "b', '{"a": "b'), ([1], "[1]"), (7, "7"), ("", "{}"), (" ", "{}")]
)
def test_input_of_another_type_is_sent_as_it_is(given: object, arguments: str) -> None:
    assert arguments_of(began(1, "tool_use", id="toolu_1", name="f", input=given), ended(1)) == [arguments]


def test_type_in_the_data_counts_whatever_the_event_is_called() -> None:
    stream, names = Stream(), ["message", "x", "message_stop", "content_block_delta", "", "", "message_start", ""]
    sent = b"".join(
        stream.feed(name, json.dumps(event).encode())
        for name, event in zip(names, [e for e in TEXT if e["type"] != "ping"], strict=False)
    )

    assert [piece.get("content") for piece in deltas(sent)] == ["", "Hello", "日本!", None]
    assert sent.endswith(DONE)


@pytest.mark.parametrize("data", [b"", b"{}", b"null"])
def test_name_counts_where_the_data_has_no_type(data: bytes) -> None:
    stream = Stream()
    begun = fed(stream, START)

    assert chunks(begun + stream.feed("message_stop", data))[-1]["usage"]["prompt_tokens"] == 30


def test_mark_of_the_other_dialect_is_ignored_anywhere() -> None:
    stream = Stream()
    sent = b"".join(fed(stream, event) + stream.feed("", b"[DONE]") for event in TEXT)

    assert deltas(sent) == deltas(streamed(*TEXT))
    assert sent.count(DONE) == 1


def test_usage_has_the_last_value_of_each_count() -> None:
    start = {**START, "message": {**START["message"], "usage": {"input_tokens": 90_000, "output_tokens": 1}}}
    end = {"input_tokens": 500, "cache_read_input_tokens": 89_500, "cache_creation_input_tokens": None}
    usage = chunks(streamed(start, finished(**end, output_tokens=10), STOP))[-1]["usage"]

    assert usage == {
        "prompt_tokens": 90_000,
        "completion_tokens": 10,
        "total_tokens": 90_010,
        "prompt_tokens_details": {"cached_tokens": 89_500},
    }


def test_counts_of_iterations_are_not_those_of_the_call() -> None:
    end = finished(iterations=[{"input_tokens": 900, "output_tokens": 800, "cache_read_input_tokens": 700}])

    assert chunks(streamed(START, end, STOP))[-1]["usage"] == USAGE


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("name", ["", "message_start"])
def test_invalid_json_is_malformed(name: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        Stream().feed(name, data)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"type": 1}', b"7"])
def test_data_of_no_type_is_ignored(data: bytes) -> None:
    assert Stream().feed("", data) == b""


@settings(max_examples=500, derandomize=True, deadline=None)
@given(data=st.data(), events=st.sampled_from([TEXT, TOOLS]))
def test_stream_is_chunks_or_malformed(data: st.DataObject, events: list[dict[str, Any]]) -> None:
    """One event among the others is not what it should be."""
    stream, sent = Stream(), b""
    spoiled = data.draw(st.integers(0, len(events) - 1))
    for position, event in enumerate(events):
        text = data.draw(mangled([event])) if position == spoiled else json.dumps(event).encode()
        name = data.draw(st.sampled_from(["", event["type"]]))
        try:
            sent += stream.feed(name, text)
        except Malformed:
            break

    assert len(chunks(sent)) >= (spoiled > 0)


def test_explanation_of_a_refusal_is_streamed_before_its_reason() -> None:
    end = finished("refusal")
    end["delta"]["stop_details"] = {"type": "refusal", "explanation": "I may not."}
    sent = chunks(streamed(START, end, STOP))

    assert [chunk["choices"][0]["delta"].get("refusal") for chunk in sent[-3:-1]] == ["I may not.", None]
    assert sent[-2]["choices"][0]["finish_reason"] == "content_filter"


def test_tokens_of_thinking_are_streamed_as_tokens_of_reasoning() -> None:
    sent = chunks(streamed(START, finished(output_tokens_details={"thinking_tokens": 9}), STOP))

    assert sent[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 9}


def test_thought_that_is_too_long_to_be_kept_is_shown_only() -> None:
    long = delta(0, "thinking_delta", thinking="x" * 1_048_576)
    fed = [
        began(0, "thinking", thinking="", signature=""),
        *[long] * 5,
        delta(0, "signature_delta", signature="s"),
        ended(0),
    ]
    sent = [piece for piece in deltas(streamed(START, *fed, finished(), STOP)) if piece.keys() & {*REASONING}]

    assert [len(piece["reasoning_content"]) for piece in sent] == [1_048_576] * 5
