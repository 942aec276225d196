"""Ids of tool calls that one provider made and another provider reads in the history.

A digest replaces an id that the reader would refuse. The same id gives the same digest in every turn, so that results
match their calls and cached prompts still match.
"""

import hashlib
import re

_MESSAGES_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # Anthropic refuses other ids
_CHAT_ID_MOST = 40  # characters; OpenAI refuses longer ids
_RESPONSES_ID_MOST = 64  # in its responses


def for_messages(call_id: str) -> str:
    return call_id if _MESSAGES_ID.fullmatch(call_id) else f"toolu_{_digest(call_id)}"


def for_chat(call_id: str) -> str:
    return call_id if len(call_id) <= _CHAT_ID_MOST else f"call_{_digest(call_id)}"


def for_responses(call_id: str) -> str:
    return call_id if len(call_id) <= _RESPONSES_ID_MOST else f"call_{_digest(call_id)}"


def _digest(call_id: str) -> str:
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
