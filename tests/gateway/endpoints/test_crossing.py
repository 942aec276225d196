"""Requests and conversations that cross from one dialect to the other, over real sockets."""

import json
from typing import Any

import anthropic
import openai
import pytest

from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider, plain
from tests.support.wire import Answer

HI: list[Any] = [{"role": "user", "content": "hi"}]
TOOLS: list[Any] = [{"name": "look", "input_schema": {"type": "object"}}]


def post(replica: ReplicaProcess, path: str, body: Any) -> Answer:
    return replica.request("POST", path, json.dumps(body).encode())


@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 3}])
@pytest.mark.parametrize("is_stream", [False, True])
def test_request_that_claude_cannot_answer_goes_to_a_candidate_that_can(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, fields: dict[str, Any], is_stream: bool
) -> None:
    body = {"model": "raw-claude-saved", "messages": HI, "stream": is_stream, **fields}
    answer = post(replica, "/v1/chat/completions", body)
    cluster.wait_until_idle()

    assert (answer.status, answer.headers["x-pllm-deployment"]) == (200, "spare")
    assert raw_provider.requests == []
    assert cluster.deployment("raw-claude-saved").get("failures", "0") == "0"


@pytest.mark.parametrize(("model", "path"), [("raw", "/v1/messages"), ("raw-claude", "/v1/chat/completions")])
@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=utf-8", "application/octet-stream"])
def test_error_in_plain_text_reaches_the_client_of_the_other_dialect(
    replica: ReplicaProcess, raw_provider: RawProvider, model: str, path: str, content_type: str
) -> None:
    raw_provider.answer = plain("Der Prompt ist zu groß.\n".encode(), "400 Bad Request", content_type)
    answer = post(replica, path, {"model": model, "max_tokens": 9, "messages": HI})

    assert answer.status == 400
    assert "Der Prompt ist zu groß." in answer.json()["error"]["message"]


def test_conversation_moves_from_a_chat_model_to_anthropic(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    """With ids that Anthropic refuses, and with reasoning that it did not sign."""
    function = {"name": "look", "arguments": "{}"}
    call = {"id": "functions.look:0", "type": "function", "function": function}
    message = {"role": "assistant", "content": "", "reasoning_content": "Hm.", "tool_calls": [call]}
    chat = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    raw_provider.answer = plain(json.dumps(chat).encode())
    with anthropic.Anthropic(base_url=replica.url, api_key="any", max_retries=0) as claude:
        first = claude.messages.create(model="raw", max_tokens=9, messages=HI, tools=TOOLS)
        result = {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "sun"}  # type: ignore[union-attr]
        turns: list[Any] = [*HI, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        raw_provider.answer = plain(b'{"type": "message", "role": "assistant", "content": [], "usage": {}}')
        claude.messages.create(model="raw-claude", max_tokens=9, messages=turns, tools=TOOLS)
    sent = json.loads(raw_provider.requests[-1][1])["messages"]

    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    assert [block["type"] for block in sent[1]["content"]] == ["tool_use"]
    assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"] == first.content[1].id  # type: ignore[union-attr]


def test_conversation_moves_from_anthropic_to_a_chat_model(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    """Claude's thoughts return to Claude, and no other provider gets them."""
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
    ]
    message = {"type": "message", "role": "assistant", "content": content, "stop_reason": "tool_use", "usage": {}}
    raw_provider.answer = plain(json.dumps(message).encode())
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key="any", max_retries=0) as chatgpt:
        first = chatgpt.chat.completions.create(model="raw-claude", messages=HI).choices[0].message
        result = {"role": "tool", "tool_call_id": "toolu_1", "content": "sun"}
        turns: list[Any] = [*HI, first, result]
        chatgpt.chat.completions.create(model="raw-claude", messages=turns, reasoning_effort="low", max_tokens=5000)
        again = json.loads(raw_provider.requests[-1][1])
        raw_provider.answer = plain(b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}]}')
        chatgpt.chat.completions.create(model="raw", messages=turns)
    elsewhere = json.loads(raw_provider.requests[-1][1])

    assert again["messages"][1]["content"] == content
    assert again["thinking"] == {"type": "adaptive"}
    assert not {name for name in elsewhere["messages"][1] if name.startswith("reasoning")}
