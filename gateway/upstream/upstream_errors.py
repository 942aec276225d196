"""A provider's error in any of the known shapes, and the HTTP status that it stands for.

Known shapes: `{"error": {…}}` (OpenAI, Anthropic, vLLM), the same in a list (Google), `{"error": "words"}` (TGI, xAI),
`{"object": "error", "message": …}` (Mistral), `{"detail": "words" or [{"loc", "msg"}]}` (FastAPI), `{"message": …}`
(Bedrock, Cohere), `{"error_code", "message"}` (Databricks), `{"errors": [{"message"}]}` (Cloudflare).
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.json.lenient import NOT_DECODED, read

WORDS_MOST = 2_000
FIELDS_MOST = 8_192  # bytes: larger other fields of an error do not reach the client
_ITEMS_MOST = 5  # problems of a list
_WORDS_KEYS = ("message", "Message", "msg", "detail", "error", "reason", "description", "faultstring")
_BARE_KEYS = ("message", "Message", "detail", "msg", "errors", "error_msg", "errorMessage", "reason", "fault")
_OWN = frozenset({"message", "type", "param", "code"})
_STATUS_KEYS = ("status", "http_code", "status_code", "statusCode")


class UpstreamError(msgspec.Struct, frozen=True):
    """A provider's error object in one shape."""

    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None  # vLLM sends an integer
    status: str | int | None = None  # the HTTP status or status name inside the error
    fields: Mapping[str, Any] = {}  # the other fields of the error object
    request_id: str | None = None  # the provider's, next to the error object (Anthropic)


def error_of(body: bytes) -> UpstreamError | None:
    """Returns the error in the body of an answer with an error status, None when its shape is unknown."""
    try:
        return error_in(read(body))
    except NOT_DECODED:
        return None


def error_in(value: object) -> UpstreamError | None:
    """Returns the error in a decoded body of any shape. The caller must know that the value is an error."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    if isinstance(inner, list):
        inner = inner[0] if inner else None
    if isinstance(inner, dict) and inner:
        return _error(inner, value)
    errors = value.get("errors")
    if not inner and isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return _error(errors[0], value)
    words = inner or next((value[key] for key in _BARE_KEYS if value.get(key)), None)
    if isinstance(value.get("error_description"), str) and isinstance(words, str):
        words = f"{words}: {value['error_description']}"
    if not isinstance(words, str | list | dict):
        return None
    kind = value.get("error_type") or value.get("type")
    code = value.get("code") if value.get("code") is not None else value.get("error_code")
    return UpstreamError(_words(words), _text(kind), _text(value.get("param")), _code(code), _status(value))


def announced_error(value: object) -> UpstreamError | None:
    """Returns the error in a decoded body or event of a 200, None when the value is not marked as an error."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    if not is_blank(value.get("error")) or value.get("object") == "error" or value.get("type") == "error":
        return error_in(value) or UpstreamError()
    if not value.keys() & _ANSWERS and (value.get("detail") or "error_code" in value or value.get("errors")):
        return error_in(value)
    return None


def is_blank(error: object) -> bool:
    """Returns whether an error object means no error: some servers send an empty one, or code 0, with each answer."""
    if not isinstance(error, dict):
        return not error
    return not any(error.values()) or error.get("code") in _NO_ERROR


_NO_ERROR = ("0", 0)
_ANSWERS = frozenset({"choices", "content", "output", "data", "type", "usage"})


def _error(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> UpstreamError:
    fields = {key: value for key, value in inner.items() if key not in _OWN}
    if fields and not _is_bounded(fields):
        fields = {}
    kind, code = inner.get("type"), inner.get("code")
    return UpstreamError(
        _words(next((inner[key] for key in _WORDS_KEYS if inner.get(key)), "")),
        _text(kind),
        _text(inner.get("param")),
        _code(code if code is not None else outer.get("code")),
        _status(inner) or _status(outer),
        fields,
        _text(outer.get("request_id")),
    )


def _is_bounded(fields: Mapping[str, Any]) -> bool:
    try:
        return len(msgspec.json.encode(fields)) <= FIELDS_MOST
    except RecursionError:
        return False


def _words(value: object) -> str:
    if isinstance(value, str):
        return value[:WORDS_MOST]
    if isinstance(value, list):
        return "; ".join(_words(item) for item in value[:_ITEMS_MOST])[:WORDS_MOST]
    if isinstance(value, dict):
        words = next((_words(value[key]) for key in _WORDS_KEYS if value.get(key)), "")
        place = value.get("loc")
        if words and isinstance(place, list):
            return f"{'.'.join(str(part) for part in place)}: {words}"[:WORDS_MOST]
        return words or msgspec.json.encode(value).decode()[:WORDS_MOST]
    return str(value)[:WORDS_MOST]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: object) -> str | int | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _status(value: Mapping[str, Any]) -> str | int | None:
    return next((code for key in _STATUS_KEYS if (code := _code(value.get(key))) is not None), None)


# The names that Anthropic, OpenAI, Google (gRPC), vLLM, AWS and LiteLLM use, by HTTP status.
_NAMES = {
    400: "invalid_request_error bad_request bad_request_error invalid_argument failed_precondition out_of_range "
    "validation validation_error validation_exception context_length_exceeded string_above_max_length "
    "exceed_context_size_error model_context_window_exceeded context_window_exceeded_error content_filter "
    "content_policy_violation empty_image_file failed_to_download_image unsupported_image_media_type value_error "
    "client_error unprocessable_entity_error",
    401: "authentication_error unauthenticated invalid_api_key unauthorized",
    402: "billing_error payment_required insufficient_credits",
    403: "permission_error permission_denied permission_denied_error forbidden access_denied_exception",
    404: "not_found_error not_found model_not_found resource_not_found_exception",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "aborted conflict conflict_error already_exists",
    413: "request_too_large request_entity_too_large",
    429: "rate_limit_error rate_limit_exceeded rate_limit resource_exhausted too_many_requests throttling "
    "throttling_exception insufficient_quota tokens requests request_limit_exceeded",
    499: "cancelled",
    500: "api_error server_error internal internal_error internal_server_error unknown data_loss",
    501: "unimplemented not_implemented",
    503: "unavailable service_unavailable service_unavailable_error server_is_overloaded slow_down",
    504: "timeout_error timeout deadline_exceeded vector_store_timeout",
    529: "overloaded_error overloaded engine_overloaded_error",
}
_STATUS_OF_NAME = {name.replace("_", ""): status for status, names in _NAMES.items() for name in names.split()}
_NOT_LETTERS = re.compile(r"[^a-z0-9]")
_REQUEST_PREFIXES = ("invalid", "image", "unsupported")


def status_of(error: UpstreamError, default: int = 500) -> int:
    """Returns the HTTP status that an error within a 200 stands for: its own status or numeric code, else the status
    that its code or type names.
    """
    for code in (error.code, error.status):
        number = int(code) if isinstance(code, int) or (code and code.isdecimal() and len(code) == 3) else 0
        if 400 <= number <= 599:
            return number
    for label in (error.code, error.status, error.type):
        if isinstance(label, str):
            name = _NOT_LETTERS.sub("", label.lower())
            if name in _STATUS_OF_NAME:
                return _STATUS_OF_NAME[name]
            if name.startswith(_REQUEST_PREFIXES):
                return 400
    return default
