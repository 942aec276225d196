"""The HTTP/1.1 text that connections and early refusals write."""

import http
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache

Address = tuple[str, int] | None  # None: of a unix socket
# Takes the bytes that a connection received between two requests and the address of its client. Returns the response
# that refuses the request, or None to serve it.
Refuse = Callable[[bytes, Address], bytes | None]
_REFUSAL = (
    b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"connection: close\r\n\r\n"
    b'{"error":{"message":"%b","type":"invalid_request_error","param":null,"code":"invalid_http"}}'
)

_SURPLUS_BODY = (
    b'{"error":{"message":"The gateway has no room for another connection.","type":"service_unavailable_error",'
    b'"param":null,"code":"server_is_overloaded"}}'
)
SURPLUS = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"content-length: %d\r\ncache-control: no-store\r\nconnection: close\r\n\r\n%b"
    % (len(_SURPLUS_BODY), _SURPLUS_BODY)
)


@lru_cache(maxsize=2)
def date_line(second: int) -> bytes:
    return b"date: " + formatdate(second, usegmt=True).encode() + b"\r\n"


@lru_cache(maxsize=64)
def status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def refusal(status: int, message: bytes) -> bytes:
    phrase = http.HTTPStatus(status).phrase.encode()
    return _REFUSAL % (status, phrase, len(_REFUSAL.partition(b"\r\n\r\n")[2]) - 2 + len(message), message)
