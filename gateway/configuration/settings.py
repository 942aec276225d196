"""The whole configuration: one frozen tree, read as a whole, with all mistakes reported at once.

A YAML key is the field's name without its unit: `timeout: 60s` becomes `timeout_ms = 60_000`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from gateway.configuration import patterns, provider_rules, rules, yaml_source
from gateway.configuration.auth import AuthSettings, key_problems, weak_keys
from gateway.configuration.autoscale import autoscale_problems
from gateway.configuration.health_checks import HealthCheckSettings
from gateway.configuration.metrics import MetricsSettings
from gateway.configuration.money import CostSettings, unpriced_problems
from gateway.configuration.provider import ProviderSettings
from gateway.configuration.router import RouterSettings
from gateway.configuration.server import DEFAULT_BODY, ServerSettings
from gateway.configuration.state import StateSettings
from gateway.configuration.struct_reader import completed, read
from gateway.configuration.value_types import (
    Count,
    Duration,
    Group,
    Identifier,
    Level,
    ModelName,
    Region,
    Text,
    Weight,
    yaml_key,
)
from gateway.configuration.yaml_source import Problem
from shared_state.connection.address import parse as parse_address

ANTHROPIC_URL = "https://api.anthropic.com/v1"
Concurrency = Literal["adaptive", "gradient", "fixed"]
Endpoint = Literal["chat", "completions", "embeddings", "messages", "responses"]


class DeploymentSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """One provider entry that serves a model."""

    id: Identifier
    """The deployment's unique name, in keys of the store, headers, logs and metrics."""
    model_name: ModelName
    """The name that clients request. Deployments with the same name share the load. `openai/*` stands for every name
    that begins so."""
    provider: ProviderSettings = ProviderSettings()
    """The provider that is called."""
    priority: Level = 50
    """The rank for the strategy `priority`; the highest comes first. The default is the original PLLM's."""
    weight: Weight = 1.0
    """The share of traffic in relation to the other deployments of the model."""
    timeout_ms: Duration = 600_000
    """The time limit of a plain answer, and of a stream until its first content. Official SDKs wait for as long."""
    connect_timeout_ms: Duration = 5_000
    """The time limit to connect. The default outlives two lost SYNs, which are resent after 1 s and 3 s."""
    first_byte_timeout_ms: Duration = 600_000
    """The longest silence before a stream's first byte. Comments, pings and reasoning end it."""
    first_token_timeout_ms: Duration | None = None
    """The time limit of a stream until its first content, whatever else has arrived. Off by default.
    Since unreleased."""
    idle_timeout_ms: Duration = 600_000
    """The longest silence between two bytes of a stream."""
    endpoints: tuple[Endpoint, ...] = ()
    """The endpoints that the provider has. Empty means all of its type; missing ones are learned. Where `chat`
    or `responses` stands without the other, requests for the other are translated. Since unreleased."""
    rpm: Count | None = None
    """The most requests per minute, over all replicas. Unlimited by default."""
    tpm: Count | None = None
    """The most tokens per minute, over all replicas. Unlimited by default."""
    max_parallel: Count = 200
    """The most requests at once, over all replicas. The adaptive limit finds the real one below it."""
    concurrency: Concurrency = "adaptive"
    """How the limit is found: from errors, from latency (`gradient`, for servers of your own), or not at all."""
    latency_threshold_ms: Duration | None = None
    """The latency above which a call is slow. By default the router's; if that has none, three times the
    deployment's usual latency, at least 2 s."""
    cooldown_period_ms: Duration = 30_000
    """How long the breaker stays open after its first trip. By default the router's `circuit_breaker_cooldown`."""
    health_check: HealthCheckSettings | None = None
    """Requests to a provider whose breaker is open. Off by default: then only clients' requests find a recovery.
    Since unreleased."""
    provider_group: Group | None = None
    """The name that deployments which fail together share. By default the address of `base_url`. Since unreleased."""
    region: Region | None = None
    """The region of the deployment. By default it is local to every replica."""
    domain: Identifier = ""
    """The routing domain whose store keys hold the deployment. By default `state.domain`."""
    tags: tuple[Text, ...] = ()
    """Labels, which a request may demand in the header `x-pllm-tags`."""
    enabled: bool = True
    """Whether the deployment takes part at all."""
    cost: CostSettings = CostSettings()
    """The prices of its tokens. Tokens without a price are free."""
    max_output_tokens: Count | None = None
    """The most output tokens of one answer, which a budget reserves. By default the `router.cost_estimate` has it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Everything that a gateway reads at start."""

    server: ServerSettings = ServerSettings()
    """Where a replica listens, and how much it holds."""
    state: StateSettings = StateSettings()
    """The store that all replicas share."""
    auth: AuthSettings = AuthSettings()
    """The keys of tenants and admins."""
    router: RouterSettings = RouterSettings()
    """How deployments are chosen, and when requests are refused."""
    metrics: MetricsSettings = MetricsSettings()
    """What metrics name."""
    model_list: tuple[DeploymentSettings, ...] = ()
    """The deployments; at least one is needed, and at most 300 may be enabled in a domain."""

    def domains(self) -> tuple[str, ...]:
        """Returns `state.domain` and the domains of the enabled deployments."""
        return tuple(dict.fromkeys((self.state.domain, *(each.domain for each in self.model_list if each.enabled))))


