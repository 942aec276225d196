"""Chat completions, and messages by way of them, at a provider of responses only."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from gateway.errors import InvalidRequest
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_as_responses.translation import Stream, reply, request
from gateway.upstream.dialects.messages_as_responses import translation as messages_as_responses
from gateway.upstream.dialects.responses_as_chat import translation as responses_as_chat
from tests.support.mangled_json import mangled

OFFICIAL: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)
USER = {"role": "user", "content": "hi"}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"city": "Zürich"}'}}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}


def sent(**fields: Any) -> Any:
    body = json.loads(request(json.dumps({"model": "m", "messages": [USER], **fields}).encode(), "codex"))
    if not body.get("stream"):
        OFFICIAL.validate_python(body)
    return body


def test_conversation_becomes_items() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, image]},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]

    assert sent(messages=messages, tools=[LOOK]) == {
        "model": "codex",
        "store": False,
        "input": [
            {"type": "message", "role": "system", "content": "a"},
            {"type": "message", "role": "developer", "content": "b"},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "hi"},
                    {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
                ],
            },
            {"type": "message", "role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"city": "Zürich"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        ],
        "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}],
    }


def test_fields_have_their_counterparts() -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}, "name": "a", "strict": True}}
    found = sent(
        max_tokens=3, temperature=0.5, reasoning_effort="low", verbosity="low", response_format=schema, user="u",
        tools=[LOOK], tool_choice={"type": "function", "function": {"name": "look"}}, parallel_tool_calls=False,
    )  # fmt: skip

    assert (found["max_output_tokens"], found["temperature"], found["user"]) == (16, 0.5, "u")
    assert (found["reasoning"], found["text"]["verbosity"]) == ({"effort": "low"}, "low")
    assert found["text"]["format"] == {
        "type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True,
    }  # fmt: skip
    assert found["tool_choice"] == {"type": "function", "name": "look"}
    assert found["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"stop": "a"}, "stop"),
        ({"logprobs": True}, "logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": [{"role": "assistant", "function_call": {}}]}, "messages[0].function_call"),
    ],
)
def test_what_has_no_counterpart_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(**fields)

    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


def test_messages_client_gets_the_names_of_its_own_fields() -> None:
    body = {"model": "m", "max_tokens": 50, "messages": [USER], "stop_sequences": ["a"]}

    with pytest.raises(InvalidRequest) as refused:
        messages_as_responses.request(json.dumps(body).encode(), "codex")
    del body["stop_sequences"]
    found = json.loads(messages_as_responses.request(json.dumps(body).encode(), "codex"))

    assert refused.value.param == "stop_sequences"
    assert (found["max_output_tokens"], found["input"][0]["content"]) == (50, "hi")


# -- A chat stream there, and back as one of responses -----------------------------------------------------------

FUNCTIONS = st.fixed_dictionaries({"name": st.just("look"), "arguments": st.sampled_from(["{", "}", "{}"])})
PIECES = st.fixed_dictionaries({"index": st.integers(0, 1), "function": FUNCTIONS})
TEXTS = st.fixed_dictionaries({}, optional={"content": st.text(max_size=5), "refusal": st.text(max_size=3)})
CALLED = st.fixed_dictionaries({"tool_calls": st.lists(PIECES, max_size=2)})
DELTAS = st.lists(st.one_of(TEXTS, CALLED), min_size=1, max_size=8)
OWN = json.dumps({"model": "m", "input": "hi"}).encode()


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"id": "chatcmpl-1", "model": "llama", "choices": [choice]}).encode()


def events_of(body: bytes) -> list[tuple[str, bytes]]:
    found = []
    for event in body.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        found.append((name.removeprefix(b"event: ").decode(), data.removeprefix(b"data: ")))
    return found


def chunks_of(body: bytes) -> list[Any]:
    """Returns the chunks, after a check that each is one of the official client's."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n")[:-1]]
    chunks = [json.loads(line) for line in lines if line != b"[DONE]"]
    for each in chunks:
        ChatCompletionChunk.model_validate(each)
    return chunks


