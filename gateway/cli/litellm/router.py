"""Converts LiteLLM's `router_settings`, and the same keys in `litellm_settings` and `general_settings`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from gateway.cli.litellm import chains
from gateway.cli.litellm.draft import Draft
from gateway.cli.litellm.report import Unusable
from gateway.cli.litellm.values import switch, whole
from gateway.configuration.router import BreakerSettings, LoadSheddingSettings, QueueSettings, RouterSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.value_types import duration_ms
from gateway.configuration.yaml_source import key_path

STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least-busy",
    "latency-based-routing": "latency-based",
    "usage-based-routing": "usage-based",
    "usage-based-routing-v2": "usage-based",
    "cost-based-routing": "cost-based",
}
_LONGEST_DEFAULT_S = RouterSettings().request_timeout_ms / 1000
_LONGEST_COOLDOWN_S = BreakerSettings().max_cooldown_ms / 1000
_DAY_S = 86_400
_KINDS: Mapping[str, type[msgspec.Struct]] = {
    "": RouterSettings,
    "load_shedding": LoadSheddingSettings,
    "queue": QueueSettings,
}


class Given(NamedTuple):
    """A key's value."""

    value: Any
    path: str  # in their file


Settings = Mapping[str, Given]


def found_in(sections: Mapping[str, object], draft: Draft) -> dict[str, Given]:
    """Returns each key that this module converts. ``sections``: by path, the one that takes precedence first."""
    found: dict[str, Given] = {}
    for path, section in sections.items():
        for key, value in section.items() if isinstance(section, dict) else ():
            known = _ALIASES.get(str(key), str(key))
            if known not in TAKES or (path == "general_settings") != (known in _GENERAL):
                continue
            if value is None:
                draft.report.taken(key_path(path, key), "empty, as if it were left out")
            elif known in found:
                draft.report.ignored(key_path(path, key), f"{found[known].path} wins")
            else:
                found[known] = Given(value, key_path(path, key))
    return found


def take(given: Settings, draft: Draft) -> None:
    """Converts the keys in the order of the table: chains need the aliases, attempts need the chains."""
    for key, take_key in TAKES.items():
        if key in given:
            draft.each(given[key].path, partial(take_key, given[key].value, given[key].path, given, draft))
    finish(draft)


def _strategy(value: Any, path: str, _given: Settings, draft: Draft) -> None:
    ours = STRATEGIES.get(str(value))
    if ours is None:
        raise Unusable("a strategy that PLLM does not have; adaptive is its default")
    draft.router["routing_strategy"] = ours
    if value == "simple-shuffle":
        draft.report.approximated(path, "weighted: takes turns instead of a random draw")
    else:
        draft.report.taken(path, f"router.routing_strategy {ours}")


def _for_all(key: str, difference: str, value: Any, path: str, _given: Settings, draft: Draft) -> None:
    """Turns a default of all deployments into the setting of each deployment without one."""
    plain = draft.variables.plain(value, "number")
    draft.variables.put({}, DeploymentSettings, key, plain)
    for entry in draft.deployments:
        entry.setdefault(key, plain)
    draft.report.approximated(path, f"{key} of each deployment that has none: {difference}")


def _setting(section: str, key: str, difference: str) -> "TakeKey":
    """Returns a converter to one setting. ``section``: of our router, or empty for the router itself."""

    def take_key(value: Any, path: str, _given: Settings, draft: Draft) -> None:
        holder = dict(draft.router.get(section, {})) if section else draft.router
        draft.variables.put(holder, _KINDS[section], key, draft.variables.plain(value, "number"))
        if section:
            draft.router[section] = holder
        where = f"router.{section}.{key}" if section else f"router.{key}"
        draft.report.approximated(path, f"{where}: {difference}")

    return take_key


def _allowed_fails(value: Any, path: str, _given: Settings, draft: Draft) -> None:
    draft.put(draft.router, "circuit_breaker_threshold", whole(value) + 1)
    draft.report.approximated(path, "router.circuit_breaker_threshold, one more: failures in a row, not in a minute")


def _disable_cooldowns(value: Any, path: str, _given: Settings, draft: Draft) -> None:
    draft.router["circuit_breaker_enabled"] = not switch(value)
    draft.report.taken(path, "router.circuit_breaker_enabled")


def _aliases(value: Any, path: str, _given: Settings, draft: Draft) -> None:
    chains.take_aliases(value, path, draft)


def _max_fallbacks(value: Any, path: str, _given: Settings, draft: Draft) -> None:
    draft.longest_chain = whole(value)
    draft.report.approximated(path, "longer chains are cut to it")


def _chains(ours: str, value: Any, path: str, _given: Settings, draft: Draft) -> None:
    chains.take_chains(value, ours, path, draft.longest_chain, draft)


def _default_fallbacks(value: Any, path: str, _given: Settings, draft: Draft) -> None:
    chains.take_default(value, "fallbacks", path, draft.longest_chain, draft)


