"""Answers in the shapes of many providers, in the other dialect.

Nothing is lost, however the bytes are cut, and the next turn may go to either provider.
"""

import itertools
import json
import re
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from gateway.request.calls import Kind
from gateway.upstream.dialects import call_ids
from gateway.upstream.dialects.chat_as_messages import translation as chat_as_messages
from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat
from gateway.upstream.dialects.origin import Origin
from gateway.upstream.dialects.own_marks import without_thoughts_in_chat, without_thoughts_in_messages
from gateway.upstream.sse import WholeEvents, translated
from tests.support.provider_shapes import SHAPES, Shape

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
NAMES = sorted(SHAPES)
USER = {"role": "user", "content": "How is the weather?"}
MADE_UP = re.compile(rb"pllm-id-[0-9a-f]{6}|toolu_[0-9a-f]{32}|msg_[0-9a-f]{32}|\"created\":\d+")


class Got:
    """An answer as a client of the other dialect puts it together."""

    def __init__(self) -> None:
        self.thinking = self.text = self.model = self.reason = ""
        self.signatures: list[Any] = []
        self.calls: list[list[str]] = []  # id, name, input as text
        self.tokens = (0, 0)

    def essence(self) -> tuple[object, ...]:
        calls = tuple((name, json.loads(text or "{}")) for _, name, text in self.calls)
        return self.thinking, self.text, calls, self.tokens


def origin(shape: Shape) -> Origin:
    return Origin("mine", shape.model)


def converted(shape: Shape, packets: list[bytes]) -> bytes:
    stream: Any = messages_as_chat.Stream if shape.kind is Kind.CHAT else chat_as_messages.Stream
    convert, held = translated(stream(origin=origin(shape)).feed), WholeEvents()
    parts = [convert(whole) for packet in packets if (whole := held.take(packet))]
    return MADE_UP.sub(b"", b"".join(parts))


def streamed(shape: Shape) -> Got:
    stream: Any = messages_as_chat.Stream if shape.kind is Kind.CHAT else chat_as_messages.Stream
    sent = translated(stream(origin=origin(shape)).feed)(b"".join(shape.events)).decode()
    values = [
        json.loads(line[6:]) for line in sent.splitlines() if line.startswith("data: ") and line != "data: [DONE]"
    ]
    got = Got()
    for value in values:
        (_add_event if shape.kind is Kind.CHAT else _add_chunk)(got, value)
    return got


def _add_event(got: Got, event: dict[str, Any]) -> None:
    EVENTS.validate_python(event)
    delta = event.get("delta") or {}
    if event["type"] == "message_start":
        assert not got.model
        got.model = event["message"]["model"]
    elif event.get("content_block", {}).get("type") == "tool_use":
        got.calls.append([event["content_block"]["id"], event["content_block"]["name"], ""])
    elif event["type"] == "message_delta":
        got.reason, got.tokens = delta["stop_reason"], (event["usage"]["input_tokens"], event["usage"]["output_tokens"])
    elif delta.get("type") == "input_json_delta":
        got.calls[-1][2] += delta["partial_json"]
    got.thinking += delta.get("thinking", "")
    got.text += delta.get("text", "")
    got.signatures += [delta["signature"]] if "signature" in delta else []


def _add_chunk(got: Got, chunk: dict[str, Any]) -> None:
    ChatCompletionChunk.model_validate(chunk, strict=False)
    got.model = chunk["model"]
    if chunk["usage"]:
        got.tokens = (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
    for choice in chunk["choices"]:
        delta, got.reason = choice["delta"], choice["finish_reason"] or got.reason
        got.text += delta.get("content") or ""
        got.thinking += delta.get("reasoning_content") or ""
        got.signatures += delta.get("reasoning_details") or []
        for call in delta.get("tool_calls") or ():
            if "id" in call:
                got.calls.append([call["id"], call["function"]["name"], ""])
            got.calls[call["index"]][2] += call["function"].get("arguments", "")


def whole(shape: Shape) -> Got:
    body, got = json.dumps(shape.whole).encode(), Got()
    if shape.kind is Kind.MESSAGE:
        chat = json.loads(chat_as_messages.reply(body, origin(shape)))
        ChatCompletion.model_validate(chat)
        choice, counts = chat["choices"][0], chat["usage"]
        message = choice["message"]
        got.text, got.thinking = message["content"] or "", message.get("reasoning_content") or ""
        got.signatures = message.get("reasoning_details") or []
        used = [[call["id"], *call["function"].values()] for call in message.get("tool_calls") or ()]
        got.calls, got.reason = used, choice["finish_reason"]
        got.tokens = (counts["prompt_tokens"], counts["completion_tokens"])
        return got
    answer = json.loads(messages_as_chat.reply(body, origin(shape)))
    Message.model_validate(answer)
    for block in answer["content"]:
        got.text += block.get("text", "")
        got.thinking += block.get("thinking", "")
        got.signatures += [block["signature"]] if "signature" in block else []
        if block["type"] == "tool_use":
            got.calls.append([block["id"], block["name"], json.dumps(block["input"])])
    got.reason, got.tokens = answer["stop_reason"], (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])
    return got


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("read", [streamed, whole])
def test_client_of_the_other_dialect_gets_all_of_the_answer(name: str, read: Any) -> None:
    shape = SHAPES[name]
    got = read(shape)

    assert got.essence() == (shape.thinking, shape.text, shape.calls, shape.tokens)
    usual, called = ("end_turn", "tool_use") if shape.kind is Kind.CHAT else ("stop", "tool_calls")
    assert got.reason == (called if shape.calls else usual)


