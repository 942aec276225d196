"""The bytes of a request to a provider.

Names and values are checked when they are added, so none can end its line, and the length of the body is always sent:
a request cannot be split or smuggled.
"""

import re
from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

import msgspec

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_TARGETS = re.compile(r"[^!-~]")
_OURS = frozenset({"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"})
_PORTS = {"http": 80, "https": 443}


class Origin(msgspec.Struct, frozen=True, cache_hash=True):
    """A server. ``host``: a name in ASCII or an address, without brackets."""

    host: str
    port: int
    is_tls: bool = False

    @property
    def authority(self) -> str:
        """The host and port as a `host` header and CONNECT name them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"


class Request(msgspec.Struct, frozen=True):
    """The part of a request that is the same for every body."""

    origin: Origin
    method: bytes
    target: bytes  # path and query
    fields: bytes  # the lines of its headers, `host` first

    def head(self, size: int, more: bytes = b"", *, is_absolute: bool = False) -> bytes:
        """Returns the head. ``size``: of the body in bytes, which only a POST has; ``more``: lines of further headers;
        ``is_absolute``: the target names the origin, as a proxy needs it.
        """
        target = b"http://" + self.origin.authority.encode() + self.target if is_absolute else self.target
        if self.method != b"POST":
            return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (self.method, target, self.fields, more)
        return b"POST %b HTTP/1.1\r\n%b%bcontent-length: %d\r\n\r\n" % (target, self.fields, more, size)

    def below(self, method: str, path: str, query: str) -> "Request":
        """Returns a request for what is below this address. ``path``: of letters, digits and a few marks; ``query``:
        encoded, from the question mark on.
        """
        base, mark, own = self.target.partition(b"?")
        given = query.encode() if not mark else query.replace("?", "&", 1).encode()
        return msgspec.structs.replace(self, method=method.encode(), target=base + path.encode() + mark + own + given)


def request(method: Literal["GET", "POST"], url: str, headers: Iterable[tuple[str, str]] = ()) -> Request:
    """Returns a request. Raises ValueError for an address that is not of http or https, and for invalid headers."""
    origin, target = parsed(url)
    fields = lines([("host", origin.authority)]) + lines(headers, refused=_OURS)
    return Request(origin, method.encode(), target, fields)


def parsed(url: str) -> tuple[Origin, bytes]:
    """Returns the server and the path with its query. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or _NOT_IN_TARGETS.search(url):
        raise ValueError("not an http or https address")
    target = _without_dots(parts.path) + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.hostname, parts.port or _PORTS[parts.scheme], parts.scheme == "https"), target.encode()


def _without_dots(path: str) -> str:
    """Returns the path without the segments `.` and `..`, which lead within it (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:] or [""]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def lines(headers: Iterable[tuple[str, str]], refused: frozenset[str] = _OURS - {"host"}) -> bytes:
    """Returns the lines of these headers. Raises ValueError for a name or value that would break its line, and for a
    ``refused`` name: such headers follow from the connection and the body.
    """
    parts = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or name.lower() in refused or _NOT_IN_VALUES.search(value):
            raise ValueError(f"invalid header {name[:40]!r}")
        parts.append(f"{name}: {value}\r\n".encode())
    return b"".join(parts)
