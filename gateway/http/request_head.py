"""Checks a request's head for what RFC 9110 and 9112 demand beyond its syntax: one valid Host, and a target that is a
path of this server.
"""

from collections.abc import Iterable

import httptools
import msgspec

from gateway.http.host_header import parse_host
from gateway.http.http_text import refusal

Header = tuple[bytes, bytes]

_CONTINUE = b"100-continue"
_OTHER_VERSION = "Invalid HTTP version"  # llhttp's reason for one digit, a dot and one digit that it does not know


class InvalidHead(Exception):
    """A request head that is refused with ``status``; the message reaches the client."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Head(msgspec.Struct):
    """A checked request head."""

    target: bytes  # path and query
    headers: list[Header]  # Host included; in absolute form the target's authority
    keeps_alive: bool  # the connection may serve another request
    awaits_go: bool  # the client sends its body only after `100 Continue`


def checked_head(method: str, url: bytes, version: str, headers: list[Header]) -> Head:
    """Returns the head as the application sees it. Header names are in lower case. Raises InvalidHead."""
    keeps_alive, awaits_go, host = version == "1.1", False, None
    for name, value in headers:
        if name == b"host":
            if host is not None:
                raise InvalidHead("The request has two Host headers.")
            host = value
        elif name == b"connection" and b"close" in value.lower():
            keeps_alive = False
        elif name == b"expect":
            if value.lower() != _CONTINUE:
                raise InvalidHead("100-continue is the only supported expectation.", 417)
            awaits_go = version == "1.1"
        elif name == b"transfer-encoding" and version == "1.0":
            raise InvalidHead("HTTP/1.0 has no Transfer-Encoding.")
    if version not in ("1.0", "1.1"):
        raise InvalidHead("The HTTP version is not supported.", 505)
    if host is None:
        if version == "1.1":
            raise InvalidHead("The Host header is missing.")
    elif parse_host(host) is None:
        raise InvalidHead("The Host header is not a host with an optional port.")
    if url[:1] != b"/":
        url, headers = _other_form(method, url, headers)
    if b"#" in url:
        raise InvalidHead("A request target has no fragment.")
    return Head(url, headers, keeps_alive, awaits_go)


def _other_form(method: str, url: bytes, headers: list[Header]) -> tuple[bytes, list[Header]]:
    """Returns target and headers of `OPTIONS *`, or of a request in absolute form, whose authority replaces the Host
    header (RFC 9112, section 3.2.2). Raises InvalidHead.
    """
    if url == b"*":
        if method != "OPTIONS":
            raise InvalidHead("Only OPTIONS may have the target *.")
        return url, headers
    scheme, has_authority, rest = url.partition(b"://")
    if not has_authority or scheme.lower() not in (b"http", b"https"):
        raise InvalidHead("The request target is not a path of this server.")
    end = min(at for at in (*map(rest.find, (b"/", b"?", b"#")), len(rest)) if at >= 0)
    authority = rest[:end]
    if parse_host(authority) is None:
        raise InvalidHead("The request target names no valid host.")
    target = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
    others = [header for header in headers if header[0] != b"host"]
    return target, [(b"host", authority), *others]


def answer_to(error: httptools.HttpParserError) -> bytes:
    """Returns the response that refuses a malformed request."""
    cause = error.__context__
    if isinstance(cause, InvalidHead):
        return refusal(cause.status, str(cause).encode())
    return refusal(505 if str(error) == _OTHER_VERSION else 400, b"The request is not valid HTTP.")


def without_offer(parser: httptools.HttpRequestParser, url: bytes, headers: Iterable[Header]) -> bytes:
    """Returns the head without its offer to change protocols, which HTTP allows a server to ignore. The parser would
    skip the body of such a request (and Java's client makes the offer with every POST by default), so it parses this
    head instead. Raises HttpParserError for CONNECT, which is not an offer.
    """
    method, version = parser.get_method(), parser.get_http_version().encode()
    if method == b"CONNECT":
        raise httptools.HttpParserInvalidMethodError("CONNECT")
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version, b"".join(lines))
