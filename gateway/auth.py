"""An API key to the tenant it belongs to, and whether a caller may administer.

Only SHA-256 digests of the keys are kept: a dump of this object's memory opens nothing, and keys of
random characters need no slower hash.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterator

import msgspec

from gateway.money_settings import BudgetSettings, budget_of
from gateway.setting_types import Count, Name, Weight
from gateway.settings import AuthSettings, KeySettings, Priority
from shared_state.policies import UNLIMITED, TenantLimits, TenantRecord

# A load over the cut rejects every level above it, so the smallest number is the last to be shed.
PRIORITY_LEVELS: dict[Priority, int] = {"critical": 0, "high": 25, "normal": 50, "low": 75, "bulk": 100}

_BEARER = b"bearer "
_RELAY_HEADERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})

Headers = list[tuple[bytes, bytes]]


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls. No models means all of them; ``key``: the digest of the one shown, empty for the anonymous."""

    name: str
    priority: Priority = "normal"
    priority_level: int = PRIORITY_LEVELS["normal"]
    models: frozenset[str] = frozenset()
    limits: TenantLimits = UNLIMITED
    key: bytes = b""

    @property
    def weight(self) -> float:
        return self.limits.weight

    def may_use(self, *names: str) -> bool:
        """One model under all the names it has: an alias's and its own."""
        return not self.models or not self.models.isdisjoint(names)


class TenantRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of a put: the whole tenant. Without a key an existing one keeps its own, and a new one gets one."""

    key: str | None = None
    priority: Priority = "normal"
    models: tuple[Name, ...] = ()
    rpm: Count | None = None
    tpm: Count | None = None
    max_parallel: Count | None = None
    weight: Weight = 1.0
    budget: BudgetSettings | None = None


ANONYMOUS = Tenant(name="anonymous")


class Authenticator:
    """Header names are expected in lower case, as ASGI gives them."""

    def __init__(self, settings: AuthSettings) -> None:
        self._stored: dict[bytes, Tenant] = {}
        self._has_stored = False
        self.adopt(settings)

    def adopt(self, settings: AuthSettings) -> None:
        """From now on; what the store holds goes on beside it."""
        configured = [_tenant(entry) for entry in settings.keys]
        self._configured = {tenant.key: tenant for tenant in configured}
        self._admin_digest = digest(settings.admin_key.encode()) if settings.admin_key else None
        self._combine()

    def _combine(self) -> None:
        self._tenants = self._stored | self._configured
        self._is_open = not self._configured and not self._has_stored

    def tenant(self, headers: Headers) -> Tenant | None:
        """None for a missing or unknown key; everybody is anonymous where no keys are configured."""
        if self._is_open:
            return ANONYMOUS
        # How long the look-up takes depends on the digest, and nobody can choose a key by its digest,
        # so the time tells nothing about how much of a key was right.
        for key in _presented_keys(headers):
            tenant = self._tenants.get(digest(key))
            if tenant is not None:
                return tenant
        return None

    def learn(self, records: dict[str, TenantRecord], version: int) -> None:
        """The tenants that the store holds now. Once there has been one, nobody is anonymous any more: taking back the
        last key must not open the door.
        """
        kept = [_recorded(record) for record in records.values()]
        self._stored = {tenant.key: tenant for tenant in kept}
        self._has_stored = self._has_stored or version > 0
        self._combine()

    def is_shared(self) -> bool:
        """Is there more than one tenant?"""
        return len(self._tenants) > 1

    def named(self, name: str) -> Tenant | None:
        return next((tenant for tenant in self._tenants.values() if tenant.name == name), None)

    def is_welcome(self, tenant: Tenant) -> bool:
        """Would its key be let in now? It may have been taken back while its request waited."""
        return tenant.key in self._tenants if tenant.key else self._is_open

    def is_configured(self, name: str, key_hash: str) -> bool:
        """Does the configuration have a tenant of this name, or with this key?"""
        names = {tenant.name for tenant in self._configured.values()}
        return name in names or bytes.fromhex(key_hash) in (*self._configured, self._admin_digest)

    def limits(self) -> list[TenantLimits]:
        """Of every tenant that there is now."""
        return [tenant.limits for tenant in self._tenants.values()]

    @property
    def has_admin_key(self) -> bool:
        return self._admin_digest is not None

    def is_admin(self, headers: Headers, client_host: str | None) -> bool:
        """By the admin key if there is one, else for callers on this machine; None is a unix socket."""
        if self._admin_digest is None:
            return _is_local(client_host) and not _is_relayed(headers)
        digests = [digest(key) for key in _presented_keys(headers)]
        return any(hmac.compare_digest(each, self._admin_digest) for each in digests)


def _tenant(entry: KeySettings) -> Tenant:
    return Tenant(
        name=entry.name,
        priority=entry.priority,
        priority_level=PRIORITY_LEVELS[entry.priority],
        models=frozenset(entry.models),
        limits=_limits(entry),
        key=digest(entry.key.encode()),
    )


def _limits(entry: KeySettings | TenantRecord) -> TenantLimits:
    return TenantLimits(
        name=entry.name,
        rpm=entry.rpm,
        tpm=entry.tpm,
        max_parallel=entry.max_parallel,
        weight=entry.weight,
        budget=budget_of(entry.budget) if isinstance(entry, KeySettings) else entry.budget,
    )


def _recorded(record: TenantRecord) -> Tenant:
    return Tenant(
        name=record.name,
        priority=record.priority,
        priority_level=PRIORITY_LEVELS[record.priority],
        models=frozenset(record.models),
        limits=_limits(record),
        key=bytes.fromhex(record.key_hash),
    )


def digest(key: bytes) -> bytes:
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
