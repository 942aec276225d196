"""The chunks of a streamed chat completion as the events of a streamed message."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.json.malformed import Malformed
from gateway.upstream.dialects import call_ids
from gateway.upstream.dialects.messages_as_chat.translation import Stream
from gateway.upstream.dialects.origin import Origin
from tests.support.mangled_json import mangled

OFFICIAL: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
HEAD: dict[str, Any] = {
    "id": "chatcmpl-123",
    "object": "chat.completion.chunk",
    "created": 1694268190,
    "model": "gpt-4o-mini",
    "system_fingerprint": "fp_44709d6fcb",
}
USAGE: dict[str, Any] = {
    **HEAD,
    "choices": [],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}},
}
DONE = "[DONE]"


def chunk(delta: object, finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**HEAD, "choices": [choice], "usage": None}


def call(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    """A piece of a call, without what is None."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece = {"index": index, "id": call_id, "type": "function", "function": function}
    return chunk({"tool_calls": [{key: value for key, value in piece.items() if value is not None}]})


def events(*fed: object) -> list[Any]:
    """Returns the events for the client, after a check that each is whole, correctly named and of an official type."""
    stream = Stream()
    body = b"".join(stream.feed("", as_bytes(data)) for data in fed)
    sent = []
    for event in body.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        sent.append(json.loads(data.removeprefix("data: ")))
        OFFICIAL.validate_python(sent[-1])
        assert name == f"event: {sent[-1]['type']}"
    return sent


def as_bytes(data: object) -> bytes:
    return (data if isinstance(data, str) else json.dumps(data)).encode()


def inner(*fed: object) -> list[Any]:
    """The events between the first and the last two."""
    sent = events(*fed, DONE)
    assert [event["type"] for event in (sent[0], *sent[-2:])] == ["message_start", "message_delta", "message_stop"]
    return sent[1:-2]


def begun(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def text_block(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = [
        {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": piece}}
        for piece in pieces
    ]
    return [begun(index, {"type": "text", "text": ""}), *deltas, {"type": "content_block_stop", "index": index}]


def tool_block(index: int, call_id: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    deltas = [
        {"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": piece}}
        for piece in pieces
    ]
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return [begun(index, block), *deltas, {"type": "content_block_stop", "index": index}]


def thinking_block(index: int, family: str, field: str, *pieces: str) -> list[dict[str, Any]]:
    deltas = [
        {"type": "content_block_delta", "index": index, "delta": {"type": "thinking_delta", "thinking": piece}}
        for piece in pieces
    ]
    signature = {"type": "signature_delta", "signature": f"pllm-thought.{family}.{field}"}
    return [
        begun(index, {"type": "thinking", "thinking": "", "signature": ""}),
        *deltas,
        {"type": "content_block_delta", "index": index, "delta": signature},
        {"type": "content_block_stop", "index": index},
    ]


def ending(*fed: object) -> Any:
    return events(*fed, DONE)[-2]


def test_text_stream_becomes_a_message() -> None:
    sent = events(
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        USAGE,
        DONE,
    )

    assert sent == [
        {
            "type": "message_start",
            "message": {
                "type": "message",
                "id": "msg_chatcmpl-123",
                "role": "assistant",
                "model": "gpt-4o-mini",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
            },
        },
        *text_block(0, "Hel", "lo"),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 15, "cache_read_input_tokens": 4, "output_tokens": 10},
        },
        {"type": "message_stop"},
    ]


def test_message_begins_with_the_first_chunk() -> None:
    assert [event["type"] for event in events(chunk({"role": "assistant"}))] == ["message_start"]


def test_chunk_that_names_no_message_does_not_begin_it() -> None:
    azure = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}

    assert events(azure) == []
    assert events(azure, chunk({}))[0]["message"]["id"] == "msg_chatcmpl-123"


def test_calls_follow_the_text_in_blocks_of_their_own() -> None:
    sent = inner(
        chunk({"content": "I look."}),
        call(0, "call_1", "get_weather", ""),
        call(0, None, None, '{"city":'),
        call(0, None, None, '"Paris"}'),
        call(1, "call_2", "get_time", ""),
        call(1, None, None, "{}"),
        chunk({}, "tool_calls"),
    )

    assert sent == [
        *text_block(0, "I look."),
        *tool_block(1, "call_1", "get_weather", '{"city":', '"Paris"}'),
        *tool_block(2, "call_2", "get_time", "{}"),
    ]


def test_text_behind_a_call_is_a_new_block() -> None:
    sent = inner(chunk({"content": "a"}), call(0, "call_1", "f", "{}"), chunk({"content": "b"}))

    assert sent == [*text_block(0, "a"), *tool_block(1, "call_1", "f", "{}"), *text_block(2, "b")]


