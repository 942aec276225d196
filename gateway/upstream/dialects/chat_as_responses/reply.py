"""Translates a response to a chat completion. Items without a counterpart, such as reasoning, are left out."""

import time
from typing import Any

import msgspec

from gateway.json.lenient import NOT_DECODED, as_count, as_object, as_objects, as_text, read
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_as_messages.reply import (
    CalledFunction,
    ChatMessage,
    ChatReply,
    ChatUsage,
    Choice,
    CompletionTokensDetails,
    PromptTokensDetails,
    ToolCall,
    reply_id,
)

_ENDED = frozenset({"failed", "cancelled"})


def reply(body: bytes) -> bytes:
    """Translates a whole response. Raises Malformed."""
    try:
        response = read(body)
    except NOT_DECODED as error:
        raise Malformed(str(error)) from error
    if not isinstance(response, dict) or not isinstance(response.get("output"), list):
        raise Malformed("not a response")
    if as_text(response.get("status")) in _ENDED:
        raise Malformed(f"the response ended as {response['status']}")
    items = as_objects(response["output"])
    parts = [part for item in items if item.get("type") == "message" for part in as_objects(item.get("content"))]
    text = "".join(as_text(part.get("text")) or "" for part in parts if part.get("type") == "output_text")
    refusal = "".join(as_text(part.get("refusal")) or "" for part in parts if part.get("type") == "refusal")
    calls = [call_of(item) for item in items if item.get("type") == "function_call"]
    message = ChatMessage(None if (calls or refusal) and not text else text, calls or msgspec.UNSET, refusal or None)
    chat = ChatReply(
        id=reply_id(as_text(response.get("id"))),
        created=int(time.time()),
        model=as_text(response.get("model")) or "",
        choices=[Choice(message, finish_reason(response, has_calls=bool(calls)))],
        usage=chat_usage(response.get("usage")),
    )
    return msgspec.json.encode(chat)


def call_of(item: dict[str, Any]) -> ToolCall:
    call_id = as_text(item.get("call_id")) or as_text(item.get("id"))
    function = CalledFunction(as_text(item.get("name")) or "", as_text(item.get("arguments")) or "{}")
    return ToolCall(call_id or reply_id(None).replace("chatcmpl-", "call_"), function)


def finish_reason(response: dict[str, Any], *, has_calls: bool) -> str:
    """Translates how a response ended."""
    if response.get("status") == "incomplete":
        reason = as_object(response.get("incomplete_details")).get("reason")
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if has_calls else "stop"


def chat_usage(usage: object) -> ChatUsage:
    """Translates usage, zeros where there is none. A part never exceeds its whole."""
    counted = as_object(usage)
    details, output = (as_object(counted.get(f"{name}_tokens_details")) for name in ("input", "output"))
    prompt, completion = (as_count(counted.get(f"{name}_tokens")) or 0 for name in ("input", "output"))
    cached = min(as_count(details.get("cached_tokens")) or 0, prompt)
    written = min(as_count(details.get("cache_write_tokens")) or 0, prompt - cached)
    reasoning = min(as_count(output.get("reasoning_tokens")) or 0, completion)
    return ChatUsage(
        prompt,
        completion,
        prompt + completion,
        PromptTokensDetails(cached, written),
        CompletionTokensDetails(reasoning),
    )
