"""Decides whether a plain body with status 200 is an answer or an error."""

import re

from gateway.json.lenient import NOT_DECODED, read
from gateway.request.calls import Kind
from gateway.upstream.stream_content import ENDED_IN_ERROR, ended_empty_in_error
from gateway.upstream.upstream_errors import UpstreamError, announced_error, error_in

_RESPONSE_OBJECT = re.compile(rb'"object"\s*:\s*"response"')


def announced(wire: Kind, body: bytes) -> UpstreamError | None:
    """Returns the error in the body of a 200, or None. OpenRouter puts it into a choice."""
    if b'"error' not in body and b'"detail"' not in body:
        return None
    try:
        value = read(body)
    except NOT_DECODED:
        return None
    error = announced_error(value)
    if error is None and wire in (Kind.CHAT, Kind.COMPLETION) and isinstance(value, dict):
        choices = value.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(first, dict) and isinstance(first.get("error"), dict):
            return error_in(first)
        return ENDED_IN_ERROR if ended_empty_in_error(value) else None
    return error


def has_words(body: bytes) -> bool:
    """Returns whether a chat answer that ends in an error has text or tool calls, which its client may still use."""
    try:
        value = read(body)
    except NOT_DECODED:
        return False
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = first.get("message")
    content = isinstance(message, dict) and (message.get("content") or message.get("tool_calls"))
    return bool(content or first.get("text"))


def is_response(body: bytes) -> bool:
    """Returns whether the error is part of a response object, which has its own status."""
    return b'"output"' in body or _RESPONSE_OBJECT.search(body) is not None


def no_reply(body: bytes, reason: str) -> str:
    """Returns why a body is not a reply. An HTML page shows that base_url is not the provider's API."""
    return "the answer is an HTML page (is base_url right?)" if body.lstrip()[:1] == b"<" else reason
