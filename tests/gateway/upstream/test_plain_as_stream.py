"""A server that ignores `stream`: its whole answer becomes the requested stream."""

import json
from typing import Any

import anthropic
import openai
import pytest

from gateway.request.calls import Kind
from gateway.upstream.plain_as_stream import as_stream
from gateway.upstream.stream_progress import Progress
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider, body_of, plain
from tests.support.token_counts import as_counted

HI: Any = [{"role": "user", "content": "hi"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
CHAT = body_of(
    id="c",
    object="chat.completion",
    created=1,
    model="m",
    choices=[
        {
            "index": 0,
            "message": {"role": "assistant", "content": "grüße", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
            "finish_reason": "tool_calls",
        }
    ],
    usage=USAGE,
)
MESSAGE = body_of(
    id="m",
    type="message",
    role="assistant",
    model="c",
    content=[
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "grüße"},
        {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}},
        {"type": "redacted_thinking", "data": "x"},
    ],
    stop_reason="tool_use",
    stop_sequence=None,
    usage={"input_tokens": 9, "output_tokens": 4},
)


def test_chat_client_reads_the_whole_answer(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = plain(CHAT)
    with (
        openai.OpenAI(base_url=f"{replica.url}/v1", api_key="any", max_retries=0) as chatgpt,
        chatgpt.chat.completions.stream(model="raw", messages=HI) as events,
    ):
        completion = events.get_final_completion()
    choice = completion.choices[0]

    assert (choice.message.content, choice.finish_reason) == ("grüße", "tool_calls")
    assert [call.id for call in choice.message.tool_calls or ()] == ["call_1", "call_2"]
    cluster.wait_until_idle()
    assert cluster.deployment("raw").get("failures", "0") == "0"


@pytest.mark.parametrize(("model", "body"), [("raw", CHAT), ("raw-claude", MESSAGE)], ids=["chat", "messages"])
def test_client_of_messages_reads_the_whole_answer_of_either_dialect(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, model: str, body: bytes
) -> None:
    raw_provider.answer = plain(body)
    with (
        anthropic.Anthropic(base_url=replica.url, api_key="any", max_retries=0) as claude,
        claude.messages.stream(model=model, max_tokens=9, messages=HI) as events,
    ):
        message = events.get_final_message()
    texts = [block.text for block in message.content if block.type == "text"]
    inputs = [block.input for block in message.content if block.type == "tool_use"]

    assert (texts, inputs[0], message.stop_reason) == (["grüße"], {"city": "Oslo"}, "tool_use")
    assert message.usage.output_tokens == 4
    cluster.wait_until_idle()
    assert cluster.deployment(model).get("failures", "0") == "0"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.CHAT, CHAT),
        (Kind.COMPLETION, body_of(choices=[{"text": "a", "finish_reason": "stop"}], usage=USAGE)),
        (Kind.MESSAGE, MESSAGE),
    ],
)
def test_stream_is_complete_and_has_the_usage(kind: Kind, body: bytes) -> None:
    stream, progress = as_stream(kind, body), Progress(kind)

    assert stream is not None
    assert progress.see(stream) == stream
    assert (progress.is_done, as_counted(progress.tokens())) == (True, (9, 4, 0))


def test_block_of_another_type_comes_whole() -> None:
    stream = as_stream(Kind.MESSAGE, MESSAGE) or b""

    assert json.dumps({"type": "redacted_thinking", "data": "x"}, separators=(",", ":")).encode() in stream


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.MESSAGE, Kind.RESPONSE])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"output": [], "content": "a"}'])
def test_anything_else_is_no_stream(kind: Kind, body: bytes) -> None:
    assert as_stream(kind, body) is None


def test_explanation_of_a_refusal_is_in_the_stream() -> None:
    details = {"type": "refusal", "category": None, "explanation": "I may not."}
    refused = {**json.loads(MESSAGE), "content": [], "stop_reason": "refusal", "stop_details": details}
    stream = as_stream(Kind.MESSAGE, json.dumps(refused).encode())

    assert stream is not None
    assert b'"stop_details":{"type":"refusal","category":null,"explanation":"I may not."}' in stream
