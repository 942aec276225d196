"""Responses at a provider of messages: request, reply and stream by way of chat completions."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from gateway.errors import InvalidRequest
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.responses_as_messages.translation import Stream, reply, request
from tests.support.mangled_json import mangled
from tests.support.response_events import added_up, kinds, read

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
TOOLS = [LOOK, {"type": "custom", "name": "apply_patch"}, {"type": "web_search"}]
REQUEST = json.dumps({"model": "m", "input": "hi", "tools": TOOLS, "store": False}).encode()
USAGE = {"input_tokens": 9, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 5}
START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "usage": USAGE,
    },
}
STOP = {"type": "message_stop"}


def begun(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def grown(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def ended(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str, explanation: str | None = None) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_details": {"explanation": explanation}}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}}


def call(index: int, name: str, *pieces: str) -> list[dict[str, Any]]:
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    deltas = [grown(index, {"type": "input_json_delta", "partial_json": piece}) for piece in pieces]
    return [begun(index, block), *deltas, ended(index)]


WHOLE: list[dict[str, Any]] = [
    START,
    {"type": "ping"},
    begun(0, {"type": "thinking", "thinking": "", "signature": ""}),
    grown(0, {"type": "thinking_delta", "thinking": "Hm."}),
    ended(0),
    begun(1, {"type": "text", "text": ""}),
    grown(1, {"type": "text_delta", "text": "I look 😀."}),
    ended(1),
    *call(2, "look", '{"city": "Zür', 'ich"}'),
    *call(3, "apply_patch", '{"input": "*** Begin', '\\n"}'),
    *call(4, "look"),
]


def as_bytes(events: list[dict[str, Any]]) -> bytes:
    return b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)


def events(*fed: dict[str, Any]) -> list[Any]:
    stream = Stream(REQUEST)
    body = b"".join(stream.convert(as_bytes([each])) for each in fed)
    return read(body, stream.sequence_number)


def test_stream_of_a_message_becomes_items() -> None:
    sent = events(*WHOLE, ending("tool_use"), STOP)

    assert added_up(sent) == [
        ("reasoning", "Hm."),
        ("message", "I look 😀."),
        ("function_call", '{"city": "Zürich"}'),
        ("custom_tool_call", "*** Begin\n"),
        ("function_call", "{}"),
    ]
    response = Response.model_validate(sent[-1]["response"])
    assert (response.status, response.model) == ("completed", "claude")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (14, 7, 21)
    assert response.usage.input_tokens_details.model_dump(exclude_none=True) == {
        "cached_tokens": 3,
        "cache_write_tokens": 2,
    }


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("end_turn", "completed", None),
        ("max_tokens", "incomplete", "max_output_tokens"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_stop_reason_decides_how_the_response_ends(reason: str, status: str, why: str | None) -> None:
    sent = events(*WHOLE[:8], ending(reason, "No." if reason == "refusal" else None), STOP)

    assert sent[-1]["type"] == f"response.{status}"
    assert sent[-1]["response"]["incomplete_details"] == (why and {"reason": why})
    assert [kind for kind, _ in added_up(sent)] == ["reasoning"] + ["message"] * (2 if reason == "refusal" else 1)


@pytest.mark.parametrize("end", range(1, len(WHOLE) + 1))
def test_message_cut_after_any_event_is_a_stream_that_adds_up(end: int) -> None:
    added_up(events(*WHOLE[:end], ending("max_tokens"), STOP))


@settings(deadline=None)
@given(st.lists(mangled([*WHOLE, ending("end_turn"), STOP]), min_size=1, max_size=6))
def test_any_event_is_translated_or_malformed_after_what_came_before_it(data: list[bytes]) -> None:
    stream = Stream(REQUEST)
    body = stream.convert(as_bytes([START]))
    fed = b"".join(b"data: " + each.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n" for each in data)
    try:
        body += stream.convert(fed + as_bytes([STOP]))
    except Malformed as fault:
        body += fault.before
    sent = read(body, stream.sequence_number)
    if kinds(sent)[-1:] in (["completed"], ["incomplete"], ["failed"]):
        added_up(sent)


def test_plain_message_has_the_same_output_as_its_stream() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "I look 😀."},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"city": "Zürich"}},
        {"type": "tool_use", "id": "toolu_3", "name": "apply_patch", "input": {"input": "*** Begin\n"}},
        {"type": "tool_use", "id": "toolu_4", "name": "look", "input": {}},
    ]
    message = {**START["message"], "content": content, "stop_reason": "tool_use", "usage": USAGE}

    plain = json.loads(reply(REQUEST, json.dumps(message, ensure_ascii=False).encode()))
    streamed = events(*WHOLE, ending("tool_use"), STOP)[-1]["response"]

    for response in (plain, streamed):
        for item in response["output"]:
            del item["id"]
            item["arguments"] = json.loads(item.get("arguments", "{}"))
    assert plain["output"] == streamed["output"]


def test_conversation_reaches_the_provider_with_its_calls() -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "functions.look:0", "name": "look", "arguments": '{"a": 1.0}'},
        {"type": "function_call_output", "call_id": "functions.look:0", "output": "rain"},
    ]

    sent = json.loads(request(json.dumps({"model": "m", "input": items, "tools": TOOLS}).encode(), "claude"))

    assert (sent["system"], [turn["role"] for turn in sent["messages"]]) == ("Be brief.", ["user", "assistant", "user"])
    used, result = sent["messages"][1]["content"][0], sent["messages"][2]["content"][0]
    assert (used["name"], used["input"], used["id"]) == ("look", {"a": 1.0}, result["tool_use_id"])
    assert [tool["name"] for tool in sent["tools"]] == ["look", "apply_patch"]


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
VALID: list[Any] = [
    json.loads(REQUEST),
    {"model": "m", "input": [{"role": "user", "content": [IMAGE]}], "text": {"format": {"type": "json_object"}}},
]


@given(mangled(VALID))
def test_any_body_is_translated_or_refused_with_a_place_of_the_client(body: bytes) -> None:
    try:
        json.loads(request(body, "m"))
    except InvalidRequest as error:
        place = error.param or ""
    else:
        place = ""
    assert not place.startswith(("messages", "response_format", "max_tokens"))