def _retries(value: Any, path: str, _given: Settings, draft: Draft) -> None:
    longest = max((len(chain) for chain in draft.router.get("fallbacks", {}).values()), default=0)
    draft.put(draft.router, "max_attempts", whole(value) + 1 + longest)
    text = "router.max_attempts: the first, these, and one for each model of the longest chain"
    draft.report.approximated(path, text)


TakeKey = Callable[[Any, str, Settings, Draft], None]
TAKES: dict[str, TakeKey] = {
    "routing_strategy": _strategy,
    "timeout": partial(_for_all, "timeout", "of one attempt"),
    "stream_timeout": partial(_for_all, "first_byte_timeout", "of streams, until the first byte"),
    "default_max_parallel_requests": partial(_for_all, "max_parallel", "in the whole cluster, not in each process"),
    "max_parallel_requests": partial(_for_all, "max_parallel", "in the whole cluster, not in each process"),
    "allowed_fails": _allowed_fails,
    "cooldown_time": _setting("", "circuit_breaker_cooldown", "doubles with every trip, and ends in probes"),
    "disable_cooldowns": _disable_cooldowns,
    "global_max_parallel_requests": _setting(
        "load_shedding", "max_active_requests", "of the whole cluster, by priority"
    ),
    "max_queued_requests_per_worker": _setting("queue", "max_waiting", "of each model on each replica"),
    "admission_queue_timeout_seconds": _setting("queue", "max_wait", "while all deployments of a model are full"),
    "model_group_alias": _aliases,
    "max_fallbacks": _max_fallbacks,
    **{key: partial(_chains, key) for key in chains.CHAINS},
    "default_fallbacks": _default_fallbacks,
    "num_retries": _retries,
}
KNOWN = TAKES.keys()
_ALIASES = {"request_timeout": "timeout", "model_alias_map": "model_group_alias"}
_GENERAL = {
    *("max_parallel_requests", "global_max_parallel_requests"),
    *("max_queued_requests_per_worker", "admission_queue_timeout_seconds"),
}


def finish(draft: Draft) -> None:
    """Adds settings that follow from several keys, and those that LiteLLM has by default."""
    report, router = draft.report, draft.router
    is_given = "routing_strategy" in router
    if router.setdefault("routing_strategy", "weighted") == "weighted":
        _weights(draft)
    _orders(draft)
    if not is_given and router["routing_strategy"] == "weighted":
        report.added("router.routing_strategy", "weighted, as LiteLLM's default simple-shuffle; PLLM's own is adaptive")
    cooldowns = [router.get("circuit_breaker_cooldown"), *(each.get("cooldown_period") for each in draft.deployments)]
    longest = max(map(_seconds, cooldowns))
    if longest > _LONGEST_COOLDOWN_S:
        router["breaker"] = {"max_cooldown": _shortest(longest)}
        report.added("router.breaker.max_cooldown", "the longest cooldown of the file")
    attempt = max(_seconds(each.get("timeout")) for each in draft.deployments)
    if 2 * attempt > _LONGEST_DEFAULT_S:
        router["request_timeout"] = _shortest(min(2 * attempt, _DAY_S))
        report.added("router.request_timeout", "for all attempts together: twice the longest timeout")
    for entry in draft.deployments if router["routing_strategy"] == "cost-based" else ():
        if "cost" not in entry:
            report.added(f"{entry['id']}: cost", "none, so the model is free: PLLM has no price list")


def _seconds(value: object) -> float:
    """Returns 0 for a setting that is left out or a variable."""
    try:
        return duration_ms(value) / 1000
    except ValueError:
        return 0


def _shortest(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


def _weights(draft: Draft) -> None:
    """Sets weights as simple-shuffle draws: by weight, else by rpm, else by tpm."""
    for model in draft.enabled():
        group = [entry for entry in draft.deployments if entry["model_name"] == model]
        if any("weight" in entry for entry in group):
            continue
        key = next((key for key in ("rpm", "tpm") if any(key in entry for entry in group)), None)
        for entry in group if key and len(group) > 1 else ():
            if key in entry:
                entry["weight"] = entry[key]
                draft.report.added(f"{entry['id']}: weight", f"its {key}, by which simple-shuffle draws")


def _orders(draft: Draft) -> None:
    """Turns orders, lower first, into priorities, higher first. Only the strategy `priority` uses them."""
    orders = sorted({each["order"][1] for each in draft.deployments if "order" in each}, reverse=True)
    if not orders:
        return
    is_used = draft.router["routing_strategy"] == "weighted"
    if is_used:
        draft.router["routing_strategy"] = "priority"
        draft.report.added("router.routing_strategy", "priority, because there are orders; weights decide among equals")
    where = "priority, for the strategy of this name" if is_used else "priority, which this strategy ignores"
    ordered = {entry["model_name"] for entry in draft.deployments if "order" in entry}
    for entry in draft.deployments:
        path, order = entry.pop("order", ("", None))
        if order is not None:
            entry["priority"] = 10 * (orders.index(order) + 1)
            draft.report.approximated(path, where)
        elif entry["model_name"] in ordered:
            entry["priority"] = 0
