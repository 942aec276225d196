"""Estimates the tokens of a prompt, for providers that cannot count them. docs/coding-clients.md has the rule.

It reads no dialect in depth: it adds up the names and values of the fields that make the prompt, so that a new kind of
item is counted as well.
"""

from typing import Any

import msgspec

from gateway.request.calls import BYTES_PER_TOKEN, NOT_JSON, Kind

ATTACHMENT_TOKENS = 1_600  # an image of the largest size that providers do not scale down, or a page
_SCALAR_BYTES = 4  # of a number, true, false or null
_ATTACHMENTS = frozenset({"image", "document", "input_image", "input_file"})
_PROMPTS = {
    Kind.MESSAGE: ("system", "messages", "tools", "tool_choice", "output_config", "output_format", "mcp_servers"),
    Kind.RESPONSE: ("instructions", "input", "tools", "tool_choice", "text"),
}


def estimate(kind: Kind, body: bytes) -> int:
    """Returns at least 1. ``body``: a request of this kind that has been parsed before."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(body)
    except NOT_JSON:  # more levels than Python reads
        return max(1, len(body) // BYTES_PER_TOKEN)
    size = attachments = 0
    left: list[Any] = [fields[name] for name in _PROMPTS[kind] if name in fields]
    while left:
        value = left.pop()
        if isinstance(value, str):
            size += len(value) if value.isascii() else len(value.encode(errors="replace"))
        elif isinstance(value, list):
            left += value
        elif not isinstance(value, dict):
            size += _SCALAR_BYTES
        elif isinstance(value.get("type"), str) and value["type"] in _ATTACHMENTS:
            attachments += 1
        else:
            left += value.keys()
            left += value.values()
    return max(1, -(-size // BYTES_PER_TOKEN) + attachments * ATTACHMENT_TOKENS)
