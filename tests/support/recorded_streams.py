"""Streams as providers send them, one event an item: for tests that must not depend on how bytes are cut."""

import json
from typing import Any


def data(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def event(name: str, **fields: Any) -> bytes:
    return b"event: " + name.encode() + b"\n" + data({"type": name, **fields})


def delta(finish_reason: str | None = None, **fields: Any) -> bytes:
    return data({"id": "c", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]})


ROLE = delta(role="assistant", content="")
DONE = b"data: [DONE]\n\n"
USAGE = data({"id": "c", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}})
START = event("message_start", message={"id": "m", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}})
PING = event("ping")
TEXT_BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
THINKING_BLOCK = event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
TOOL_BLOCK = event(
    "content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}
)
HELLO = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "grüße 😀"})
BLOCK_STOP = event("content_block_stop", index=0)
MESSAGE_END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
MESSAGE_STOP = event("message_stop")
CREATED = event("response.created", sequence_number=0, response={"id": "r", "error": None})
IN_PROGRESS = event("response.in_progress", sequence_number=1, response={"id": "r", "error": None})
ITEM = event("response.output_item.added", sequence_number=2, item={"type": "message", "content": []})
PART = event("response.content_part.added", sequence_number=3, part={"type": "output_text", "text": ""})
CALL_ITEM = event("response.output_item.added", sequence_number=2, item={"type": "function_call", "name": "f"})
TEXT = event("response.output_text.delta", sequence_number=4, delta="hello")
COMPLETED = event(
    "response.completed",
    sequence_number=5,
    response={"id": "r", "error": None, "usage": {"input_tokens": 9, "output_tokens": 4}},
)
FAILED = event(
    "response.failed",
    sequence_number=5,
    response={"id": "r", "error": {"code": "context_length_exceeded", "message": "too long"}},
)
