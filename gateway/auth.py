"""An API key to the tenant it belongs to, and whether a caller may administer.

Only SHA-256 digests of the keys are kept: a dump of this object's memory opens nothing, and keys of
random characters need no slower hash.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterator

import msgspec

from gateway.settings import AuthSettings, KeySettings, Priority

# A load over the cut rejects every level above it, so the smallest number is the last to be shed.
PRIORITY_LEVELS: dict[Priority, int] = {"critical": 0, "high": 25, "normal": 50, "low": 75, "bulk": 100}

_BEARER = b"bearer "
_RELAY_HEADERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})

Headers = list[tuple[bytes, bytes]]


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls. No models means all of them; None means unlimited."""

    name: str
    priority: Priority = "normal"
    priority_level: int = PRIORITY_LEVELS["normal"]
    models: frozenset[str] = frozenset()
    rpm: int | None = None
    tpm: int | None = None
    max_parallel: int | None = None

    def may_use(self, *names: str) -> bool:
        """One model under all the names it has: an alias's and its own."""
        return not self.models or not self.models.isdisjoint(names)


ANONYMOUS = Tenant(name="anonymous")


class Authenticator:
    """Header names are expected in lower case, as ASGI gives them."""

    def __init__(self, settings: AuthSettings) -> None:
        self._tenants = {_digest(entry.key.encode()): _tenant(entry) for entry in settings.keys}
        self._admin_digest = _digest(settings.admin_key.encode()) if settings.admin_key else None

    def tenant(self, headers: Headers) -> Tenant | None:
        """None for a missing or unknown key; everybody is anonymous where no keys are configured."""
        if not self._tenants:
            return ANONYMOUS
        # How long the look-up takes depends on the digest, and nobody can choose a key by its digest,
        # so the time tells nothing about how much of a key was right.
        for key in _presented_keys(headers):
            tenant = self._tenants.get(_digest(key))
            if tenant is not None:
                return tenant
        return None

    def is_admin(self, headers: Headers, client_host: str | None) -> bool:
        """By the admin key if there is one, else for callers on this machine; None is a unix socket."""
        if self._admin_digest is None:
            return _is_local(client_host) and not _is_relayed(headers)
        digests = [_digest(key) for key in _presented_keys(headers)]
        return any(hmac.compare_digest(digest, self._admin_digest) for digest in digests)


def _tenant(entry: KeySettings) -> Tenant:
    return Tenant(
        name=entry.name,
        priority=entry.priority,
        priority_level=PRIORITY_LEVELS[entry.priority],
        models=frozenset(entry.models),
        rpm=entry.rpm,
        tpm=entry.tpm,
        max_parallel=entry.max_parallel,
    )


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _presented_keys(headers: Headers) -> Iterator[bytes]:
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            yield value[len(_BEARER) :].strip()
        elif name == b"x-api-key":
            yield value.strip()


def _is_local(client_host: str | None) -> bool:
    if client_host is None:
        return True
    try:
        address = ipaddress.ip_address(client_host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_relayed(headers: Headers) -> bool:
    """A proxy on this machine connects from loopback on behalf of callers that may be anywhere."""
    return any(name in _RELAY_HEADERS for name, _ in headers)
