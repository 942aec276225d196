"""Streamed tool calls in odd but legal pieces, read by the other provider's official client."""

import json
from typing import Any

import anthropic
import openai
import pytest

from tests.support.cluster import ReplicaProcess
from tests.support.raw_provider import DONE_EVENT, RawProvider, stream

ARGUMENTS = [{"city": 'Ol"d}\\ \n é'}, {}, {"deep": [{"a": {}}]}]
WRITTEN = [json.dumps(arguments) for arguments in ARGUMENTS]
TOOL: dict[str, Any] = {"name": "weather", "input_schema": {"type": "object"}}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
HI: Any = [{"role": "user", "content": "hi"}]


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c", "model": "raw", "choices": [choice]}).encode() + b"\n\n"


def piece(index: int, arguments: str, *, is_first: bool = False) -> dict[str, Any]:
    start = {"id": f"call_{index}", "type": "function"} if is_first else {}
    name = {"name": "weather"} if is_first else {}
    return {"index": index, **start, "function": {**name, "arguments": arguments}}


def called(*pieces: dict[str, Any]) -> bytes:
    return chunk({"tool_calls": list(pieces)})


def by_turns(first: int) -> list[bytes]:
    """A letter of each call, again and again."""
    begin = [called(piece(first + number, "", is_first=True)) for number in range(3)]
    longest = max(map(len, WRITTEN))
    letters = [
        piece(first + number, written[at])
        for at in range(longest)
        for number, written in enumerate(WRITTEN)
        if at < len(written)
    ]
    return begin + [called(letter) for letter in letters]


def whole(first: int) -> list[bytes]:
    return [called(*[piece(first + number, written, is_first=True) for number, written in enumerate(WRITTEN)])]


def without_index() -> list[bytes]:
    """What belongs to no call by its id goes on with the one before."""
    parts = [(number, part) for number, written in enumerate(WRITTEN) for part in ("", written[:1], written[1:])]
    pieces = [piece(number, part, is_first=not part) for number, part in parts]
    return [called({name: value for name, value in each.items() if name != "index"}) for each in pieces]


@pytest.mark.parametrize("pieces", [by_turns(0), by_turns(1), whole(0), whole(1), without_index()])
def test_chat_calls_reach_a_messages_client_whole(
    replica: ReplicaProcess, raw_provider: RawProvider, pieces: list[bytes]
) -> None:
    raw_provider.answer = stream(chunk({"content": "I look."}), *pieces, chunk({}, "tool_calls"), DONE_EVENT)
    with (
        anthropic.Anthropic(base_url=replica.url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="raw", max_tokens=9, messages=HI, tools=[TOOL]) as events,  # type: ignore[list-item]
    ):
        message = events.get_final_message()

    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["text", *["tool_use"] * 3]
    assert [block.input for block in message.content if block.type == "tool_use"] == ARGUMENTS
    assert len({block.id for block in message.content if block.type == "tool_use"}) == 3


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def block_events(indexes: list[int]) -> list[bytes]:
    """Three blocks that grow by a letter in turn and end in reverse."""
    starts = [
        event(
            "content_block_start",
            index=index,
            content_block={"type": "tool_use", "id": f"toolu_{index}", "name": "weather", "input": {}},
        )
        for index in indexes
    ]
    growth = [
        event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": written[at]})
        for at in range(max(map(len, WRITTEN)))
        for index, written in zip(indexes, WRITTEN, strict=True)
        if at < len(written)
    ]
    return starts + growth + [event("content_block_stop", index=index) for index in reversed(indexes)]


@pytest.mark.parametrize("indexes", [[0, 1, 2], [1, 2, 3], [9, 4, 7]])
def test_message_calls_reach_a_chat_client_whole(
    replica: ReplicaProcess, raw_provider: RawProvider, indexes: list[int]
) -> None:
    raw_provider.answer = stream(
        event("message_start", message={"id": "msg_1", "model": "raw", "usage": {"input_tokens": 1}}),
        *block_events(indexes),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 5}),
        event("message_stop"),
    )
    arguments: dict[int, str] = {}
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key="k", max_retries=0) as client:
        chunks = client.chat.completions.create(model="raw-claude", messages=HI, tools=[FUNCTION], stream=True)
        choices = [each.choices[0] for each in chunks if each.choices]
    for call in [call for choice in choices for call in choice.delta.tool_calls or ()]:
        arguments[call.index] = arguments.get(call.index, "") + ((call.function and call.function.arguments) or "")

    assert [json.loads(arguments[index]) for index in range(3)] == ARGUMENTS
    assert choices[-1].finish_reason == "tool_calls"
