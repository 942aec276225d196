"""Decodes compressed request bodies, within the bounds of other bodies: decoded bytes count, not those on the wire."""

from collections.abc import Iterable

from gateway.errors import GatewayError, InvalidRequest, RequestTooLarge
from gateway.http.asgi_messages import Header
from gateway.http.content_codings import CODINGS, Decoder, NotDecodable, coding_of
from gateway.request.body_memory import HeldBody
from gateway.request.off_loop import off_loop_if

SMALL = 65_536  # bytes that are decoded on the event loop, before and after: less than a millisecond
STEP = 1_048_576  # bytes that are decoded at once off the event loop, before they are counted

_NAME = "content-encoding"


class UnsupportedCoding(GatewayError):
    """The gateway cannot decode the body."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_content_encoding"


def accepted_coding(headers: Iterable[Header]) -> str:
    """Returns the coding of a request's body, empty without one. Raises UnsupportedCoding."""
    coding = coding_of(headers)
    if coding and coding not in CODINGS:
        names = f"{', '.join(CODINGS[:-1])} and {CODINGS[-1]}"
        message = f"The gateway cannot decode the content-encoding `{coding[:100]}`. It accepts {names}, one at a time."
        error = UnsupportedCoding(message, param=_NAME)
        error.headers.append((b"accept-encoding", ", ".join(CODINGS).encode()))
        raise error
    return coding


async def decoded(coding: str, body: bytes, most: int, held: HeldBody, tenant: str) -> bytes:
    """Returns the decoded body, at most ``most`` bytes. ``held``: its account, of the decoded bytes afterwards.
    Raises InvalidRequest, RequestTooLarge, ReplicaFault.
    """
    if not body:
        return body
    decoder = Decoder(coding)
    decoder.feed(body)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            is_large = len(body) > SMALL or size >= SMALL
            part = await off_loop_if(is_large, decoder.piece, STEP if is_large else SMALL)
            if not part:
                break
            held.add(tenant, len(part))
            parts.append(part)
            size += len(part)
            if size > most:
                raise RequestTooLarge(f"The decoded request body is larger than {most} bytes.")
    except NotDecodable:
        raise InvalidRequest(f"The request body is not valid {coding}.", param=_NAME) from None
    if not decoder.is_complete:
        raise InvalidRequest(f"The request body ends before its {coding} data does.", param=_NAME)
    held.release_part(len(body))
    return parts[0] if len(parts) == 1 else b"".join(parts)