class ConfigurationError(Exception):
    """All problems of a configuration, rendered as one `path: message` per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Reads a file. Raises ConfigurationError, also when the file cannot be read."""
    text = yaml_source.text_of(path)
    if isinstance(text, Problem):
        raise ConfigurationError([text])
    return parse(text, environment)


def parse(text: str, environment: Mapping[str, str]) -> Settings:
    """Reads YAML. Raises ConfigurationError with all problems of the text, of its values, and between them."""
    source = yaml_source.read(text, environment)
    problems = list(source.problems)
    if source.document is None and problems:
        raise ConfigurationError(problems)
    mistyped: list[Problem] = []
    document = {} if source.document is None else source.document
    settings = read(Settings, _with_inherited(document, environment), "", mistyped)
    _report(problems, mistyped)
    _report(problems, _rule_problems(settings))
    if problems:
        raise ConfigurationError(problems)
    return msgspec.structs.replace(settings, model_list=tuple(_one_key_each(settings.model_list)))


def _one_key_each(entries: Iterable[DeploymentSettings]) -> Iterator[DeploymentSettings]:
    for entry in entries:
        for deployment_id, provider in provider_rules.one_key_each(entry.id, entry.provider):
            ids = patterns.slot_ids(deployment_id) if patterns.is_pattern(entry.model_name) else [deployment_id]
            yield from (msgspec.structs.replace(entry, id=each, provider=provider) for each in ids)


def exposure_problems(settings: Settings) -> Iterator[Problem]:
    """Yields problems of a gateway that the network can reach: no keys, or keys that can be guessed."""
    if rules.is_loopback(settings.server.host):
        return
    yield from weak_keys(settings.auth)
    if not settings.auth.keys:
        yield Problem("server.host", "without auth.keys only a loopback address such as 127.0.0.1 is allowed")


def _report(problems: list[Problem], more: Iterable[Problem]) -> None:
    """Adds the first problem of each path; later ones are mostly consequences of the first."""
    known = {problem.path for problem in problems}
    problems.extend(problem for problem in more if problem.path not in known)


def _with_inherited(document: object, environment: Mapping[str, str]) -> object:
    """Returns the document with defaults from the router, the environment and the model's name filled in."""
    entries = document.get("model_list") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(entries, list):
        return document
    router = read(RouterSettings, document.get("router") or {}, "router", [])
    wrong: list[Problem] = []
    state = read(StateSettings, document.get("state") or {}, "state", wrong)
    inherited = {
        "domain": None if wrong else state.domain,
        "latency_threshold": router.latency_threshold_ms and router.latency_threshold_ms / 1_000,
        "cooldown_period": router.circuit_breaker_cooldown_ms / 1_000,
    }
    filled = [_filled(entry, inherited, environment) for entry in entries]
    server = {} if document.get("server") is None else document["server"]
    memory = read(ServerSettings, server, "server", []).max_body_memory_bytes
    is_small = memory is not None and memory < DEFAULT_BODY
    defaults = {"region": environment.get("PLLM_REGION") or None, "max_body": memory if is_small else None}
    server = completed(server, defaults)
    return {**document, "server": server, "model_list": filled}


def _filled(entry: object, inherited: Mapping[str, object], environment: Mapping[str, str]) -> object:
    if not isinstance(entry, dict):
        return entry
    model_name = entry.get("model_name")
    provider = {} if entry.get("provider") is None else entry["provider"]
    # Keys of the environment are for the providers' own addresses: an entry with another address needs its own key.
    provider_defaults: dict[str, object] = {"model": model_name if isinstance(model_name, str) else None}
    if isinstance(provider, dict) and provider.get("base_url") is None:
        match provider.get("type"):
            case "anthropic":
                provider_defaults["base_url"] = ANTHROPIC_URL
                variable = "ANTHROPIC_API_KEY"
            case "openai" | None:
                variable = "OPENAI_API_KEY"
            case _:
                variable = ""
        if not provider_rules.has_source(provider):
            provider_defaults["api_key"] = environment.get(variable)
    provider = completed(provider, provider_defaults)
    return completed({**entry, "provider": provider}, inherited)


