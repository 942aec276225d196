"""Names of tools that one dialect accepts and the other refuses.

A shortened name ends in a digest of the whole one, so that it is the same in every turn: cached prompts still match.
The tools of its request give back the name that the client knows.
"""

import hashlib
import re
from collections.abc import Iterable

_MOST_IN_CHAT = 64  # characters; OpenAI refuses longer names
_MOST_IN_MESSAGES = 128  # characters; Anthropic refuses longer names
_DIGEST = 10  # hexadecimal digits
_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")  # by both
_SHORTENED = re.compile(r"[a-zA-Z0-9_-]*_[0-9a-f]{10}\Z")


def for_chat(name: str) -> str:
    return _accepted(name, _MOST_IN_CHAT)


def for_messages(name: str) -> str:
    return _accepted(name, _MOST_IN_MESSAGES)


def may_be_shortened(name: str) -> bool:
    return _SHORTENED.match(name) is not None


def originals(names: Iterable[str]) -> dict[str, str]:
    """Returns the client's ``names`` by those that providers know them by."""
    known = list(names)
    translated = {translate(name): name for translate in (for_chat, for_messages) for name in known}
    return translated | {name: name for name in known}


def _accepted(name: str, most: int) -> str:
    """Returns the name, shortened where it is refused. An empty name stays: the provider refuses it by its place."""
    if len(name) <= most and not _REFUSED.search(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{_REFUSED.sub('_', name)[: _MOST_IN_CHAT - _DIGEST - 1]}_{digest}"
