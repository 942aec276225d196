"""Errors in the form that each kind of call has for them."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import GatewayError
from gateway.http.error_bodies import body_of, headers_of, message_body_of
from gateway.request.calls import Kind

_MESSAGES = f"/v1{Kind.MESSAGE.value}"


def rendered(request: Request, error: GatewayError, headers: dict[str, str] | None = None) -> Response:
    """Anthropic's clients know more endpoints under this path than there are here."""
    path: str = request.scope["path"]  # request.url takes the Host header along, and breaks on some
    is_message = f"{path}/".startswith(f"{_MESSAGES}/")
    body = error_body(Kind.MESSAGE if is_message else Kind.CHAT, error)
    response = Response(body, status_code=error.status, headers=headers)
    response.raw_headers.extend(headers_of(error))
    return response


def error_body(kind: Kind, error: GatewayError) -> bytes:
    """In the dialect of the caller."""
    return message_body_of(error) if kind is Kind.MESSAGE else body_of(error)


def error_status(kind: Kind, error: GatewayError) -> int:
    """In the dialect of the caller: Anthropic has a status of its own for a provider that is overloaded."""
    return error.message_status or error.status if kind is Kind.MESSAGE else error.status


def error_event(kind: Kind, error: GatewayError, sequence_number: int = 0) -> bytes:
    """The last event of a stream that broke; ``sequence_number``: of an event of a response."""
    match kind:
        case Kind.MESSAGE:
            return b"event: error\ndata: %b\n\n" % message_body_of(error)
        case Kind.RESPONSE:
            fields: dict[str, object] = {"type": "error"}
            fields |= {"code": error.code, "message": error.message, "param": error.param}
            if error.provider is not None:
                chat = error.provider.chat
                fields |= {name: chat[name] for name in ("code", "message", "param") if chat.get(name) is not None}
            return b"event: error\ndata: %b\n\n" % msgspec.json.encode(fields | {"sequence_number": sequence_number})
        case _:
            return b"data: %b\n\n" % body_of(error)
