"""Ids of tool calls, where one provider made them and another one reads them in the history.

What the reader would refuse is replaced by a digest: the same id gives the same one in every turn, so that calls find
their results and a provider its cached prompt.
"""

import hashlib
import re

_MESSAGES_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # others are refused by Anthropic
_CHAT_ID_MOST = 40  # characters; longer ones are refused by OpenAI


def for_messages(call_id: str) -> str:
    return call_id if _MESSAGES_ID.fullmatch(call_id) else f"toolu_{_digest(call_id)}"


def for_chat(call_id: str) -> str:
    return call_id if len(call_id) <= _CHAT_ID_MOST else f"call_{_digest(call_id)}"


def _digest(call_id: str) -> str:
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
