"""An API key to the tenant it belongs to. Only digests of the keys are kept."""

from collections.abc import Iterator

import msgspec

from gateway.configuration.auth import AuthSettings, KeySettings, Priority, keys_of
from gateway.configuration.money import BudgetSettings, budget_of
from gateway.configuration.value_types import Count, Name, Weight
from gateway.configuration.yaml_source import Problem
from gateway.http.host_header import Headers
from gateway.request.admins import Admins
from gateway.request.presented_keys import digest, presented_keys
from shared_state.policies import UNLIMITED, TenantLimits, TenantRecord

# A load over the cut rejects every level above it, so the smallest number is the last to be shed.
PRIORITY_LEVELS: dict[Priority, int] = {"critical": 0, "high": 25, "normal": 50, "low": 75, "bulk": 100}


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
    """``admins``: those of the configuration in force."""

    def __init__(self, settings: AuthSettings) -> None:
        self._stored: dict[bytes, Tenant] = {}
        self._has_stored = False
        self.adopt(settings)

    def adopt(self, settings: AuthSettings) -> None:
        """From now on; what the store holds goes on beside it."""
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
        """None for a missing or unknown key; everybody is anonymous where no keys are configured."""
        if self._is_open:
            return ANONYMOUS
        # How long the look-up takes depends on the digest, and nobody can choose a key by its digest,
        # so the time tells nothing about how much of a key was right.
        for key in presented_keys(headers):
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
        names, key = {tenant.name for tenant in self._configured.values()}, bytes.fromhex(key_hash)
        return name in names or key in self._configured or self.admins.has_key(key)

    def clashes(self, settings: AuthSettings) -> Iterator[Problem]:
        """Keys of admins that tenants in the store have: such a tenant would administer."""
        for path, key in keys_of(settings):
            tenant = self._stored.get(digest(key.encode()))
            if tenant is not None and path.startswith("auth.admin_key"):
                yield Problem(path, f"the tenant `{tenant.name}` in the store has the same key")

    def limits(self) -> list[TenantLimits]:
        """Of every tenant that there is now."""
        return [tenant.limits for tenant in self._tenants.values()]


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