def _rule_problems(settings: Settings) -> Iterator[Problem]:
    yield from exposure_problems(settings)
    yield from state_problems(settings.state)
    memory = settings.server.max_body_memory_bytes
    if memory is not None and memory < settings.server.max_body_bytes:
        yield Problem(
            "server.max_body_memory", "less than server.max_body: a body of that size would always be refused"
        )
    yield from key_problems(settings.auth)
    yield from _router_problems(settings)
    yield from _model_problems(settings)
    if all(entry.cost == CostSettings() for entry in settings.model_list):
        yield from unpriced_problems(settings.router.budget, [entry.budget for entry in settings.auth.keys])
    served = {entry.region for entry in settings.model_list if entry.enabled and entry.region}
    yield from rules.region_problems("server.region", settings.server.region, served)


def state_problems(state: StateSettings) -> Iterator[Problem]:
    """Yields an invalid address of the store and time limits that contradict each other."""
    try:
        if state.url:
            parse_address(str(state.url))
    except ValueError as error:
        yield Problem("state.url", str(error))
    if state.lost_after_ms is not None and state.lost_after_ms < state.deadline_ms:
        yield Problem("state.lost_after", "shorter than state.deadline: the store would be lost before a call is late")


def _router_problems(settings: Settings) -> Iterator[Problem]:
    router = settings.router
    yield from autoscale_problems("router.autoscale", router.autoscale)
    if not router.score.load + router.score.latency + router.score.error > 0:
        yield Problem("router.score", "at least one weight must be above 0")
    if router.breaker.probe_successes > router.breaker.probes:
        yield Problem("router.breaker.probe_successes", "more than router.breaker.probes: it would never close")
    longest_ms, too_long = router.breaker.max_cooldown_ms, "longer than router.breaker.max_cooldown"
    if router.circuit_breaker_cooldown_ms > longest_ms:
        yield Problem("router.circuit_breaker_cooldown", too_long)
    for path, entry in _entries(settings):
        if entry.cooldown_period_ms > max(longest_ms, router.circuit_breaker_cooldown_ms):
            yield Problem(f"{path}.cooldown_period", too_long)
        check = entry.health_check
        if check is not None and check.timeout_ms > check.interval_ms:
            yield Problem(f"{path}.health_check.timeout", "longer than health_check.interval: checks would overlap")


def _model_problems(settings: Settings) -> Iterator[Problem]:
    if not settings.model_list:
        yield Problem("model_list", "at least one deployment is needed")
        return
    ids = [(f"{path}.id", each.id) for path, entry in _entries(settings) for each in _one_key_each([entry])]
    yield from rules.duplicates("id", ids)
    enabled = Counter({entry.model_name: 0 for entry in settings.model_list if entry.model_name})
    domains: Counter[str] = Counter()
    for deployment in settings.model_list:
        if deployment.enabled:
            domains[deployment.domain] += len(list(_one_key_each([deployment])))
            if deployment.model_name:
                enabled[deployment.model_name] += provider_rules.key_count(deployment.provider)
    for path, deployment in _entries(settings):
        yield from provider_rules.problems(path, deployment.id, deployment.provider, deployment.model_name)
    router = settings.router
    names = rules.ModelNames(enabled=enabled, aliases=router.aliases)
    yield from rules.deployment_count_problems(names, domains, "model_list")
    yield from rules.alias_problems(names, "router.aliases")
    yield from rules.chain_problems(names, "router.fallbacks", router.fallbacks)
    for field in ("context_window_fallbacks", "content_policy_fallbacks"):
        yield from rules.chain_problems(names, f"router.{field}", getattr(router, field))
    for field, of_models in (("model_queues", router.model_queues), ("model_strategies", router.model_strategies)):
        for model in of_models:
            yield from names.unknown_model(yaml_source.key_path(f"router.{field}", model), model)
    for index, entry in enumerate(settings.auth.keys):
        yield from rules.allowed_model_problems(names, f"auth.keys[{index}].models", entry.models)


def _entries(settings: Settings) -> list[tuple[str, DeploymentSettings]]:
    return [(yaml_source.item_path("model_list", i), entry) for i, entry in enumerate(settings.model_list)]
