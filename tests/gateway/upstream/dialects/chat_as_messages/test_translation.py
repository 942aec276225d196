"""The whole translation: an answer becomes part of the next request."""

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.upstream.dialects.chat_as_messages.translation import Stream, reply, request

ANSWER = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [
        {"type": "text", "text": "I'll look."},
        {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"location": "Paris"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5},
}


def test_answer_comes_back_to_the_provider_as_it_was_given() -> None:
    message = json.loads(reply(json.dumps(ANSWER).encode()))["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": "toolu_01", "content": "15 degrees"}
    chat = {"model": "m", "messages": [{"role": "user", "content": "Weather?"}, message, result]}

    sent = json.loads(request(json.dumps(chat).encode(), "claude-sonnet-4-5"))

    assert sent["messages"][1] == {"role": "assistant", "content": ANSWER["content"]}


def test_stream_is_made_without_arguments() -> None:
    assert Stream().feed("ping", b'{"type": "ping"}') == b""


ARGUMENTS = '{"location": "Zürich \\"é", "days": [1, 2.5e3, {"a": null}], "is_hot": true}'


@pytest.mark.parametrize("end", range(1, len(ARGUMENTS) + 1))
def test_input_cut_anywhere_is_the_same_plain_and_streamed(end: int) -> None:
    part = ARGUMENTS[:end]
    used = {"type": "tool_use", "id": "toolu_01", "name": "f", "input": part}
    cut = {**ANSWER, "content": [used], "stop_reason": "max_tokens"}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {**ANSWER, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {**used, "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": part}},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    stream = Stream()
    sent = b"".join(stream.feed("", json.dumps(event).encode()) for event in events).decode().split("\n\n")[:-2]
    chunks = [ChatCompletionChunk.model_validate_json(each.removeprefix("data: ")) for each in sent]

    plain = ChatCompletion.model_validate_json(reply(json.dumps(cut).encode())).choices[0]
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]

    assert plain.finish_reason == "length" == chunks[-2].choices[0].finish_reason
    assert plain.message.model_dump()["tool_calls"][0]["function"]["arguments"] == part
    assert "".join(call.function.arguments or "" for call in calls if call.function) == part
