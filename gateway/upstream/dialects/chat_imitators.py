"""Normalizes chat completions and chunks from OpenAI-compatible servers to OpenAI's own form.

A value whose type no client could use counts as absent.
"""

import json
from typing import Any

from gateway.json.lenient import as_count, as_index, as_object, as_objects, as_text
from gateway.upstream.dialects.thoughts import FIELDS

_TEXT_PARTS = (None, "text", "output_text")
_THOUGHT_PARTS = ("thinking",)


def as_chat_reply(value: object) -> object:
    """Normalizes a completion. A value that is not an object stays as it is: it is not a reply. A completion without
    choices is an empty answer.
    """
    if not isinstance(value, dict):
        return value
    is_empty = not value.get("choices") and value.get("object") == "chat.completion"
    return _restored({**value, "choices": [{"message": {}}]} if is_empty else value, "message")


def as_chat_chunk(value: object) -> object:
    """Normalizes a chunk. A value that is not an object becomes a chunk without choices."""
    return _restored(as_object(value), "delta")


def _restored(value: dict[str, Any], answer: str) -> dict[str, Any]:
    choices = [_choice(choice, answer) for choice in as_objects(value.get("choices"))]
    restored = {"choices": choices, "usage": _usage(value.get("usage")), "error": value.get("error")}
    return restored | {name: as_text(value.get(name)) for name in ("id", "model")}


def _choice(choice: dict[str, Any], answer: str) -> dict[str, Any]:
    """Restores an empty message where there is only a reason: Gemini omits the message of an answer that it blocked."""
    finish_reason = choice.get("finish_reason")
    finish_reason = finish_reason if isinstance(finish_reason, str) else None
    message = choice.get(answer)
    restored: dict[str, Any] = {"finish_reason": finish_reason, "index": as_index(choice.get("index"))}
    if isinstance(message, dict) or finish_reason:
        restored[answer] = _message(as_object(message))
    return restored


def _message(message: dict[str, Any]) -> dict[str, Any]:
    thoughts = {name: _text(message.get(name)) for name in FIELDS}
    return thoughts | {
        "content": _text(message.get("content")),
        "thoughts": _thoughts(message.get("content")),
        "refusal": _text(message.get("refusal")),
        "reasoning_content": _text(message.get("reasoning_content")),
        "reasoning": _text(message.get("reasoning")),
        "tool_calls": [_call(call) for call in as_objects(message.get("tool_calls"))],
    }


def _text(content: object) -> str | None:
    """Returns the text of a content. Mistral's reasoning models send a list of parts; the text parts are the answer."""
    if not isinstance(content, list):
        return as_text(content)
    texts = [
        part if isinstance(part, str) else as_object(part).get("text")
        for part in content
        if isinstance(part, str) or as_object(part).get("type") in _TEXT_PARTS
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _thoughts(content: object) -> str | None:
    """Returns the reasoning among the parts of a content."""
    parts = [part for part in as_objects(content) if part.get("type") in _THOUGHT_PARTS]
    return "".join(_text(part.get("thinking")) or "" for part in parts) or None


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Normalizes a tool call: some servers send the arguments as an object instead of its text."""
    function = as_object(call.get("function"))
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    named = {"name": as_text(function.get("name")), "arguments": arguments}
    google = as_object(as_object(call.get("extra_content")).get("google"))
    extra = {"google": {"thought_signature": as_text(google.get("thought_signature"))}}
    return {
        "index": as_index(call.get("index")),
        "id": as_text(call.get("id")),
        "function": named,
        "extra_content": extra,
    }


def _usage(usage: object) -> dict[str, Any] | None:
    if not isinstance(usage, dict):
        return None
    return {
        "prompt_tokens": as_count(usage.get("prompt_tokens")),
        "completion_tokens": as_count(usage.get("completion_tokens")),
        "prompt_tokens_details": _counts(usage.get("prompt_tokens_details"), "cached_tokens", "cache_write_tokens"),
        "completion_tokens_details": _counts(usage.get("completion_tokens_details"), "reasoning_tokens"),
    }


def _counts(details: object, *names: str) -> dict[str, int | None]:
    return {name: as_count(as_object(details).get(name)) for name in names}