@pytest.mark.parametrize("first", [0, 1, 7])
def test_interleaved_calls_are_consecutive_blocks(first: int) -> None:
    sent = inner(
        call(first, "call_1", "f", ""),
        call(first + 1, "call_2", "g", ""),
        call(first, None, None, '{"a":'),
        call(first + 1, None, None, '{"b":'),
        chunk({"content": "behind"}),
        call(first, None, None, "1}"),
        call(first + 1, None, None, "2}"),
        call(first, None, None, ""),
        chunk({}, "tool_calls"),
    )

    assert sent == [
        *tool_block(0, "call_1", "f", '{"a":', "1}"),
        *tool_block(1, "call_2", "g", '{"b":', "2}"),
        *text_block(2, "behind"),
    ]


def test_incomplete_call_is_sent_at_the_end_with_the_blocks_behind_it() -> None:
    sent = inner(call(0, "call_1", "f", '{"a":'), call(1, "call_2", "g", "{}"), chunk({}, "length"))

    assert sent == [*tool_block(0, "call_1", "f", '{"a":'), *tool_block(1, "call_2", "g", "{}")]


def test_arguments_may_be_cut_anywhere() -> None:
    arguments = json.dumps({"a": 'é "}\\ \n', "b": {}})
    sent = inner(call(0, "call_1", "f", ""), *[call(0, None, None, letter) for letter in arguments])

    assert sent == tool_block(0, "call_1", "f", *arguments)


def test_name_may_come_behind_the_arguments() -> None:
    sent = inner(call(0, "call_1", None, "{"), call(0, None, "f", "}"), call(1, "call_2", "g", "{}"))

    assert sent == [*tool_block(0, "call_1", "f", "{}"), *tool_block(1, "call_2", "g", "{}")]


def test_index_may_be_missing_at_first() -> None:
    assert inner(call(None, "call_1", "f", "{"), call(0, None, None, "}")) == tool_block(0, "call_1", "f", "{", "}")


def test_id_that_is_given_twice_is_replaced() -> None:
    starts = inner(call(0, "call_1", "f", "{}"), call(1, "call_1", "f", "{}"))[::3]

    assert starts[0]["content_block"]["id"] == "call_1"
    assert starts[1]["content_block"]["id"].startswith("toolu_")


def test_arguments_of_white_space_are_none() -> None:
    assert inner(call(0, "call_1", "f", " "), call(0, None, None, "\n")) == tool_block(0, "call_1", "f")


def test_whole_calls_in_one_chunk_are_whole_blocks() -> None:
    pieces = [
        {"index": index, "id": f"call_{index}", "function": {"name": "f", "arguments": "{}"}} for index in range(2)
    ]

    assert inner(chunk({"tool_calls": pieces})) == [
        *tool_block(0, "call_0", "f", "{}"),
        *tool_block(1, "call_1", "f", "{}"),
    ]


@pytest.mark.parametrize("later", [(0, "call_1", None), (0, "call_1", "f"), (0, "other", "f"), (0, "", "")])
def test_index_identifies_the_call_whatever_else_is_repeated(later: tuple[int, str, str | None]) -> None:
    assert inner(call(0, "call_1", "f", "{"), call(*later, "}")) == tool_block(0, "call_1", "f", "{", "}")


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([("", "f", '{"a":1}'), ("", "g", "{}")], [("f", '{"a":1}'), ("g", "{}")]),
        ([("", "f", "{}"), ("", "f", "{}")], [("f", "{}"), ("f", "{}")]),
        ([("", "f", "{"), ("", "f", "}"), ("", "g", "{"), ("", "", "}")], [("f", "{}"), ("g", "{}")]),
        ([("", "f", "{"), ("", "f", "}"), ("", "f", "")], [("f", "{}")]),
        ([(None, "f", ""), ("", "", "{}"), (None, "f", ""), ("", "", "{}")], [("f", "{}"), ("f", "{}")]),
        ([("", "f", ""), ("", "g", "")], [("f", ""), ("g", "")]),
        ([("a", "f", "{}"), ("", "g", "{}")], [("f", "{}"), ("g", "{}")]),
        ([("a", "f", "{}"), ("a", "f", "")], [("f", "{}")]),
    ],
)
def test_new_name_after_a_complete_call_is_another_call(
    pieces: list[tuple[str | None, str, str]], calls: list[tuple[str, str]]
) -> None:
    """All at one index and without ids that distinguish them."""
    sent = inner(*[call(0, *piece) for piece in pieces])
    names = [event["content_block"]["name"] for event in sent if event["type"] == "content_block_start"]
    inputs = ["" for _ in names]
    for event in sent:
        if event["type"] == "content_block_delta":
            inputs[event["index"]] += event["delta"]["partial_json"]

    assert list(zip(names, inputs, strict=True)) == calls


