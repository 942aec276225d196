"""What the headers of an answer say about its body and its connection (RFC 9112), and the bounds of everything else."""

import re

from gateway.http.content_codings import CODINGS, coding_of
from gateway.upstream.http.decoded_response import DecodedResponse
from gateway.upstream.http.faults import NotHttp
from gateway.upstream.http.response import Header, Line, Response

HEAD_MOST = 131_072  # bytes before the body: content policies and traces of proxies take tens of KB
HEADERS_MOST = 512
INTERIM_MOST = 100  # 1xx responses before the final one
OTHER_MOST = 32_768  # bytes after the head: chunk extensions and trailers; framing may be as large as its body
_BODILESS = frozenset({101, 204, 304})
_TIMEOUT = re.compile(rb"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)


class Framing:
    """The framing of one answer."""

    __slots__ = ("_codings", "_has_length", "_is_encoded", "keep_alive_s")

    def __init__(self) -> None:
        self._has_length = self._is_encoded = False
        self._codings: list[bytes] = []
        self.keep_alive_s: int | None = None  # how long the server keeps an idle connection, if it says so

    def see(self, name: bytes, value: bytes) -> None:
        """Reads one of the headers that matter. ``name``: in lower case."""
        match name:
            case b"content-length":
                self._has_length = True
            case b"transfer-encoding":
                self._codings += [coding.strip().lower() for coding in value.split(b",")]
            case b"content-encoding":
                self._is_encoded = True
            case b"keep-alive":
                timeout = _TIMEOUT.search(value)
                self.keep_alive_s = int(timeout[1]) if timeout else None

    def lasts_until_close(self, status: int) -> bool:
        """Returns whether the body ends with its connection. Raises NotHttp for a transfer coding other than chunked:
        none was requested.
        """
        codings = set(self._codings)  # some servers name chunked twice
        if codings - {b"chunked"} and codings != {b"identity"}:
            raise NotHttp
        return not self._has_length and b"chunked" not in codings and status not in _BODILESS

    def response(self, line: Line, status: int, headers: list[Header]) -> Response:
        """Returns the response to read. A coding that the gateway does not know is left as it is: servers write
        `utf-8` there.
        """
        if self._is_encoded and (coding := coding_of(headers)) in CODINGS:
            return DecodedResponse(line, status, headers, coding)
        return Response(line, status, headers)


SEEN = frozenset({b"content-length", b"content-encoding", b"transfer-encoding", b"keep-alive"})
