"""Translates a chat completion to a response."""

import time
from typing import Annotated

import msgspec

from gateway.json.lenient import decoded
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_chunks import ChatUsage, Function
from gateway.upstream.dialects.chat_imitators import as_chat_reply
from gateway.upstream.dialects.chat_order import Block
from gateway.upstream.dialects.responses_as_chat.answer import (
    COMPLETED,
    CONTENT,
    INCOMPLETE,
    REASONING,
    REFUSAL,
    Frame,
    Item,
    Response,
    call_id_of,
    ended,
    incomplete_reason,
    response_id,
)

ENDED_IN_ERROR = "the provider ended its answer with the finish reason `error`"


class _ToolCall(msgspec.Struct, frozen=True):
    function: Function | None = None
    id: str | None = None


class _ChatMessage(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _ChatMessage
    finish_reason: str | None = None


class _ChatReply(msgspec.Struct, frozen=True):
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    id: str | None = None
    model: str | None = None
    usage: ChatUsage | None = None


_NO_FUNCTION = Function()
_reply = msgspec.json.Decoder(_ChatReply)


def reply(request: bytes, body: bytes) -> bytes:
    """Translates a whole reply to a client's request. Raises Malformed."""
    answer = decoded(_reply, body, as_chat_reply)
    choice = answer.choices[0]
    if choice.finish_reason == "error":
        raise Malformed(ENDED_IN_ERROR)
    frame = Frame(request)
    output = _output(frame, choice.message, is_cut=incomplete_reason(choice.finish_reason) is not None)
    begun = Response(response_id(answer.id), int(time.time()), "", answer.model or "", output)
    return frame.written(ended(begun, choice.finish_reason, answer.usage))


def _output(frame: Frame, message: _ChatMessage, *, is_cut: bool) -> list[Item]:
    """Returns the items. Only the last one of an answer that was cut is not whole."""
    texts = {
        REASONING: message.reasoning_content or message.reasoning,
        CONTENT: message.content,
        REFUSAL: message.refusal,
    }
    used: set[str] = set()
    parts = [(Block(key, is_call=False), "", text) for key, text in texts.items() if text]
    for call in message.tool_calls or ():
        function = call.function or _NO_FUNCTION
        arguments = function.arguments if (function.arguments or "").strip() else "{}"
        parts.append((Block("", is_call=True, name=function.name), call_id_of(call.id, used), arguments or ""))
    statuses = [COMPLETED] * (len(parts) - 1) + [INCOMPLETE if is_cut else COMPLETED]
    return [
        frame.item(block, frame.item_id(block), call_id, text, status)
        for (block, call_id, text), status in zip(parts, statuses, strict=False)
    ]
