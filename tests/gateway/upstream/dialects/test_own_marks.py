"""What the gateway added for models of one provider does not reach another one."""

import json
from typing import Any

import pytest

from gateway.upstream.dialects import call_ids
from gateway.upstream.dialects.own_marks import without_thoughts_in_chat, without_thoughts_in_messages

OWN = {"type": "thinking", "thinking": "hm", "signature": "pllm-thought.deepseek.reasoning_content"}
CLAUDES = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
TEXT = {"type": "text", "text": "pllm-thought"}
SIGNED_ID = call_ids.for_client("call_1", call_ids.Signature("c2ln", "gemini"))
DETAIL = {"type": "reasoning.text", "text": "hm", "signature": "EqQB", "format": "pllm-thought", "index": 0}


def messages(*turns: dict[str, Any]) -> Any:
    body = json.dumps({"model": "m", "n": 1.50, "messages": turns}).encode()
    return json.loads(without_thoughts_in_messages(body))["messages"]


def turn(*content: dict[str, Any], role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": list(content)}


def test_thinking_of_a_chat_model_does_not_reach_anthropic() -> None:
    assert messages(turn(OWN, CLAUDES, TEXT)) == [turn(CLAUDES, TEXT)]


def test_turn_of_nothing_else_is_left_out() -> None:
    user = {"role": "user", "content": "pllm-thought"}

    assert messages(user, turn(OWN), user) == [user, user]


def test_id_loses_its_thought_signature_in_call_and_result() -> None:
    used = {"type": "tool_use", "id": SIGNED_ID, "name": "f", "input": {"pllm-thought": 1}}
    result = {"type": "tool_result", "tool_use_id": SIGNED_ID, "content": "pllm-thought"}
    sent = messages(turn(used), turn(result, role="user"))

    assert sent == [turn({**used, "id": "call_1"}), turn({**result, "tool_use_id": "call_1"}, role="user")]


@pytest.mark.parametrize(
    "body", [b'{"a": "pllm-thought"', b'["pllm-thought"]', b'{"messages": ["pllm-thought"]}', b"{ }"]
)
def test_body_without_thoughts_or_without_sense_passes_as_bytes(body: bytes) -> None:
    assert without_thoughts_in_messages(body) is body
    assert without_thoughts_in_chat(body) is body


def test_thoughts_of_claude_do_not_reach_a_chat_provider() -> None:
    other = {"role": "assistant", "content": "b", "reasoning_content": "of DeepSeek"}
    own = {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [DETAIL]}
    body = json.dumps({"model": "m", "messages": [own, other], "seed": 10**30}).encode()
    sent = json.loads(without_thoughts_in_chat(body))

    assert sent == {"model": "m", "messages": [{"role": "assistant", "content": "a"}, other], "seed": 10**30}