def added_up(chunks: list[Any]) -> tuple[str, str, list[tuple[str, str]]]:
    text = refusal = ""
    calls: list[tuple[str, str]] = []
    for delta in (choice["delta"] for each in chunks for choice in each["choices"]):
        text += delta.get("content") or ""
        refusal += delta.get("refusal") or ""
        for piece in delta.get("tool_calls", []):
            if piece["index"] == len(calls):
                calls.append((piece["function"]["name"], ""))
            name, arguments = calls[piece["index"]]
            calls[piece["index"]] = (name, arguments + piece["function"]["arguments"])
    return text, refusal, calls


@settings(deadline=None)
@given(DELTAS, st.sampled_from(["stop", "length", "content_filter"]))
def test_stream_comes_back_from_the_other_dialect(deltas: list[dict[str, Any]], finish_reason: str) -> None:
    there, back = responses_as_chat.Stream(OWN), Stream()
    fed = [*map(chunk, deltas), chunk({}, finish_reason), b"[DONE]"]
    response = b"".join(there.feed("", each) for each in fed)
    chunks = chunks_of(b"".join(back.feed(*event) for event in events_of(response)))

    whole = json.loads(events_of(response)[-1][1])["response"]
    plain = json.loads(reply(json.dumps(whole).encode()))
    ChatCompletion.model_validate(plain)
    message = plain["choices"][0]["message"]
    calls = [(each["function"]["name"], each["function"]["arguments"]) for each in message.get("tool_calls", [])]
    assert added_up(chunks) == (message["content"] or "", message["refusal"] or "", calls)
    text = "".join(delta.get("content", "") for delta in deltas)
    assert (message["content"] or "", len(calls)) == (text, len(whole["output"]) - len(
        [item for item in whole["output"] if item["type"] == "message"]
    ))  # fmt: skip
    ends = {"stop": "tool_calls" if calls else "stop", "length": "length", "content_filter": "content_filter"}
    assert plain["choices"][0]["finish_reason"] == ends[finish_reason]
    assert [each["choices"][0]["finish_reason"] for each in chunks if each["choices"]][-1] == ends[finish_reason]


def event(kind: str, **fields: Any) -> tuple[str, bytes]:
    return kind, json.dumps({"type": kind, **fields}).encode()


CREATED = event("response.created", response={"id": "resp_1", "model": "codex"})
ITEM = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"a": 1}'}


def streamed(*events: tuple[str, bytes]) -> list[Any]:
    stream = Stream()
    return chunks_of(b"".join(stream.feed(*each) for each in events))


def test_arguments_that_come_with_the_end_of_a_call_are_kept() -> None:
    done = event("response.output_item.done", output_index=1, item=ITEM)

    chunks = streamed(CREATED, done, event("response.completed", response={"usage": USAGE}))

    assert added_up(chunks) == ("", "", [("look", '{"a": 1}')])
    assert chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert chunks[-1]["usage"]["total_tokens"] == 14


@pytest.mark.parametrize("kind", ["response.failed", "response.cancelled", "error"])
def test_stream_that_failed_is_malformed(kind: str) -> None:
    with pytest.raises(Malformed):
        streamed(CREATED, event(kind))


@settings(deadline=None)
@given(st.lists(mangled([json.loads(data) for _, data in (
    CREATED,
    event("response.output_text.delta", output_index=0, delta="a"),
    event("response.output_item.added", output_index=1, item={**ITEM, "arguments": ""}),
    event("response.function_call_arguments.delta", output_index=1, delta="{}"),
    event("response.completed", response={"usage": USAGE, "status": "completed"}),
)]), min_size=1, max_size=6))  # fmt: skip
def test_any_event_is_translated_or_malformed(data: list[bytes]) -> None:
    stream, body = Stream(), b""
    try:
        for each in data:
            body += stream.feed("", each)
    except Malformed:
        pass
    chunks_of(body)


MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]}
RESPONSE = {"id": "resp_1", "status": "completed", "usage": USAGE, "output": [ITEM, MESSAGE]}


@given(mangled([RESPONSE]))
def test_any_reply_is_translated_or_malformed(body: bytes) -> None:
    try:
        ChatCompletion.model_validate_json(reply(body))
    except Malformed:
        return
