"""Compares two configurations: names the changed settings, without values, and those that need a restart."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from gateway.configuration.auth import AdminKeySettings, KeySettings
from gateway.configuration.settings import DeploymentSettings, Settings
from gateway.configuration.value_types import yaml_key
from gateway.configuration.yaml_source import Problem, key_path

# Any other section needs a restart: a new setting is refused until it is known to take effect.
_WHILE_RUNNING = ("auth", "router", "metrics", "model_list")
_SERVER_WHILE_RUNNING = frozenset(
    {
        *("max_body_bytes", "max_body_memory_bytes", "max_messages", "ping_interval_ms"),
        *("drain_delay_ms", "drain_timeout_ms", "engine", "trusted_proxies", "cors"),
    }
)

_Entry = DeploymentSettings | KeySettings | AdminKeySettings


class Places:
    """The routing domains that a replica has opened, and the domain of every deployment since its start: requests may
    still run on a deployment that has been removed.
    """

    def __init__(self, first: Settings) -> None:
        self._open = frozenset(first.domains())
        self._homes: dict[str, str] = {}
        self.note(first)

    def note(self, settings: Settings) -> None:
        """Adds the deployments of settings that are in use from now on."""
        self._homes |= {entry.id: entry.domain for entry in settings.model_list}

    def moved(self, after: Settings) -> Iterator[str]:
        """Yields deployments that have changed their routing domain, or whose domain no replica has opened."""
        for entry in after.model_list:
            is_closed = entry.enabled and entry.domain not in self._open
            if is_closed or self._homes.get(entry.id, entry.domain) != entry.domain:
                yield f"{key_path('model_list', entry.id)}.domain"


def restart_problems(before: Settings, after: Settings, places: Places) -> list[Problem]:
    """Returns the changed settings that a running replica cannot take."""
    paths = [
        *(f"server.{yaml_key(name)}" for name in _different(before.server, after.server, _SERVER_WHILE_RUNNING)),
        *(path for name in _sections() for path in _paths(name, getattr(before, name), getattr(after, name))),
        *(places.moved(after) if before.state == after.state else ()),  # a change of the store is refused in any case
        *_paths("router.capacity_leases", before.router.capacity_leases, after.router.capacity_leases),
    ]
    return [Problem(path, "cannot change while running: it needs a restart") for path in paths]


def _sections() -> list[str]:
    return [name for name in Settings.__struct_fields__ if name not in ("server", *_WHILE_RUNNING)]


def _different(before: msgspec.Struct, after: msgspec.Struct, but: frozenset[str] = frozenset()) -> Iterator[str]:
    for name in before.__struct_fields__:
        if name not in but and getattr(before, name) != getattr(after, name):
            yield name


def changes(before: Settings, after: Settings) -> list[str]:
    """Returns what changed, such as `model_list.gpt-4-b: added` or `router.breaker.probes`, in the settings' order."""
    changed: list[str] = []
    for name in Settings.__struct_fields__:
        changed += _paths(name, getattr(before, name), getattr(after, name))
    return changed


def _paths(path: str, before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct):
        for name in _different(before, after):
            yield from _paths(key_path(path, yaml_key(name)), getattr(before, name), getattr(after, name))
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _members(path, before, after)
    elif isinstance(before, tuple) and isinstance(after, tuple) and _are_named((*before, *after)):
        yield from _members(path, _by_name(before), _by_name(after))
        if list(_by_name(before)) != list(_by_name(after)) and set(_by_name(before)) == set(_by_name(after)):
            yield f"{path}: order"
    else:
        yield path


def _members(path: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        member = key_path(path, name)
        if name not in before or name not in after:
            yield f"{member}: {'removed' if name in before else 'added'}"
        else:
            yield from _paths(member, before[name], after[name])


def _are_named(entries: Sequence[object]) -> bool:
    return all(isinstance(entry, _Entry) for entry in entries)


def _by_name(entries: Sequence[_Entry]) -> dict[str, object]:
    return {entry.id if isinstance(entry, DeploymentSettings) else entry.name: entry for entry in entries}