@pytest.mark.parametrize("name", NAMES)
def test_stream_cut_at_every_event_is_the_same_stream(name: str) -> None:
    shape = SHAPES[name]

    assert converted(shape, shape.events) == converted(shape, [b"".join(shape.events)])


@pytest.mark.parametrize("name", NAMES)
def test_stream_that_ends_after_any_event_is_the_beginning_of_the_stream(name: str) -> None:
    shape = SHAPES[name]
    complete = converted(shape, shape.events)

    for end in range(len(shape.events)):
        assert complete.startswith(converted(shape, shape.events[:end]))


@given(st.sampled_from(NAMES), st.lists(st.integers(1, 4000), max_size=15))
def test_stream_cut_at_random_places_is_the_same_stream(name: str, cuts: list[int]) -> None:
    shape = SHAPES[name]
    body = b"".join(shape.events)
    places = [0, *sorted({min(cut, len(body)) for cut in cuts}), len(body)]

    packets = [body[start:end] for start, end in itertools.pairwise(places)]
    assert converted(shape, packets) == converted(shape, [body])


def history(shape: Shape, got: Got) -> list[dict[str, Any]]:
    """The conversation with this answer and the results of its calls, in the dialect of the client."""
    if shape.kind is Kind.MESSAGE:
        functions = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in got.calls]
        message = {"role": "assistant", "content": got.text, "tool_calls": functions}
        message |= {"reasoning_content": got.thinking, "reasoning_details": got.signatures}
        results = [{"role": "tool", "tool_call_id": call_id, "content": "1"} for call_id, _, _ in got.calls]
        return [USER, message, *results]
    thoughts = [{"type": "thinking", "thinking": got.thinking, "signature": got.signatures[0]}] if got.thinking else []
    texts = [{"type": "text", "text": got.text}] if got.text else []
    used = [{"type": "tool_use", "id": i, "name": n, "input": json.loads(a or "{}")} for i, n, a in got.calls]
    answers = [{"type": "tool_result", "tool_use_id": call_id, "content": "1"} for call_id, _, _ in got.calls]
    return [
        USER,
        {"role": "assistant", "content": [*thoughts, *texts, *used]},
        {"role": "user", "content": answers or "?"},
    ]


def test_next_turn_of_a_chat_model_has_what_the_model_needs() -> None:
    """Its reasoning and its own ids, where it made some."""
    for name, shape in SHAPES.items():
        if shape.kind is not Kind.CHAT:
            continue
        body = json.dumps({"model": "m", "max_tokens": 9, "messages": history(shape, streamed(shape))}).encode()
        sent = json.loads(messages_as_chat.request(body, shape.model))["messages"]
        ids = [call["id"] for call in sent[1].get("tool_calls", [])]
        demands = bool(shape.calls) and name in ("deepseek", "qwen", "kimi", "glm")

        assert ids[: len(shape.ids)] == list(shape.ids)
        assert [message["tool_call_id"] for message in sent[2:] if message["role"] == "tool"] == ids
        assert sent[1].get("reasoning_content") == (shape.thinking if demands else None)
        if name == "gemini":
            assert sent[1]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln+/=="}}


def test_next_turn_may_go_to_anthropic() -> None:
    for shape in SHAPES.values():
        if shape.kind is not Kind.CHAT:
            continue
        body = json.dumps({"model": "m", "max_tokens": 9, "messages": history(shape, streamed(shape))}).encode()
        sent = without_thoughts_in_messages(body)
        blocks = json.loads(sent)["messages"][1]["content"]

        assert call_ids.MARK.encode() not in sent
        assert {block["type"] for block in blocks} <= {"text", "tool_use"}
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", block["id"]) for block in blocks if "id" in block)


@pytest.mark.parametrize("name", ["bedrock", "vertex"])
def test_next_turn_of_claude_has_its_thoughts_and_another_provider_gets_none(name: str) -> None:
    shape = SHAPES[name]
    messages = history(shape, streamed(shape))
    body = json.dumps({"model": "m", "reasoning_effort": "low", "messages": messages}).encode()
    sent = json.loads(chat_as_messages.request(body, shape.model))
    elsewhere = json.loads(without_thoughts_in_chat(body))["messages"][1]

    assert sent["messages"][1]["content"] == shape.whole["content"]
    assert elsewhere.keys() == {"role", "content", "tool_calls"}
