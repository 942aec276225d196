"""Errors in the form that each kind of call has for them."""

import msgspec

from gateway.calls import Kind
from gateway.errors import GatewayError, body_of, message_body_of


def error_body(kind: Kind, error: GatewayError) -> bytes:
    """In the dialect of the caller."""
    return message_body_of(error) if kind is Kind.MESSAGE else body_of(error)


def error_event(kind: Kind, error: GatewayError) -> bytes:
    """The last event of a stream that broke."""
    match kind:
        case Kind.MESSAGE:
            return b"event: error\ndata: %b\n\n" % message_body_of(error)
        case Kind.RESPONSE:
            fields = {"type": "error", "code": error.code, "message": error.message, "param": error.param}
            return b"event: error\ndata: %b\n\n" % msgspec.json.encode(fields | {"sequence_number": 0})
        case _:
            return b"data: %b\n\n" % body_of(error)
