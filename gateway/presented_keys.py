"""The keys that a request presents, and the digests by which they are known.

Only SHA-256 digests are kept: a dump of memory opens nothing, and keys of random characters need no slower hash.
"""

import hashlib
from collections.abc import Iterator

from gateway.host_header import Headers

_BEARER = b"bearer "


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def presented_keys(headers: Headers) -> Iterator[bytes]:
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            yield value[len(_BEARER) :].strip()
        elif name == b"x-api-key":
            yield value.strip()
