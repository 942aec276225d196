"""The keys of a configuration: those of tenants and those of administrators."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from gateway.configuration import rules
from gateway.configuration.key_strength import weakness
from gateway.configuration.money import BudgetSettings
from gateway.configuration.value_types import (
    Count,
    Identifier,
    ModelName,
    OptionalSecret,
    RequiredSecret,
    Secret,
    Weight,
    yaml_key,
)
from gateway.configuration.yaml_source import Problem, item_path

AdminRole = Literal["viewer", "operator", "admin"]
Priority = Literal["critical", "high", "normal", "low", "bulk"]


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """One tenant and its key."""

    name: Identifier
    """The tenant's unique name, as logs, metrics and statistics show it."""
    key: RequiredSecret
    """The API key. Keys that can be guessed are refused unless `server.host` is loopback."""
    priority: Priority = "normal"
    """The class of its requests. When load is shed, lower classes are refused first."""
    rpm: Count | None = None
    """The most requests per minute, over all replicas. Unlimited by default."""
    tpm: Count | None = None
    """The most tokens per minute, over all replicas. Unlimited by default."""
    max_parallel: Count | None = None
    """The most requests at once, over all replicas. Unlimited by default."""
    weight: Weight = 1.0
    """Its share of the turns among tenants that wait for a full model."""
    models: tuple[ModelName, ...] = ()
    """The models and aliases it may call. Empty means all of them."""
    budget: BudgetSettings | None = None
    """Its budget. Unlimited by default."""
    may_name_deployment: bool = False
    """Whether its requests may name a deployment in the header `x-pllm-deployment`. Since unreleased."""


class AdminKeySettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """A key for the admin endpoints."""

    name: Identifier
    """The unique name of its holder, as logs and events show it."""
    key: RequiredSecret
    """The API key. Keys that can be guessed are refused unless `server.host` is loopback."""
    role: AdminRole
    """A viewer reads; an operator also moves breakers and reloads; an admin also makes and removes tenants."""


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The keys of tenants and admins. Without any, the gateway serves its own machine only."""

    admin_key: OptionalSecret = Secret("")
    """A key with the role `admin`. With `keys` and without an admin key the admin endpoints are off."""
    admin_keys: tuple[AdminKeySettings, ...] = ()
    """Further keys for the admin endpoints, with names and roles. Since unreleased."""
    signing_keys: tuple[RequiredSecret, ...] = ()
    """The secrets for signatures of tenants in the store: the first signs, all verify, and so do admins' keys.
    Since unreleased."""
    admin: Literal["local"] | None = None
    """`local` lets callers on this machine administer without a key, next to `keys`. Off by default.
    Since unreleased."""
    keys: tuple[KeySettings, ...] = ()
    """The tenants. With at least one, every call of a model needs a key."""


def keys_of(auth: AuthSettings) -> Iterator[tuple[str, Secret]]:
    """Yields the path and the secret of every key, those of admins first."""
    if auth.admin_key:
        yield "auth.admin_key", auth.admin_key
    yield from ((f"{item_path('auth.admin_keys', i)}.key", entry.key) for i, entry in enumerate(auth.admin_keys))
    yield from ((item_path("auth.signing_keys", i), key) for i, key in enumerate(auth.signing_keys))
    yield from ((f"{item_path('auth.keys', i)}.key", entry.key) for i, entry in enumerate(auth.keys))


def signing_secrets(auth: AuthSettings) -> list[str]:
    """Returns the secrets that sign tenants, the newest first. Only people who may create tenants anyway know them."""
    admins = [entry.key for entry in auth.admin_keys if entry.role == "admin"]
    return [str(key) for key in (*auth.signing_keys, auth.admin_key, *admins) if key]


def weak_keys(auth: AuthSettings) -> Iterator[Problem]:
    for path, key in keys_of(auth):
        if key and (fault := weakness(key)):
            yield Problem(path, fault)


def key_problems(auth: AuthSettings) -> Iterator[Problem]:
    """Yields names and keys that occur twice, and an `auth.admin` that an admin key contradicts."""
    tenants = [(item_path("auth.keys", index), entry) for index, entry in enumerate(auth.keys)]
    admins = [(item_path("auth.admin_keys", index), entry) for index, entry in enumerate(auth.admin_keys)]
    yield from rules.duplicates("name", [(f"{path}.name", entry.name) for path, entry in tenants])
    own_names = [("auth.admin_key", "admin")] if auth.admin_key else []
    yield from rules.duplicates("name", [*own_names, *((f"{path}.name", entry.name) for path, entry in admins)])
    yield from rules.duplicates("key", keys_of(auth))
    if auth.admin and (auth.admin_key or auth.admin_keys):
        yield Problem("auth.admin", "cannot be combined with an admin key: callers on this machine use the key as well")