def test_of_several_choices_the_one_of_index_0_counts() -> None:
    def choice(index: int, text: str) -> dict[str, Any]:
        return {"index": index, "delta": {"content": text}, "finish_reason": "length" if index else "stop"}

    fed = [
        {**HEAD, "choices": [choice(1, "x")]},
        {**HEAD, "choices": [choice(0, "a")]},
        {**HEAD, "choices": [choice(1, "y"), choice(0, "b")]},
    ]

    assert inner(*fed) == text_block(0, "a", "b")
    assert ending(*fed)["delta"]["stop_reason"] == "end_turn"


def test_message_has_the_requested_model_where_the_chunks_name_none() -> None:
    body = Stream(origin=Origin("mine", "theirs")).feed("", b'{"id": "c", "choices": [{"delta": {"content": "a"}}]}')

    assert json.loads(body.decode().split("\n")[1].removeprefix("data: "))["message"]["model"] == "mine"


def test_refusal_explains_itself_at_the_end() -> None:
    fed = [chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, "stop")]

    explained = {"type": "refusal", "category": None, "explanation": "I cannot."}
    assert ending(*fed)["delta"]["stop_details"] == explained
    assert "stop_details" not in ending(chunk({"content": "a"}, "stop"))["delta"]


def test_id_that_anthropic_refuses_is_wrapped_for_the_client() -> None:
    starts = inner(call(0, "functions.Bash:0", "Bash", "{}"), call(1, "functions.Bash:1", "Bash", "{}"))[::3]
    given = [start["content_block"]["id"] for start in starts]

    assert [call_ids.for_chat(each) for each in given] == ["functions.Bash:0", "functions.Bash:1"]
    assert [call_ids.for_messages(each) for each in given] == given


def test_thought_signature_is_kept_in_the_id_of_its_call() -> None:
    signed: dict[str, Any] = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}
    signed["extra_content"] = {"google": {"thought_signature": "c2ln+/="}}
    stream = Stream(origin=Origin("m", "google/gemini-3-pro"))
    sent = stream.feed("", as_bytes(chunk({"tool_calls": [signed]}))).decode()
    given = json.loads(sent.split("data: ")[2].split("\n")[0])["content_block"]["id"]

    assert call_ids.signature_in(given) == call_ids.Signature("c2ln+/=", "gemini")
    assert call_ids.for_chat(given) == call_ids.for_messages(given) == "call_1"


def test_ids_tell_calls_apart_where_there_is_no_index() -> None:
    sent = inner(
        call(None, "call_1", "f", "{"),
        call(None, "call_1", None, ""),
        call(None, None, None, "}"),
        call(None, "call_2", "f", "{}"),
    )

    assert sent == [*tool_block(0, "call_1", "f", "{", "}"), *tool_block(1, "call_2", "f", "{}")]


def test_names_tell_calls_apart_where_there_is_nothing_else() -> None:
    starts = inner(call(None, None, "f", "{}"), call(None, None, "g", "{"), call(None, None, None, "}"))[::3]

    assert [start["content_block"]["name"] for start in starts if "content_block" in start] == ["f", "g"]


def test_call_without_arguments_has_no_delta() -> None:
    assert inner(call(0, "call_1", "f", None)) == tool_block(0, "call_1", "f")


def test_piece_of_a_call_may_lack_its_function() -> None:
    assert inner(call(0, "call_1", "f", "{}"), chunk({"tool_calls": [{"index": 0, "function": None}]})) == tool_block(
        0, "call_1", "f", "{}"
    )


def test_refusal_becomes_text_and_the_reason() -> None:
    fed = [chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, "stop")]

    assert inner(*fed) == text_block(0, "I can", "not.")
    assert ending(*fed)["delta"]["stop_reason"] == "refusal"


