"""Normalizes messages and stream events from Anthropic-compatible servers to Anthropic's own form.

A value whose type no client could use counts as absent.
"""

from typing import Any

from gateway.json.lenient import as_count, as_index, as_object, as_objects, as_text

_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_BLOCK_TEXTS = ("text", "id", "name", "thinking", "signature", "data")
_DELTA_TEXTS = ("text", "partial_json", "thinking", "signature")


def as_message(value: object) -> object:
    """Normalizes a message. A value that is not an object stays as it is: it is not a reply."""
    if not isinstance(value, dict):
        return value
    content = value.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    restored = {"content": _blocks(content), "usage": _usage(value.get("usage"))}
    return restored | _names(value) | _ending(value)


def as_event(value: object) -> object:
    """Normalizes an event. A value that is not an object becomes an event without a type."""
    event = as_object(value)
    message, block, delta = (event.get(name) for name in ("message", "content_block", "delta"))
    return {
        "type": as_text(event.get("type")) or "",
        "index": as_index(event.get("index")),
        "message": _names(message) | {"usage": _usage(message.get("usage"))} if isinstance(message, dict) else None,
        "content_block": _block(block) if isinstance(block, dict) else None,
        "delta": _delta(delta) if isinstance(delta, dict) else None,
        "usage": _usage(event.get("usage")),
    }


def _names(message: dict[str, Any]) -> dict[str, str | None]:
    return {name: as_text(message.get(name)) for name in ("id", "model")}


def _ending(delta: dict[str, Any]) -> dict[str, Any]:
    reason = delta.get("stop_reason")
    explanation = as_text(as_object(delta.get("stop_details")).get("explanation"))
    return {"stop_reason": reason if isinstance(reason, str) else None, "stop_details": {"explanation": explanation}}


def _blocks(content: object) -> list[dict[str, Any]] | None:
    return [_block(block) for block in as_objects(content)] if isinstance(content, list) else None


def _block(block: dict[str, Any]) -> dict[str, Any]:
    restored: dict[str, Any] = {name: as_text(block.get(name)) for name in _BLOCK_TEXTS}
    return restored | {"type": as_text(block.get("type")) or "", "input": block.get("input")}


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    texts = {name: as_text(delta.get(name)) for name in _DELTA_TEXTS}
    return texts | {"type": as_text(delta.get("type")) or ""} | _ending(delta)


def _usage(usage: object) -> dict[str, Any] | None:
    if not isinstance(usage, dict):
        return None
    thinking = as_object(usage.get("output_tokens_details")).get("thinking_tokens")
    counts: dict[str, Any] = {name: as_count(usage.get(name)) for name in _COUNTS}
    return counts | {"output_tokens_details": {"thinking_tokens": as_count(thinking)}}
