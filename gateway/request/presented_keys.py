"""The API keys that a request presents, and the digests by which they are recognised.

Only SHA-256 digests are kept: a dump of memory reveals no key, and keys of random characters need no slower hash.
"""

import hashlib
from collections.abc import Iterator

from gateway.http.host_header import Headers

_BEARER = b"bearer "
_UNKNOWN = b"\xff"  # not UTF-8, so it equals no configured key


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def presented_keys(headers: Headers) -> Iterator[bytes]:
    """Yields at most one key of each header. A request that repeats one presents a wrong key instead: a single request
    could try thousands of keys otherwise.
    """
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (b"authorization", b"x-api-key"):
            if name in values:
                yield _UNKNOWN
                return
            values[name] = value
    bearer = values.get(b"authorization", b"")
    if bearer[: len(_BEARER)].lower() == _BEARER:
        yield bearer[len(_BEARER) :].strip()
    if b"x-api-key" in values:
        yield values[b"x-api-key"].strip()
