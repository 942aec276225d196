"""The whole pair: an answer goes back into the next request."""

import json

from gateway.dialects.chat_as_messages import Stream, reply, request

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
