"""The error objects of OpenAI and Anthropic."""

from typing import Any


class Refusal(Exception):
    """The service refuses a call with this error."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


def error_fields(
    is_message: bool, status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Returns an error. ``is_message``: in Anthropic's dialect; ``code``: instead of the usual one."""
    if is_message:
        error_type = _ANTHROPIC_ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": error_type, "message": message}}
    error_type, usual = _OPENAI_ERRORS.get(status, ("server_error", None))
    return {"error": {"message": message, "type": error_type, "param": param, "code": code or usual}}


_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_OPENAI_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
