"""Renders errors in the dialect of each kind of call."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import GatewayError
from gateway.http.error_bodies import body_of, headers_of, message_body_of
from gateway.request.calls import Kind

_MESSAGES = f"/v1{Kind.MESSAGE.value}"


def rendered(request: Request, error: GatewayError, headers: dict[str, str] | None = None) -> Response:
    """Returns the response to an error."""
    body = error_body(Kind.MESSAGE if expects_message_dialect(request) else Kind.CHAT, error)
    response = Response(body, status_code=error.status, headers=headers)
    response.raw_headers.extend(headers_of(error))
    return response


def expects_message_dialect(request: Request) -> bool:
    """Returns whether the client is one of Anthropic's. Paths below /v1/messages are theirs, unknown ones as well: they
    call more endpoints there than the gateway has. Both kinds of clients list models at one address, so there the
    header decides that all of Anthropic's send.
    """
    path: str = request.scope["path"]  # request.url is built from the Host header, and raises for some
    if f"{path}/".startswith("/v1/models/"):
        return "anthropic-version" in request.headers
    return f"{path}/".startswith(f"{_MESSAGES}/")


def error_body(kind: Kind, error: GatewayError) -> bytes:
    """Returns the body in the dialect of the call."""
    return message_body_of(error) if kind is Kind.MESSAGE else body_of(error)


def error_status(kind: Kind, error: GatewayError) -> int:
    """Returns the status in the dialect of the call: Anthropic has its own status for an overloaded provider."""
    return error.message_status or error.status if kind is Kind.MESSAGE else error.status


def error_event(kind: Kind, error: GatewayError, sequence_number: int = 0) -> bytes:
    """Returns the last event of a broken stream. ``sequence_number``: for the dialect of responses."""
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
