"""The whole translation with Anthropic's own client: its requests are translated, and it understands the answers."""

import json
from collections.abc import Callable
from itertools import pairwise

import anthropic
import httpx2
import pytest
from anthropic.types import Message, ToolParam
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.dialects.messages_as_chat.translation import Stream, reply, request

TOOL: ToolParam = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {}}}}
FUNCTION = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": FUNCTION}
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}
HEAD = {"id": "chatcmpl-1", "model": "gpt-4o"}


def client(answer: Callable[[dict[str, object]], httpx2.Response]) -> anthropic.Anthropic:
    def exchange(asked: httpx2.Request) -> httpx2.Response:
        return answer(json.loads(request(asked.content, "gpt-4o")))

    transport = httpx2.MockTransport(exchange)
    return anthropic.Anthropic(api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport))


def test_official_client_understands_a_reply() -> None:
    def answer(asked: dict[str, object]) -> httpx2.Response:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        choices = [{"message": message, "finish_reason": "tool_calls"}]
        body = reply(json.dumps({**HEAD, "choices": choices, "usage": USAGE}).encode())
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    message = client(answer).messages.create(
        model="m", max_tokens=10, tools=[TOOL], messages=[{"role": "user", "content": "Weather in Paris?"}]
    )

    assert message.content[0].model_dump(include={"type", "id", "name", "input"}) == {
        "type": "tool_use",
        "id": "call_1",
        "name": "get_weather",
        "input": {"city": "Paris"},
    }


def test_official_client_adds_up_a_stream() -> None:
    def answer(asked: dict[str, object]) -> httpx2.Response:
        assert asked["stream_options"] == {"include_usage": True}
        deltas: list[dict[str, object]] = [{"content": "Let "}, {"content": "me see."}, {"tool_calls": [CALL]}]
        chunks: list[dict[str, object]] = [{**HEAD, "choices": [{"delta": delta}]} for delta in deltas]
        chunks.append({**HEAD, "choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
        chunks.append({**HEAD, "choices": [], "usage": USAGE})
        stream = Stream()
        body = b"".join(stream.feed("", json.dumps(chunk).encode()) for chunk in chunks) + stream.feed("", b"[DONE]")
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    with client(answer).messages.stream(
        model="m", max_tokens=10, tools=[TOOL], messages=[{"role": "user", "content": "Weather in Paris?"}]
    ) as stream:
        message = stream.get_final_message()

    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.content[1].model_dump()["input"] == {"city": "Paris"}
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (
        10,
        2,
        7,
    )


ARGUMENTS = '{"city": "Zürich \\"é\\u00e9 \\ud83d\\ude00", "days": [1, 2.5e3, {"a": null}], "is_hot": true}'


def plainly(*calls: dict[str, object], finish_reason: str) -> Message:
    def answer(asked: dict[str, object]) -> httpx2.Response:
        message = {"role": "assistant", "content": "I look.", "tool_calls": calls}
        body = reply(json.dumps({**HEAD, "choices": [{"message": message, "finish_reason": finish_reason}]}).encode())
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    asked = {"role": "user", "content": "Weather in Paris?"}
    return client(answer).messages.create(model="m", max_tokens=10, tools=[TOOL], messages=[asked])  # type: ignore[list-item]


def streamed(*pieces: dict[str, object], finish_reason: str) -> Message:
    def answer(asked: dict[str, object]) -> httpx2.Response:
        deltas: list[dict[str, object]] = [{"content": "I look."}]
        deltas += [{"tool_calls": [piece]} for piece in pieces]
        chunks: list[dict[str, object]] = [{**HEAD, "choices": [{"delta": delta}]} for delta in deltas]
        chunks.append({**HEAD, "choices": [{"delta": {}, "finish_reason": finish_reason}]})
        stream = Stream()
        body = b"".join(stream.feed("", json.dumps(chunk).encode()) for chunk in chunks) + stream.feed("", b"[DONE]")
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    asked = {"role": "user", "content": "Weather in Paris?"}
    with client(answer).messages.stream(model="m", max_tokens=10, tools=[TOOL], messages=[asked]) as stream:  # type: ignore[list-item]
        return stream.get_final_message()


def call(arguments: str, call_id: str = "call_1") -> dict[str, object]:
    return {"index": int(call_id[-1]) - 1, "id": call_id, "function": {"name": "get_weather", "arguments": arguments}}


def seen(message: Message) -> object:
    fields = {"type", "text", "id", "name", "input"}
    return message.stop_reason, [block.model_dump(include=fields, exclude_none=True) for block in message.content]


@pytest.mark.parametrize("end", range(len(ARGUMENTS) + 1))
def test_answer_cut_anywhere_in_arguments_is_the_same_plain_and_streamed(end: int) -> None:
    plain = plainly(call(ARGUMENTS[:end]), finish_reason="length")

    assert plain.stop_reason == "max_tokens"
    assert [block.type for block in plain.content] == ["text", "tool_use"]
    assert seen(plain) == seen(streamed(call(ARGUMENTS[:end]), finish_reason="length"))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, len(ARGUMENTS)), st.sets(st.integers(0, len(ARGUMENTS)), max_size=5))
def test_answer_cut_in_its_second_call_is_the_same_however_it_is_streamed(end: int, cuts: set[int]) -> None:
    bounds = [0, *sorted(min(cut, end) for cut in cuts), end]
    pieces = [ARGUMENTS[start:stop] for start, stop in pairwise(bounds)]
    first = call(ARGUMENTS)
    later = [call("", "call_2"), *[{"index": 1, "function": {"arguments": piece}} for piece in pieces]]

    plain = plainly(first, call(ARGUMENTS[:end], "call_2"), finish_reason="length")

    assert seen(plain) == seen(streamed(first, *later, finish_reason="length"))


@pytest.mark.parametrize("arguments", ["[1]", "null", "city: Paris", '"{}"', '{"city": "Paris"}}', ""])
@pytest.mark.parametrize("finish_reason", ["tool_calls", "stop", "length"])
def test_odd_arguments_are_the_same_plain_and_streamed(arguments: str, finish_reason: str) -> None:
    plain = plainly(call(arguments), finish_reason=finish_reason)

    assert seen(plain) == seen(streamed(call(arguments), finish_reason=finish_reason))
