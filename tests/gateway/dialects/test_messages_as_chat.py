"""The whole pair under Anthropic's own client: what it sends is translated, and it understands what comes back."""

import json
from collections.abc import Callable

import anthropic
import httpx2
from anthropic.types import ToolParam

from gateway.dialects.messages_as_chat import Stream, reply, request

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
