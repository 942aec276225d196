"""Whether a plain body with status 200 is an answer or an error."""

import re

from gateway.json.lenient import NOT_DECODED, read
from gateway.request.calls import Kind
from gateway.upstream.stream_content import ENDED_IN_ERROR, ended_empty_in_error
from gateway.upstream.upstream_errors import UpstreamError, announced_error, error_in

_RESPONSE_OBJECT = re.compile(rb'"object"\s*:\s*"response"')


def announced(wire: Kind, body: bytes) -> UpstreamError | None:
    """The error in a body of a 200, also OpenRouter's, which stands in a choice."""
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
    """Whether a chat answer that ends in an error has text or calls, which its client may use all the same."""
    try:
        value = read(body)
    except NOT_DECODED:
        return False
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = first.get("message")
    said = isinstance(message, dict) and (message.get("content") or message.get("tool_calls"))
    return bool(said or first.get("text"))


def is_response(body: bytes) -> bool:
    """Whether the error stands in a response object, which has a status of its own."""
    return b'"output"' in body or _RESPONSE_OBJECT.search(body) is not None


def no_reply(body: bytes, reason: str) -> str:
    """A page means that something else than the provider's API answers at this address."""
    return "the answer is an HTML page (is base_url right?)" if body.lstrip()[:1] == b"<" else reason
