"""Renders errors: their bodies in each dialect, and their headers. No other module does."""

import math

import msgspec

from gateway.errors import Attempt, GatewayError

JSON = (b"content-type", b"application/json")
# Given a longer wait, OpenAI's older clients retry at once, and Anthropic's sleep for all of it, even for a day.
WAIT_MOST_MS = 60_000


def body_of(error: GatewayError) -> bytes:
    """Returns the OpenAI error object as JSON; it is also the data of a stream's error event."""
    fields: dict[str, object] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.provider is not None:
        fields |= error.provider.chat
    return msgspec.json.encode({"error": fields | _listed(error)})


def _listed(error: GatewayError) -> dict[str, object]:
    fields: dict[str, object] = {} if error.facts is None else {"details": error.facts}
    if error.details:
        fields["attempts" if isinstance(error.details[0], Attempt) else "details"] = error.details
    return fields


_MESSAGE_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def message_body_of(error: GatewayError) -> bytes:
    """Returns Anthropic's error object as JSON, with our code added and the faulty field named in the message."""
    if error.provider is not None:
        own = error.provider.message
        whole = {"type": "error", "error": own | (_listed(error) if "attempts" not in own else {})}
        return msgspec.json.encode(
            whole | ({"request_id": error.provider.request_id} if error.provider.request_id else {})
        )
    kind = _MESSAGE_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    text = error.message if not error.param or error.param in error.message else f"{error.param}: {error.message}"
    fields: dict[str, object] = {"type": kind, "message": text}
    if error.code:
        fields["code"] = error.code
    return msgspec.json.encode({"type": "error", "error": fields | _listed(error)})


def headers_of(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """Returns the headers of an error's response, those for retries included."""
    headers = [JSON, *error.headers]
    if error.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_ms / 1000))))
        headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
    if error.attempts:
        headers.append((b"x-pllm-attempts", b"%d" % error.attempts))
    if error.is_in_vain or (error.retry_after_ms or 0) > WAIT_MOST_MS:
        headers.append((b"x-should-retry", b"false"))
    return headers
