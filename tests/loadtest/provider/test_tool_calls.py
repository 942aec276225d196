"""Tools at the fake provider, over the wire: called while they are offered, answered once their results are there."""

import json
from typing import Any

import pytest

from tests.loadtest.process import ProviderProcess, Reply

QUESTION = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "function": {"name": "weather"}}
TOOL = {"name": "weather", "input_schema": {"type": "object"}}


def called(call_id: str) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    return {"role": "assistant", "tool_calls": [call]}


def used(use_id: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": use_id, "name": "weather", "input": {}}]}


def answered(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "sun"}


def resulted(use_id: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use_id, "content": "sun"}]}


def data(reply: Reply) -> list[Any]:
    lines = [line[6:] for line in reply.body.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_streamed_calls_add_up_to_the_plain_ones(provider: ProviderProcess) -> None:
    provider.behave(tool_calls=2)
    plain = provider.chat(tools=[FUNCTION]).json()["choices"][0]
    deltas = [chunk["choices"][0]["delta"] for chunk in data(provider.chat(tools=[FUNCTION], stream=True))]
    arguments = ["", ""]
    for delta in deltas:
        for piece in delta.get("tool_calls", []):
            arguments[piece["index"]] += piece["function"]["arguments"]

    assert plain["finish_reason"] == "tool_calls"
    assert arguments == [call["function"]["arguments"] for call in plain["message"]["tool_calls"]]
    assert json.loads(arguments[1])["days"] == 2.5


def test_streamed_uses_add_up_to_the_plain_ones(provider: ProviderProcess) -> None:
    provider.behave(tool_calls=2)
    plain = provider.message(tools=[TOOL]).json()
    pieces: dict[int, str] = {}
    for event in data(provider.message(tools=[TOOL], stream=True)):
        if event["type"] == "content_block_delta" and "partial_json" in event["delta"]:
            pieces[event["index"]] = pieces.get(event["index"], "") + event["delta"]["partial_json"]

    assert plain["stop_reason"] == "tool_use"
    assert [json.loads(text) for text in pieces.values()] == [block["input"] for block in plain["content"][1:]]


def test_results_are_answered_in_words(provider: ProviderProcess) -> None:
    provider.behave(tool_calls=2)
    chat = provider.chat(tools=[FUNCTION], messages=[QUESTION, called("a"), answered("a")])
    message = provider.message(tools=[TOOL], messages=[QUESTION, used("a"), resulted("a")])

    assert chat.json()["choices"][0]["finish_reason"] == "stop"
    assert message.json()["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    "messages",
    [
        [QUESTION, called("a")],
        [QUESTION, called("a"), QUESTION],
        [QUESTION, answered("a")],
        [QUESTION, called("a" * 41), answered("a" * 41)],
    ],
    ids=["unanswered", "answered late", "not called", "id too long"],
)
def test_chat_whose_calls_do_not_fit_is_refused(provider: ProviderProcess, messages: list[Any]) -> None:
    assert provider.chat(messages=messages).status == 400


@pytest.mark.parametrize(
    "messages",
    [
        [QUESTION, used("a")],
        [QUESTION, used("a"), QUESTION],
        [QUESTION, resulted("a")],
        [QUESTION, used("call.1:0"), resulted("call.1:0")],
    ],
    ids=["unanswered", "answered late", "not called", "id of other letters"],
)
def test_messages_whose_uses_do_not_fit_are_refused(provider: ProviderProcess, messages: list[Any]) -> None:
    assert provider.message(messages=messages).status == 400
