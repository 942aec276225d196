"""Translates error objects between the dialects, so that an error keeps its kind.

Clients act on the kind: Anthropic's clients retry on `overloaded_error` and `rate_limit_error`, OpenAI's report `code`.
Fields without a counterpart, such as `details` and `request_id`, are kept.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

API_ERROR = "api_error"
_INVALID_REQUEST = "invalid_request_error"
_MESSAGE_TYPES = frozenset(
    {
        _INVALID_REQUEST,
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "timeout_error",
        "conflict_error",
        "overloaded_error",
        API_ERROR,
    }
)
_BY_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Parts of `code`, `status` and `type` in lower case, without their underscores. The first match in this order wins.
_BY_WORD = (
    ("overloaded", "overloaded_error"),
    ("unavailable", "overloaded_error"),
    ("throttl", "rate_limit_error"),  # before `quota`: DashScope sends `Throttling.RateQuota`
    ("quota", "billing_error"),
    ("billing", "billing_error"),
    ("ratelimit", "rate_limit_error"),
    ("toomanyrequests", "rate_limit_error"),
    ("resourceexhausted", "rate_limit_error"),
    ("contextlength", _INVALID_REQUEST),
    ("contextwindow", _INVALID_REQUEST),
    ("invalidapikey", "authentication_error"),
    ("authentication", "authentication_error"),
    ("unauth", "authentication_error"),
    ("permission", "permission_error"),
    ("forbidden", "permission_error"),
    ("notfound", "not_found_error"),
    ("requesttoolarge", "request_too_large"),
    ("timeout", "timeout_error"),
    ("deadlineexceeded", "timeout_error"),
    ("invalid", _INVALID_REQUEST),
    ("badrequest", _INVALID_REQUEST),
    ("contentfilter", _INVALID_REQUEST),
    ("contentpolicy", _INVALID_REQUEST),
    ("unsupported", _INVALID_REQUEST),
)
_CODE_OF_TYPE = {
    "overloaded_error": "server_is_overloaded",
    "rate_limit_error": "rate_limit_exceeded",
    "request_too_large": "request_too_large",
}


def chat_error_fields(message_error: Mapping[str, Any]) -> dict[str, Any]:
    """Returns OpenAI's error object for Anthropic's ``{"type", "message"}``. The type is kept."""
    kind = _word(message_error.get("type")) or API_ERROR
    details = message_error.get("details")
    detailed = details.get("error_code") if isinstance(details, Mapping) else None
    code = message_error.get("code") or detailed
    return {
        **message_error,
        "message": _text(message_error.get("message")),
        "type": kind,
        "param": message_error.get("param"),
        "code": code if isinstance(code, str | int) else _CODE_OF_TYPE.get(kind),
    }


def message_error_fields(chat_error: Mapping[str, Any]) -> dict[str, Any]:
    """Returns Anthropic's error object for OpenAI's ``{"message", "type", "param", "code"}`` or that of a compatible
    server. `code` and `param` are kept as additional fields, and a type that Anthropic does not have as
    `provider_type`.
    """
    kind = message_error_type(chat_error)
    given = chat_error.get("type")
    kept = {name: value for name, value in chat_error.items() if value is not None and name not in ("type", "message")}
    if isinstance(given, str) and given and given != kind:
        kept["provider_type"] = given
    return {"type": kind, "message": _text(chat_error.get("message")), **kept}


def message_error_type(chat_error: Mapping[str, Any]) -> str:
    """Returns the type on which an Anthropic client acts. A `code` is more exact than a `type`: with
    `invalid_request_error` OpenAI sends `invalid_api_key` as well as `context_length_exceeded`.
    """
    values = [chat_error.get(name) for name in ("code", "status", "status_code", "type")]
    for value in values:
        if kind := _kind_of(value):
            return kind
    return API_ERROR


def _kind_of(value: object) -> str | None:
    word = _word(value)
    if word in _MESSAGE_TYPES:
        return word
    if word.isascii() and word.isdigit():
        status = int(word[:4])
        return _BY_STATUS.get(status, _INVALID_REQUEST if 400 <= status < 500 else None)
    plain = word.lower().replace("_", "").replace("-", "").replace(" ", "")
    return next((kind for part, kind in _BY_WORD if part in plain), None)


def _word(value: object) -> str:
    """Returns a name or a status as text. A bool, which is an int in Python, is not a status."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _text(message: object) -> str:
    """Returns a message as text: some servers send lists or objects instead."""
    if isinstance(message, str):
        return message
    return "" if message is None else msgspec.json.encode(message).decode()
