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
    Name,
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
    """One tenant. A limit of None means unlimited."""

    name: Identifier
    key: RequiredSecret
    priority: Priority = "normal"
    rpm: Count | None = None
    tpm: Count | None = None
    max_parallel: Count | None = None
    weight: Weight = 1.0  # its share of the turns at a full model, among waiting tenants
    models: tuple[Name, ...] = ()  # that it may call; empty: all
    budget: BudgetSettings | None = None


class AdminKeySettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """A key for the admin endpoints: a viewer reads, an operator moves breakers and reloads, an admin makes tenants."""

    name: Identifier  # as logs and events show it
    key: RequiredSecret
    role: AdminRole


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    admin_key: OptionalSecret = Secret("")
    admin_keys: tuple[AdminKeySettings, ...] = ()
    # For the tenants in the store: the first signs, all verify. The keys of admins come after these.
    signing_keys: tuple[RequiredSecret, ...] = ()
    admin: Literal["local"] | None = None  # with keys and without an admin key: callers on this machine administer
    keys: tuple[KeySettings, ...] = ()


def keys_of(auth: AuthSettings) -> Iterator[tuple[str, Secret]]:
    """Yields the path and the secret of every key, those of admins first."""
    if auth.admin_key:
        yield "auth.admin_key", auth.admin_key
    yield from ((f"{item_path('auth.admin_keys', i)}.key", entry.key) for i, entry in enumerate(auth.admin_keys))
    yield from ((item_path("auth.signing_keys", i), key) for i, key in enumerate(auth.signing_keys))
    yield from ((f"{item_path('auth.keys', i)}.key", entry.key) for i, entry in enumerate(auth.keys))


def signing_secrets(auth: AuthSettings) -> list[str]:
    """Returns the secrets that sign tenants, the newest first. Only those who may create tenants anyway know them."""
    admins = [entry.key for entry in auth.admin_keys if entry.role == "admin"]
    return [str(key) for key in (*auth.signing_keys, auth.admin_key, *admins) if key]


def weak_keys(auth: AuthSettings) -> Iterator[Problem]:
    for path, key in keys_of(auth):
        if key and (fault := weakness(key)):
            yield Problem(path, fault)


def key_problems(auth: AuthSettings) -> Iterator[Problem]:
    tenants = [(item_path("auth.keys", index), entry) for index, entry in enumerate(auth.keys)]
    admins = [(item_path("auth.admin_keys", index), entry) for index, entry in enumerate(auth.admin_keys)]
    yield from rules.duplicates("name", [(f"{path}.name", entry.name) for path, entry in tenants])
    own_names = [("auth.admin_key", "admin")] if auth.admin_key else []
    yield from rules.duplicates("name", [*own_names, *((f"{path}.name", entry.name) for path, entry in admins)])
    yield from rules.duplicates("key", keys_of(auth))
    if auth.admin and (auth.admin_key or auth.admin_keys):
        yield Problem("auth.admin", "cannot be combined with an admin key: callers on this machine use the key as well")
