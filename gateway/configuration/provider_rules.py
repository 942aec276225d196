"""Rules about the provider of an entry: its address, and its keys. An entry with several keys stands for several
deployments.

The id of such a deployment depends on its key alone, so that it keeps its state when keys are reordered or removed. It
ends in a short hash: many keys share it, so it does not yield the key.
"""

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from gateway.configuration import patterns, rules
from gateway.configuration.provider import ProviderSettings
from gateway.configuration.yaml_source import Problem, item_path

ID_MOST = 64  # characters, as `Identifier` allows
_SOURCES = ("api_key", "api_keys", "api_key_file", "api_key_command")
_HASH_BYTES = 4  # two of sixteen keys have the same hash once in 36 million entries


def has_source(provider: Mapping[object, object]) -> bool:
    """Returns whether an entry as it was read names keys next to `api_key`."""
    return any(provider.get(name) for name in _SOURCES[1:])


def key_count(provider: ProviderSettings) -> int:
    """Returns the number of deployments that an entry stands for."""
    return max(1, len(provider.api_keys))


def problems(path: str, deployment_id: str, provider: ProviderSettings, model_name: str) -> Iterator[Problem]:
    """Yields an unusable address, keys from two sources, keys that occur twice, and an id without room for what its
    deployments append. ``path``: of the entry.
    """
    own = f"{path}.provider"
    if provider.type == "azure" and provider.base_url == ProviderSettings().base_url:
        yield Problem(f"{own}.base_url", "missing: the address of the Azure resource")
    yield from rules.endpoint_problems(f"{own}.base_url", provider.base_url, provider.type == "azure")
    if provider.type != "azure" and provider.api_version:
        yield Problem(f"{own}.api_version", "only Azure has one")
    given = [name for name in _SOURCES if getattr(provider, name)]
    for name in given[1:]:
        yield Problem(f"{own}.{name}", f"cannot be combined with {given[0]}: a deployment has one source of keys")
    yield from rules.duplicates(
        "key", [(item_path(f"{own}.api_keys", index), key) for index, key in enumerate(provider.api_keys)]
    )
    is_pattern = patterns.is_pattern(model_name)
    suffix = len(_suffix("", "")) * bool(provider.api_keys) + len(patterns.slot_ids("")[0]) * is_pattern
    if suffix and len(deployment_id) + suffix > ID_MOST:
        reason = "api_keys lengthen it" if provider.api_keys else "a pattern lengthens it"
        yield Problem(f"{path}.id", f"longer than {ID_MOST - suffix} characters, and {reason}")
    if is_pattern and provider.type == "azure" and provider.api_version:
        yield Problem(f"{own}.api_version", "cannot be combined with a pattern: the address names the deployment")
    if not is_pattern and "*" in provider.model:
        yield Problem(f"{own}.model", "only a pattern in model_name has a * to put here")


def one_key_each(deployment_id: str, provider: ProviderSettings) -> list[tuple[str, ProviderSettings]]:
    """Returns the ids and providers of the deployments that an entry stands for, each with at most one key."""
    if not provider.api_keys:
        return [(deployment_id, provider)]
    return [
        (deployment_id + _suffix(deployment_id, key), msgspec.structs.replace(provider, api_key=key, api_keys=()))
        for key in provider.api_keys
    ]


def _suffix(deployment_id: str, key: str) -> str:
    salt = deployment_id.encode()[:ID_MOST]  # the same key has another hash in another entry
    return f":key-{hashlib.blake2b(key.encode(), digest_size=_HASH_BYTES, key=salt).hexdigest()}"
