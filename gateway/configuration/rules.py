"""Rules about several settings: duplicate names, names that refer to nothing, chains that loop, numbers of deployments.

They take plain values and yield problems, so they do not depend on the tree of settings. Names that were refused before
are empty and are passed over.
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from gateway.configuration.patterns import by_length, pattern_of
from gateway.configuration.struct_reader import did_you_mean
from gateway.configuration.yaml_source import Problem, item_path, key_path

# One acquire script reads every candidate, and its work must stay bounded.
MAX_CANDIDATES = 16
# One beat script reads every deployment, and its work must stay well within the store's deadline.
MAX_DEPLOYMENTS = 300
# Each domain costs every replica a connection and a heartbeat.
MAX_DOMAINS = 32
# The longer comes first where one is the end of another.
ENDPOINTS = (
    *("/chat/completions", "/completions", "/embeddings", "/messages/count_tokens", "/messages", "/responses"),
    "/models",
)


class ModelNames(msgspec.Struct, frozen=True):
    """The names that a setting may refer to."""

    enabled: Mapping[str, int]  # the number of enabled deployments by model
    aliases: Mapping[str, str]  # the model by alias

    def unknown_model(self, path: str, name: str) -> Iterator[Problem]:
        """Yields a problem unless ``name`` is a model."""
        if name in self.aliases and name not in self.enabled:
            yield Problem(path, f"{name} is an alias, expected a model")
        elif name and name not in self.enabled and pattern_of(name, by_length(self.enabled)) is None:
            hint = did_you_mean(name, self.enabled)
            yield Problem(path, f"no deployment serves the model {name}{hint}")

    def count(self, name: str) -> int:
        """Returns the number of candidates for a model."""
        return self.enabled.get(name) or self.enabled.get(pattern_of(name, by_length(self.enabled)) or "", 0)


def duplicates(what: str, values: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """Takes (path, value) pairs. Yields problems without the value, which may be a secret."""
    first_paths: dict[str, str] = {}
    for path, value in values:
        if value and first_paths.setdefault(value, path) != path:
            yield Problem(path, f"the same {what} as {first_paths[value]}")


def alias_problems(names: ModelNames, path: str) -> Iterator[Problem]:
    """Yields aliases that hide a model or lead to none."""
    for alias, model in names.aliases.items():
        if alias in names.enabled:
            yield Problem(key_path(path, alias), "the alias hides the model of the same name")
        else:
            yield from names.unknown_model(key_path(path, alias), model)


def allowed_model_problems(names: ModelNames, path: str, allowed: Iterable[str]) -> Iterator[Problem]:
    """Yields names in ``allowed`` that are neither a model nor an alias."""
    for index, name in enumerate(allowed):
        if name not in names.aliases:
            yield from names.unknown_model(item_path(path, index), name)


def chain_problems(names: ModelNames, path: str, fallbacks: Mapping[str, tuple[str, ...]]) -> Iterator[Problem]:
    """Chains do not continue in other chains, so `a: [b]` with `b: [a]` is not a loop."""
    for model, chain in fallbacks.items():
        chain_path = key_path(path, model)
        yield from names.unknown_model(chain_path, model)
        for index, target in enumerate(chain):
            target_path = item_path(chain_path, index)
            if target and target == model:
                yield Problem(target_path, f"the chain loops: it leads from {model} to itself")
            elif target and target in chain[:index]:
                yield Problem(target_path, f"the chain loops: {target} is in it already")
            else:
                yield from names.unknown_model(target_path, target)
        yield from _too_many(chain_path, sum(names.count(name) for name in {model, *chain}))


def deployment_count_problems(names: ModelNames, domains: Mapping[str, int], path: str) -> Iterator[Problem]:
    """Yields too many deployments or domains, and models without one. ``domains``: enabled deployments by domain."""
    for domain, count in domains.items():
        if count > MAX_DEPLOYMENTS:
            where = f" ({domain})" if len(domains) > 1 else ""
            yield Problem(
                path, f"{count} enabled deployments, at most {MAX_DEPLOYMENTS} are allowed in a domain{where}"
            )
    if len(domains) > MAX_DOMAINS:
        yield Problem(path, f"{len(domains)} domains, at most {MAX_DOMAINS} are allowed")
    for model, enabled in names.enabled.items():
        if not enabled:
            yield Problem(path, f"the model {model} has no enabled deployment")
        yield from _too_many(path, enabled, f" for the model {model}")


def region_problems(path: str, region: str | None, served: Collection[str]) -> Iterator[Problem]:
    """Yields a replica's region that no enabled deployment has: all of its traffic would leave the region."""
    if region and region not in served:
        yield Problem(path, f"no enabled deployment is in the region {region}{did_you_mean(region, served)}")


def endpoint_problems(path: str, base_url: str, is_azure: bool) -> Iterator[Problem]:
    """Yields an address that ends in an endpoint, as in examples of calls: the endpoint would be appended twice."""
    address = base_url.rstrip("/")
    for endpoint in ENDPOINTS:
        if address.lower().endswith(endpoint):
            address = address[: -len(endpoint)].rstrip("/")
            if is_azure:  # the address of a resource ends before Azure's path
                address = re.sub(r"/openai(/.*)?$", "", address, flags=re.IGNORECASE)
            yield Problem(path, f"ends in the endpoint {endpoint}, which is appended for each call; write {address}")
            return


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _too_many(path: str, candidates: int, for_what: str = "") -> Iterator[Problem]:
    if candidates > MAX_CANDIDATES:
        yield Problem(path, f"{candidates} candidates{for_what}, at most {MAX_CANDIDATES} are allowed")