def test_chunk_without_a_delta_still_has_the_finish_reason() -> None:
    assert ending(chunk(None, "length"))["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_becomes_a_thinking_block_that_names_its_source(field: str) -> None:
    fed = [chunk({field: "Let me "}), chunk({field: "see.", "content": ""}), chunk({field: "", "content": "42"})]

    assert inner(*fed) == [*thinking_block(0, "model", field, "Let me ", "see."), *text_block(1, "42")]


def test_reasoning_that_comes_twice_is_sent_once() -> None:
    both = chunk({"reasoning_content": "hm", "reasoning": "hm"})

    assert inner(both) == thinking_block(0, "model", "reasoning_content", "hm")


def test_reasoning_between_calls_is_a_block_of_its_own() -> None:
    fed = [chunk({"reasoning": "a"}), call(0, "call_1", "f", "{}"), chunk({"reasoning": "b"})]

    assert inner(*fed) == [
        *thinking_block(0, "model", "reasoning", "a"),
        *tool_block(1, "call_1", "f", "{}"),
        *thinking_block(2, "model", "reasoning", "b"),
    ]


@pytest.mark.parametrize(
    ("finish_reason", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        (None, "end_turn"),
    ],
)
def test_finish_reason_is_sent_at_the_end(finish_reason: str | None, stop_reason: str) -> None:
    assert ending(chunk({"content": "a"}, finish_reason), USAGE)["delta"]["stop_reason"] == stop_reason


def test_calls_set_the_stop_reason_where_the_provider_sends_stop() -> None:
    assert ending(call(0, "call_1", "f", "{}"), chunk({}, "stop"))["delta"]["stop_reason"] == "tool_use"


def test_stream_without_usage_ends_with_zeros() -> None:
    assert ending(chunk({"content": "a"}, "stop"))["usage"] == {
        "input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }


def test_usage_in_every_chunk_counts_once() -> None:
    counting = [{**chunk({"content": "a"}), "usage": {"prompt_tokens": 7, "completion_tokens": n}} for n in (1, 2)]

    assert ending(*counting)["usage"] == {"input_tokens": 7, "cache_read_input_tokens": 0, "output_tokens": 2}


def test_nothing_is_sent_after_the_end() -> None:
    fed: Sequence[object] = [chunk({"content": "a"}, "stop"), DONE]

    assert events(*fed, DONE, chunk({"content": "b"})) == events(*fed)


@pytest.mark.parametrize(
    "fed",
    [
        [call(0, "call_1", "f", "{"), *[call(1, "call_2", "g", "x" * 2**20)] * 4],
        [DONE],
        ["{"],
        ['{"choices": [], "a": ' + "[" * 100_000 + "]" * 100_000 + "}"],
    ],
)
def test_stream_that_no_client_could_use_is_malformed(fed: list[object]) -> None:
    with pytest.raises(Malformed):
        events(*fed)


@pytest.mark.parametrize(
    "fed",
    [
        [call(0, "call_1", "f", "{}"), call(1, "call_2", "g", "{}"), call(0, None, None, "}")],
        [call(0, "call_1", "f", "{}"), call(1, "call_2", "g", "{}"), call(0, None, None, ' {"a":1}')],
    ],
)
def test_arguments_behind_a_complete_object_are_left_out(fed: list[object]) -> None:
    assert inner(*fed) == [*tool_block(0, "call_1", "f", "{}"), *tool_block(1, "call_2", "g", "{}")]


@pytest.mark.parametrize("name", [None, ""])
@pytest.mark.parametrize("arguments", ["{}", '{"a"'])
def test_call_without_a_name_is_sent_at_the_end(name: str | None, arguments: str) -> None:
    assert inner(call(0, "call_1", name, arguments), chunk({}, "length")) == tool_block(0, "call_1", "", arguments)


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["null"], {}),
        (["nu", "ll "], {}),
        (["[1", "]"], {"INVALID_JSON": "[1]"}),
        (["city: ", "Paris"], {"INVALID_JSON": "city: Paris"}),
        (['"', '{}"'], {"INVALID_JSON": '"{}"'}),
    ],
)
def test_arguments_that_are_not_an_object_are_sent_whole(pieces: list[str], whole: dict[str, Any]) -> None:
    fed = [call(0, "call_1", "f", ""), *[call(0, None, None, piece) for piece in pieces], chunk({}, "tool_calls")]
    start, sent, stop = inner(*fed)

    assert [start, stop] == tool_block(0, "call_1", "f")
    assert json.loads(sent["delta"]["partial_json"]) == whole


def test_odd_arguments_that_waited_are_also_sent_whole() -> None:
    sent = inner(call(0, "call_1", "f", '{"a"'), call(1, "call_2", "g", "[]"), chunk({}, "tool_calls"))

    assert sent == [*tool_block(0, "call_1", "f", '{"a"'), *tool_block(1, "call_2", "g", '{"INVALID_JSON":"[]"}')]


