"""Tools at the fake provider: the calls in an answer, and the rules by which the real services refuse a conversation
whose calls and results do not match.
"""

import re
from typing import Any

import msgspec

PIECE = 7  # characters of arguments in one event: short enough to cut names, numbers and escapes in two
_ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+")
_OPENAI_ID_MOST = 40

Messages = list[msgspec.Raw]


class ToolCall(msgspec.Struct, frozen=True):
    id: str
    name: str
    arguments: str

    def in_chat(self, arguments: str) -> dict[str, Any]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}}

    def in_messages(self, given: object) -> dict[str, Any]:
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": given}

    def pieces(self) -> list[str]:
        return [self.arguments[start : start + PIECE] for start in range(0, len(self.arguments), PIECE)]


class _Name(msgspec.Struct):
    name: str


class _Tool(msgspec.Struct):
    name: str | None = None
    function: _Name | None = None


class _Call(msgspec.Struct):
    id: str


class _Part(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    tool_use_id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None

    def parts(self, kind: str) -> list[_Part]:
        return [part for part in self.content if part.type == kind] if isinstance(self.content, list) else []


def tool_names(tools: list[msgspec.Raw]) -> tuple[str, ...]:
    decoded = [msgspec.json.decode(tool, type=_Tool) for tool in tools]
    return tuple(tool.function.name if tool.function else tool.name or "" for tool in decoded)


def made(names: tuple[str, ...], number: int, count: int, prefix: str) -> tuple[ToolCall, ...]:
    """Returns ``count`` calls of the tools in turn. Their arguments hold characters that a translation easily loses:
    escapes, a number's digits, letters of several bytes.
    """
    return tuple(
        ToolCall(f"{prefix}_{number}_{k}", names[k % len(names)], f'{{"city": "Ålesund \\"{k}\\" 日本", "days": 2.50}}')
        for k in range(count if names else 0)
    )


def has_results(messages: Messages) -> bool:
    """Returns whether the conversation ends with results of tools."""
    last = msgspec.json.decode(messages[-1], type=_Message)
    return last.role == "tool" or bool(last.parts("tool_result"))


def check_chat(messages: Messages) -> None:
    """Raises ValueError where OpenAI answers 400."""
    unanswered: set[str] = set()
    for message in (msgspec.json.decode(raw, type=_Message) for raw in messages):
        if message.role == "tool":
            if message.tool_call_id not in unanswered:
                raise ValueError(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
                )
            unanswered.remove(message.tool_call_id)
            continue
        _refuse(unanswered, "'tool_calls' must be followed by tool messages responding to each 'tool_call_id'")
        unanswered = {call.id for call in message.tool_calls or ()}
        _refuse({each for each in unanswered if len(each) > _OPENAI_ID_MOST}, "tool_calls.id: string too long")
    _refuse(unanswered, "'tool_calls' must be followed by tool messages responding to each 'tool_call_id'")


def check_messages(messages: Messages) -> None:
    """Raises ValueError where Anthropic answers 400."""
    unanswered: set[str | None] = set()
    for message in (msgspec.json.decode(raw, type=_Message) for raw in messages):
        results = {part.tool_use_id for part in message.parts("tool_result")}
        _refuse(results - unanswered, "unexpected `tool_use_id` found in `tool_result` blocks")
        _refuse(unanswered - results, "`tool_use` ids were found without `tool_result` blocks immediately after")
        unanswered = {part.id for part in message.parts("tool_use")}
        strange = {each for each in unanswered if not _ANTHROPIC_ID.fullmatch(each or "")}
        _refuse(strange, "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    _refuse(unanswered, "`tool_use` ids were found without `tool_result` blocks immediately after")


def _refuse(ids: Any, reason: str) -> None:
    if ids:
        raise ValueError(f"{reason}: {sorted(map(str, ids))}")
