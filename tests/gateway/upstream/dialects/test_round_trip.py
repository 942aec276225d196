"""Content that both dialects can express survives a translation to the other one and back."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.dialects.chat_as_messages import translation as chat_as_messages
from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
INPUTS = st.dictionaries(NAMES, WORDS | st.integers(-1000, 1000) | st.booleans(), max_size=3)
TOOLS = st.lists(NAMES, min_size=1, max_size=3, unique=True)


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """In OpenAI's words: user and assistant in turns, tool calls with their results."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(WORDS)})
    calls = 0
    for _ in range(draw(st.integers(1, 4))):
        messages.append({"role": "user", "content": draw(WORDS)})
        names = draw(st.lists(NAMES, max_size=2))
        message: dict[str, Any] = {"role": "assistant", "content": draw(WORDS)}
        results = []
        for name in names:
            calls += 1
            function = {"name": name, "arguments": json.dumps(draw(INPUTS))}
            message.setdefault("tool_calls", []).append(
                {"id": f"call_{calls}", "type": "function", "function": function}
            )
            results.append({"role": "tool", "tool_call_id": f"call_{calls}", "content": draw(WORDS)})
        messages += [message, *results]
        if names:
            messages.append({"role": "assistant", "content": draw(WORDS)})
    messages.append({"role": "user", "content": draw(WORDS)})
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in draw(TOOLS)]
    more = {"max_tokens": draw(st.integers(1, 9999)), "temperature": draw(st.sampled_from([0.0, 0.5, 1.0]))}
    stop = draw(st.lists(WORDS, min_size=1, max_size=4))
    return {"model": "m", "messages": messages, "tools": tools, "stop": stop, "stream": False, **more}


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """Content as text, arguments as values: there are several ways to write both."""
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", [])
    ]
    return {"role": message["role"], "content": content, "calls": calls, "answers": message.get("tool_call_id")}


@given(conversations())
def test_request_comes_back_from_the_other_dialect(asked: dict[str, Any]) -> None:
    there = chat_as_messages.request(json.dumps(asked).encode(), "m")
    back = json.loads(messages_as_chat.request(there, "m"))

    assert [plain(message) for message in back["messages"]] == [plain(message) for message in asked["messages"]]
    assert [tool["function"]["name"] for tool in back["tools"]] == [tool["function"]["name"] for tool in asked["tools"]]
    assert {name: back[name] for name in ("model", "max_tokens", "temperature", "stop")} == {
        name: asked[name] for name in ("model", "max_tokens", "temperature", "stop")
    }


@given(WORDS, st.lists(st.tuples(NAMES, INPUTS), max_size=3), st.integers(0, 9999), st.integers(0, 9999))
def test_reply_comes_back_from_the_other_dialect(
    text: str, calls: list[tuple[str, dict[str, Any]]], prompt: int, completion: int
) -> None:
    used = [{"type": "tool_use", "id": f"t{k}", "name": name, "input": value} for k, (name, value) in enumerate(calls)]
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}, *used],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": prompt, "output_tokens": completion},
    }
    back = json.loads(messages_as_chat.reply(chat_as_messages.reply(json.dumps(message).encode())))

    assert [(b["type"], b.get("text"), b.get("name"), b.get("input")) for b in back["content"]] == [
        (b["type"], b.get("text"), b.get("name"), b.get("input")) for b in message["content"]
    ]
    assert back["stop_reason"] == message["stop_reason"]
    assert (back["usage"]["input_tokens"], back["usage"]["output_tokens"]) == (prompt, completion)
