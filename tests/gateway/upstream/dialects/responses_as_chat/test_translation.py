"""The whole translation with OpenAI's own client: its requests are translated, and it understands the answers."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
from openai.types.responses import ToolParam

from gateway.upstream.dialects.responses_as_chat.translation import Stream, reply, request

TOOL: ToolParam = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Paris"}'}}
USAGE = {"prompt_tokens": 12, "completion_tokens": 7}
HEAD = {"id": "chatcmpl-1", "model": "gpt-4o"}


def client(answer: Callable[[bytes, dict[str, Any]], httpx2.Response]) -> openai.OpenAI:
    def exchange(sent: httpx2.Request) -> httpx2.Response:
        return answer(sent.content, json.loads(request(sent.content, "gpt-4o")))

    transport = httpx2.MockTransport(exchange)
    return openai.OpenAI(api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport))


def plain(own: bytes, message: dict[str, Any]) -> httpx2.Response:
    body = json.dumps({**HEAD, "choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE})
    return httpx2.Response(200, content=reply(own, body.encode()), headers={"content-type": "application/json"})


def test_official_client_understands_a_reply_and_sends_its_output_back() -> None:
    def answer(own: bytes, chat: dict[str, Any]) -> httpx2.Response:
        if any(message["role"] == "tool" for message in chat["messages"]):
            assert [message["role"] for message in chat["messages"]] == ["user", "assistant", "tool"]
            assert chat["messages"][1]["reasoning_content"] == "Hm."
            return plain(own, {"content": "It rains."})
        return plain(own, {"content": None, "reasoning_content": "Hm.", "tool_calls": [CALL]})

    talk: list[Any] = [{"role": "user", "content": "Weather?"}]
    first = client(answer).responses.create(model="m", input=talk, tools=[TOOL])
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    talk += [item.model_dump(exclude_unset=True) for item in first.output]
    talk.append({"type": "function_call_output", "call_id": "call_1", "output": "rain"})

    assert client(answer).responses.create(model="m", input=talk, tools=[TOOL]).output_text == "It rains."


def test_official_client_adds_up_a_stream() -> None:
    def answer(own: bytes, chat: dict[str, Any]) -> httpx2.Response:
        assert chat["stream_options"] == {"include_usage": True}
        deltas: list[dict[str, Any]] = [{"reasoning": "Hm."}, {"content": "Let "}, {"content": "me see."}]
        deltas.append({"tool_calls": [CALL]})
        chunks: list[dict[str, Any]] = [{**HEAD, "choices": [{"delta": delta}]} for delta in deltas]
        chunks.append({**HEAD, "choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
        chunks.append({**HEAD, "choices": [], "usage": USAGE})
        stream = Stream(own)
        body = b"".join(stream.feed("", json.dumps(chunk).encode()) for chunk in chunks) + stream.feed("", b"[DONE]")
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    with client(answer).responses.stream(model="m", input="Weather?", tools=[TOOL]) as stream:
        response = stream.get_final_response()

    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.output_text == "Let me see."
    assert response.output[2].to_dict()["arguments"] == '{"city":"Paris"}'
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (12, 7, 19)
