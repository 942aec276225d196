"""Ids of what a provider keeps for a caller, such as responses, conversations and containers: the store knows by their
digests which deployment holds them.
"""

import hashlib

import msgspec

OWNED_MOST = 128  # digests of one answer or request: a longer call would hold the store


class Kept(msgspec.Struct, frozen=True):
    """How long an id is known, in ms, and how many of them in one domain."""

    ttl_ms: int
    most: int


def digest_of(tenant: str, name: str) -> str:
    """Returns the digest of an id of this tenant. The store makes a keyed hash of it."""
    return hashlib.blake2b(f"{tenant}\0{name}".encode(errors="surrogatepass"), digest_size=16).hexdigest()