@pytest.mark.parametrize(
    "more",
    [
        {"choices": None},
        {"choices": "none"},
        {"choices": [{"delta": None, "finish_reason": None}]},
        {"choices": [None, 7]},
        {"choices": [{"delta": {"content": None, "tool_calls": None, "refusal": None}}]},
        {"choices": [{"delta": {"content": [], "tool_calls": {}, "refusal": {}}}]},
        {"choices": [{"delta": {"tool_calls": [None, {"index": 0}, {"index": "0", "function": []}]}}]},
        {"id": 7, "model": None, "choices": [{"index": 0, "delta": "", "finish_reason": 7}]},
        {},
    ],
)
def test_fields_of_another_type_count_as_left_out(more: dict[str, Any]) -> None:
    odd = {**{key: HEAD[key] for key in HEAD}, **more, "usage": None}
    sent = inner(chunk({"content": "Hel"}), odd, chunk({"content": "lo"}, "stop"))
    text = [event["delta"]["text"] for event in sent if event.get("delta", {}).get("type") == "text_delta"]

    assert text == ["Hel", "lo"]


@pytest.mark.parametrize("choices", [{"choices": None}, {"choices": []}, {}])
@pytest.mark.parametrize("done", [[DONE], [DONE, DONE], ["[DONE] "]])
def test_usage_may_come_in_a_chunk_without_choices(choices: dict[str, Any], done: list[object]) -> None:
    counted = {**HEAD, **choices, "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    sent = events(chunk({"content": "a"}), chunk({}, "stop"), counted, *done)

    assert sent[-2]["usage"] == {"input_tokens": 7, "cache_read_input_tokens": 0, "output_tokens": 2}
    assert [event["type"] for event in sent].count("message_stop") == 1


@pytest.mark.parametrize("usage", [[], "none", {"prompt_tokens": "7", "completion_tokens": None}, {}])
def test_usage_of_another_type_counts_as_left_out(usage: object) -> None:
    sent = ending(chunk({"content": "a"}, "stop"), {**HEAD, "choices": [], "usage": usage})

    assert sent["usage"]["output_tokens"] == 0


@pytest.mark.parametrize("data", ["", " ", "{}", "[]", "null", '"ping"', "7"])
def test_data_without_content_is_ignored(data: str) -> None:
    assert inner(data, chunk({"content": "a"}), data, chunk({}, "stop")) == text_block(0, "a")


def test_content_may_be_a_list_of_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    fed = [
        chunk({"content": [thinking]}),
        chunk({"content": [{"type": "text", "text": "hel"}]}),
        chunk({"content": "lo"}),
    ]

    assert inner(*fed) == [*thinking_block(0, "model", "content", "hm"), *text_block(1, "hel", "lo")]


def test_arguments_may_be_an_object_already() -> None:
    whole = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": {"a": 1}}}

    assert inner(chunk({"tool_calls": [whole]})) == tool_block(0, "call_1", "f", '{"a": 1}')


def test_half_a_surrogate_pair_leaves_the_rest_readable() -> None:
    fed = [chunk({"content": "a \ud83d"}), chunk({"content": "b"})]

    assert inner(*fed) == text_block(0, "a \ufffd", "b")


def test_wrong_utf8_is_malformed() -> None:
    with pytest.raises(Malformed):
        Stream().feed("", b'{"choices": [{"delta": {"content": "\xff"}}]}')


GOOD_CHUNKS = [
    chunk({"role": "assistant", "content": "a"}),
    call(0, "call_1", "f", "{"),
    call(0, None, None, "}"),
    chunk({}, "stop"),
    USAGE,
]


@given(st.lists(mangled(GOOD_CHUNKS), max_size=5))
def test_damaged_stream_is_malformed_or_good(fed: list[bytes]) -> None:
    stream = Stream()
    try:
        body = b"".join([stream.feed("", data) for data in [*fed, b"[DONE]"]])
    except Malformed:
        return

    for event in body.decode().split("\n\n")[:-1]:
        OFFICIAL.validate_json(event.split("\ndata: ")[1])


def test_calls_that_share_an_index_are_separate_once_the_first_is_complete() -> None:
    sent = inner(call(0, "call_1", "f", '{"a":'), call(0, None, None, "1}"), call(0, "call_2", "f", '{"a":2}'))

    assert sent == [*tool_block(0, "call_1", "f", '{"a":', "1}"), *tool_block(1, "call_2", "f", '{"a":2}')]


def test_error_next_to_choices_does_not_end_the_turn() -> None:
    error = {"code": 502, "message": "gone"}

    with pytest.raises(Malformed):
        events(chunk({"content": "a"}), {**chunk({"content": ""}, "error"), "error": error}, DONE)
