"""Finds the tenant that an API key belongs to. Only digests of the keys are kept."""

from collections.abc import Iterator

import msgspec

from gateway.configuration.auth import AuthSettings, KeySettings, Priority, keys_of
from gateway.configuration.money import BudgetSettings, budget_of
from gateway.configuration.value_types import Count, ModelName, Weight
from gateway.configuration.yaml_source import Problem
from gateway.http.host_header import Headers
from gateway.request.admins import Admins
from gateway.request.presented_keys import digest, presented_keys
from shared_state.policies import UNLIMITED, TenantLimits, TenantRecord

# A load over the cut rejects every level above it, so the smallest number is the last to be shed.
PRIORITY_LEVELS: dict[Priority, int] = {"critical": 0, "high": 25, "normal": 50, "low": 75, "bulk": 100}


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant of a request."""

    name: str
    priority: Priority = "normal"
    priority_level: int = PRIORITY_LEVELS["normal"]
    models: frozenset[str] = frozenset()  # that it may use; empty: all of them
    limits: TenantLimits = UNLIMITED
    key: bytes = b""  # the digest of the key; empty for the anonymous tenant
    may_name_deployment: bool = False

    @property
    def weight(self) -> float:
        return self.limits.weight

    def may_use(self, *names: str) -> bool:
        """Returns whether the tenant may use the model that has these names: its own and those of aliases."""
        return not self.models or not self.models.isdisjoint(names)


class TenantRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of a PUT: the whole tenant. Without ``key`` an existing tenant keeps its key, and a new one gets one."""

    key: str | None = None
    priority: Priority = "normal"
    models: tuple[ModelName, ...] = ()
    rpm: Count | None = None
    tpm: Count | None = None
    max_parallel: Count | None = None
    weight: Weight = 1.0
    budget: BudgetSettings | None = None


ANONYMOUS = Tenant(name="anonymous", may_name_deployment=True)


class Authenticator:
    """The keys of the configuration in force, and those of tenants in the store."""

    def __init__(self, settings: AuthSettings) -> None:
        self._stored: dict[bytes, Tenant] = {}
        self._has_stored = False
        self.apply_settings(settings)

    def apply_settings(self, settings: AuthSettings) -> None:
        """Accepts the configured keys from now on, next to those of tenants in the store."""
        configured = [_tenant(entry) for entry in settings.keys]
        self._configured = {tenant.key: tenant for tenant in configured}
        self.admins = Admins(settings)
        self._combine()

    def _combine(self) -> None:
        self._tenants = self._stored | self._configured
        self._is_open = not self._configured and not self._has_stored

    def is_open(self) -> bool:
        """Returns whether there are no keys, so that every caller on this machine is served."""
        return self._is_open

    def tenant(self, headers: Headers) -> Tenant | None:
        """Returns None for a missing or unknown key. Every caller is anonymous where there are no keys."""
        if self._is_open:
            return ANONYMOUS
        # The time of the look-up depends on the digest. No caller can choose a key by its digest, so the time reveals
        # nothing about how much of a key was right.
        for key in presented_keys(headers):
            tenant = self._tenants.get(digest(key))
            if tenant is not None:
                return tenant
        return None

    def replace_stored(self, records: dict[str, TenantRecord], version: int) -> None:
        """Replaces the tenants of the store. Once there has been one, no caller is anonymous again: revoking the last
        key must not admit every caller.
        """
        kept = [_recorded(record) for record in records.values()]
        self._stored = {tenant.key: tenant for tenant in kept}
        self._has_stored = self._has_stored or version > 0
        self._combine()

    def is_shared(self) -> bool:
        """Returns whether there is more than one tenant."""
        return len(self._tenants) > 1

    def named(self, name: str) -> Tenant | None:
        return next((tenant for tenant in self._tenants.values() if tenant.name == name), None)

    def is_welcome(self, tenant: Tenant) -> bool:
        """Returns whether the tenant's key is still valid: it may have been revoked while its request waited."""
        return tenant.key in self._tenants if tenant.key else self._is_open

    def is_configured(self, name: str, key_hash: str) -> bool:
        """Returns whether the configuration has a tenant with this name or this key, or an admin with this key."""
        names, key = {tenant.name for tenant in self._configured.values()}, bytes.fromhex(key_hash)
        return name in names or key in self._configured or self.admins.has_key(key)

    def clashes(self, settings: AuthSettings) -> Iterator[Problem]:
        """Yields a problem for each admin key that a tenant in the store has: such a tenant would be an admin."""
        for path, key in keys_of(settings):
            tenant = self._stored.get(digest(key.encode()))
            if tenant is not None and path.startswith("auth.admin_key"):
                yield Problem(path, f"the tenant `{tenant.name}` in the store has the same key")

    def names(self) -> list[str]:
        """Returns the names of all tenants: those of the configuration in its order, then those of the store."""
        configured = [tenant.name for tenant in self._configured.values()]
        return [*configured, *sorted({tenant.name for tenant in self._stored.values()}.difference(configured))]

    def limits(self) -> list[TenantLimits]:
        """Returns the limits of all tenants."""
        return [tenant.limits for tenant in self._tenants.values()]


def _tenant(entry: KeySettings) -> Tenant:
    return Tenant(
        name=entry.name,
        priority=entry.priority,
        priority_level=PRIORITY_LEVELS[entry.priority],
        models=frozenset(entry.models),
        limits=_limits(entry),
        key=digest(entry.key.encode()),
        may_name_deployment=entry.may_name_deployment,
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
