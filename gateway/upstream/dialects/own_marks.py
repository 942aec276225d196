"""Removes from a conversation what this gateway added for models of another provider, where the body passes otherwise
untouched: another provider would refuse it.

Only bodies with the gateway's mark are read; the search for it is all that other bodies cost.
"""

from typing import Any

import msgspec

from gateway.json.lenient import NOT_DECODED
from gateway.upstream.dialects import call_ids
from gateway.upstream.dialects.call_ids import MARK

_IN_BODY = MARK.encode()
_CALL_IDS = ("id", "tool_use_id")
_REASONING = ("reasoning_content", "reasoning_details")


def without_thoughts_in_chat(body: bytes) -> bytes:
    """Returns a chat request without Claude's thoughts."""
    return _changed(body, _plain_chat_message)


def without_thoughts_in_messages(body: bytes) -> bytes:
    """Returns a messages request without the thoughts of chat models, in blocks and in ids of calls."""
    return _changed(body, _plain_turn)


def _changed(body: bytes, change: Any) -> bytes:
    """Leaves a body alone that cannot be read: its provider names the fault."""
    if _IN_BODY not in body:
        return body
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        messages = msgspec.json.decode(fields["messages"], type=list[dict[str, msgspec.Raw]])
        kept = [changed for message in messages if (changed := change(message)) is not None]
        fields["messages"] = msgspec.Raw(msgspec.json.encode(kept))
        return msgspec.json.encode(fields)
    except (*NOT_DECODED, KeyError):
        return body


def _plain_chat_message(message: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    if _IN_BODY not in bytes(message.get("reasoning_details", b"")):
        return message
    return {name: value for name, value in message.items() if name not in _REASONING}


def _plain_turn(turn: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    """Returns None for a turn of which nothing is left."""
    content = bytes(turn.get("content", b""))
    if _IN_BODY not in content or not content.startswith(b"["):
        return turn
    blocks = msgspec.json.decode(content, type=list[dict[str, msgspec.Raw]])
    kept = [_plain_block(block) for block in blocks if not _is_thought(block)]
    return {**turn, "content": msgspec.Raw(msgspec.json.encode(kept))} if kept else None


def _is_thought(block: dict[str, msgspec.Raw]) -> bool:
    return bytes(block.get("signature", b"")).startswith(b'"' + _IN_BODY)


def _plain_block(block: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    changed = dict(block)
    for name in _CALL_IDS:
        if _IN_BODY in bytes(block.get(name, b"")):
            own = call_ids.for_messages(msgspec.json.decode(block[name], type=str))
            changed[name] = msgspec.Raw(msgspec.json.encode(own))
    return changed
