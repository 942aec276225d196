"""Converts LiteLLM's `model_list`: one deployment for each entry whose provider we support."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.cli.litellm.draft import Draft, deployment_id, model_names, plain_name
from gateway.cli.litellm.providers import AZURE_BASE, PROVIDERS, Target, target
from gateway.cli.litellm.reasons import SHOWN, reason
from gateway.cli.litellm.report import UNKNOWN, Unusable
from gateway.cli.litellm.values import Kind, number, switch
from gateway.configuration.money import CostSettings
from gateway.configuration.patterns import is_pattern, slot_ids
from gateway.configuration.provider import ProviderSettings
from gateway.configuration.provider_rules import ID_MOST
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.yaml_source import item_path, key_path

_PATTERN = "a pattern of PLLM has one *, at its end, after letters, digits or any of . _ : / @ -"
_NO_PATTERN = "provider.model has no * where model_name has none"
_ANY_PROVIDER = "the requested name would choose the provider: write an entry for each provider"


class Key(NamedTuple):
    """Our equivalent of a key."""

    ours: str
    difference: str = ""  # of its meaning, in words


# In litellm_params, in the entry itself, or in model_info; the first place wins.
KEYS = {
    "rpm": Key("rpm", "exact in the whole cluster: LiteLLM only routes by it"),
    "tpm": Key("tpm", "exact in the whole cluster: LiteLLM only routes by it"),
    "weight": Key("weight"),
    "timeout": Key("timeout"),
    "stream_timeout": Key("first_byte_timeout", "of streams, until the first byte"),
    "max_parallel_requests": Key("max_parallel", "of the whole cluster, not of each process"),
    "cooldown_time": Key("cooldown_period", "doubles with every trip, and ends in probes"),
    "region_name": Key("region", "a replica with a server.region prefers its own"),
    "tags": Key("tags", "a request demands them by the header x-pllm-tags, all of them"),
}
COSTS = {
    "input_cost_per_token": "input_per_million",
    "output_cost_per_token": "output_per_million",
    "cache_read_input_token_cost": "cache_read_per_million",
    "cache_creation_input_token_cost": "cache_write_per_million",
}
_MAY_BE_0 = ("cache_read_per_million", "cache_write_per_million")  # left out, they are a share of the input's price
SMALLEST_WEIGHT = 0.001
EMPTY = "empty, as if it were left out"
_ADDRESS = ("api_base", "base_url")
_AZURE_NEW_STYLE = ("v1", "latest", "preview")


def take(entries: list[object], draft: Draft) -> None:
    """Converts the entries and drops models without a deployment."""
    maps = [entry for entry in entries if isinstance(entry, dict)]
    draft.models = model_names(str(entry["model_name"]) for entry in maps if entry.get("model_name") is not None)
    for index, entry in enumerate(entries):
        path = item_path("model_list", index)
        try:
            _take_entry(entry, path, draft)
        except Unusable as problem:
            draft.report.ignored_with_all(path, str(problem))
    served = {entry["model_name"] for entry in draft.deployments}
    draft.models = {theirs: ours for theirs, ours in draft.models.items() if ours in served}
    draft.keep_within_limits()


def _take_entry(entry: object, path: str, draft: Draft) -> None:
    """Converts one entry. Raises Unusable when no deployment can be made of it."""
    if not isinstance(entry, dict):
        raise Unusable("an entry is a mapping with model_name and litellm_params")
    params, info = entry.get("litellm_params"), entry.get("model_info")
    if entry.get("model_name") is None:
        raise Unusable("model_name is missing")
    if not isinstance(params, dict) or params.get("model") is None:
        raise Unusable("litellm_params is missing, or has no model")
    name = draft.models.get(str(entry["model_name"]))
    if name is None:
        raise Unusable(_PATTERN if "*" in str(entry["model_name"]) else "no letter or digit in model_name")
    _check_wildcards(name, str(params["model"]))
    info = info if isinstance(info, dict) else {}
    found = target(_model(params["model"], draft), params.get("custom_llm_provider"))
    ours: dict[str, Any] = {"id": _id(info.get("id"), name, found, path, draft), "model_name": name}
    ours["provider"] = _provider(params, found, ours["id"], name, f"{path}.litellm_params", draft)
    _report_names(str(entry["model_name"]), name, found, path, draft)
    for holder, place in ((params, f"{path}.litellm_params"), (entry, path), (info, f"{path}.model_info")):
        for key, value in holder.items():
            _take_key(key, value, key_path(place, key), ours, draft)
    draft.deployments.append(ours)
    draft.origins.append(path)


def _check_wildcards(name: str, model: str) -> None:
    """Raises Unusable for a model with a * that nothing replaces."""
    if model == "*":
        raise Unusable(_ANY_PROVIDER)
    if "*" in model and not is_pattern(name):
        raise Unusable(_NO_PATTERN)
    if model.count("*") > 1:
        raise Unusable(_PATTERN)


def _model(value: object, draft: Draft) -> str:
    plain = draft.variables.plain(str(value), "text")
    if "${" in str(plain):
        raise Unusable("a variable does not show its provider")
    return str(plain)


def _id(given: object, name: str, found: Target, path: str, draft: Draft) -> str:
    used = {entry["id"] for entry in draft.deployments}
    longer = max((name, found.model), key=len)
    wanted = longer if name in longer and found.model in longer else f"{name}-{found.model}"
    most = ID_MOST
    if is_pattern(name):
        wanted = wanted.replace("*", "").strip("/-") or found.provider.type
        most -= len(slot_ids("")[0])
    if given is None:
        return deployment_id(wanted, used, most)
    text = str(given)
    ours = deployment_id(plain_name(text), used, most)
    if ours == text:
        draft.report.taken(f"{path}.model_info.id", "id")
    else:
        draft.report.approximated(f"{path}.model_info.id", f"id {ours}: changed to be valid and unique")
    return ours


def _report_names(theirs: str, ours: str, found: Target, path: str, draft: Draft) -> None:
    if is_pattern(ours) and ours.removesuffix("/*") in PROVIDERS:
        text = f"model_name {ours}: only for names that begin so, not for names without the provider"
        draft.report.approximated(f"{path}.model_name", text)
    elif theirs == ours:
        draft.report.taken(f"{path}.model_name", "model_name")
    else:
        draft.report.approximated(f"{path}.model_name", f"model_name {ours}, without characters that PLLM refuses")
    model = f"{path}.litellm_params.model"
    if found.is_like_openai:
        draft.report.approximated(
            model, "provider.model, called in OpenAI's dialect, which this provider supports as well"
        )
    else:
        draft.report.taken(model, f"provider.type {found.provider.type} and provider.model")


def _provider(
    params: Mapping[str, Any], found: Target, entry: str, name: str, path: str, draft: Draft
) -> dict[str, Any]:
    """Returns the provider. Raises Unusable without an address: calls for one server must not go to another."""
    ours: dict[str, Any] = {"type": found.provider.type}
    key = next((key for key in _ADDRESS if params.get(key)), None)
    if key is not None:
        _take_address(params[key], key, found, path, ours, draft)
    elif found.provider.type == "azure":
        ours["base_url"] = draft.variables.named(AZURE_BASE, "url")
        draft.report.added(f"{entry}: provider.base_url", f"{ours['base_url']}, which LiteLLM reads")
    elif not found.provider.base_url:
        raise Unusable("api_base is missing: set the address of this server")
    else:
        ours["base_url"] = found.provider.base_url
    draft.variables.put(ours, ProviderSettings, "model", found.model)
    _take_secret(params.get("api_key"), key is not None, found, entry, path, ours, draft)
    _take_version(params.get("api_version"), path, ours, is_pattern(name), draft)
    return ours


def _take_address(value: object, key: str, found: Target, path: str, ours: dict[str, Any], draft: Draft) -> None:
    if found.provider.is_fixed:
        raise Unusable("at another address this provider does not support OpenAI's dialect")
    address = str(draft.variables.plain(value, "url")).rstrip("/")
    ending = found.provider.path
    draft.variables.put(ours, ProviderSettings, "base_url", address if address.endswith(ending) else address + ending)
    if ours["base_url"] == address:
        draft.report.taken(f"{path}.{key}", "provider.base_url")
    else:
        draft.report.approximated(f"{path}.{key}", f"provider.base_url, with {ending} at its end")


def _take_secret(
    value: object, has_address: bool, found: Target, entry: str, path: str, ours: dict[str, Any], draft: Draft
) -> None:
    if value:
        ours["api_key"], is_literal = draft.variables.secret(value, f"{entry}_API_KEY")
        text = f"provider.api_key {ours['api_key']}"
        if is_literal:
            draft.report.approximated(f"{path}.api_key", f"{text}: the key was in the file, put it into this variable")
        else:
            draft.report.taken(f"{path}.api_key", text)
    elif found.provider.key and has_address and found.provider.type != "azure":
        text = (
            f"none; LiteLLM would send {found.provider.key} to this address, PLLM sends only a key that the entry names"
        )
        draft.report.added(f"{entry}: provider.api_key", text)
    elif found.provider.key:
        ours["api_key"] = draft.variables.named(found.provider.key, "text")
        draft.report.added(f"{entry}: provider.api_key", f"{ours['api_key']}, which LiteLLM reads")


def _take_version(value: object, path: str, ours: dict[str, Any], is_for_pattern: bool, draft: Draft) -> None:
    def handle() -> None:
        if ours["type"] != "azure":
            raise Unusable("only Azure has one")
        if value in _AZURE_NEW_STYLE:
            draft.report.taken(f"{path}.api_version", "the newer addresses, which PLLM uses without api_version")
            return
        if is_for_pattern:
            raise Unusable("a pattern has only the newer addresses, which PLLM uses without api_version")
        draft.variables.put(ours, ProviderSettings, "api_version", draft.variables.plain(value, "text"))
        draft.report.taken(f"{path}.api_version", "provider.api_version")

    if value is not None:
        draft.each(f"{path}.api_version", handle)


def _take_key(key: object, value: object, path: str, ours: dict[str, Any], draft: Draft) -> None:
    """Converts a key outside the provider. Keys of the provider have been reported already."""

    def handle() -> None:
        if value is None or value == "":
            draft.report.taken(path, EMPTY)
        elif str(key) in KEYS:
            _take_known(KEYS[str(key)], value, path, ours, draft)
        elif str(key) in COSTS:
            _take_cost(COSTS[str(key)], value, path, ours, draft)
        elif key == "order":
            ours["order"] = (path, number(value))  # becomes a priority once all orders are known
        elif key == "custom_llm_provider":
            draft.report.taken(path, "provider.type")
        elif key == "blocked":
            ours["enabled"] = not switch(value)
            draft.report.taken(path, "enabled")
        else:
            why = reason(str(key))
            raise Unusable(SHOWN if why == UNKNOWN and ".model_info." in path else why)

    if not draft.report.has(path) and str(key) not in ("litellm_params", "model_info"):
        draft.each(path, handle)


def _take_known(known: Key, value: object, path: str, ours: dict[str, Any], draft: Draft) -> None:
    if known.ours in ours:
        raise Unusable("litellm_params has it as well, and wins")
    kind: Kind = "text" if known.ours in ("region", "tags") else "number"
    plain: object
    if isinstance(value, list):
        plain = [draft.variables.plain(item, kind) for item in value]
    else:
        plain = draft.variables.plain(value, kind)
    if known.ours == "weight" and plain == 0:
        draft.variables.put(ours, DeploymentSettings, "weight", SMALLEST_WEIGHT)
        draft.report.approximated(path, f"weight {SMALLEST_WEIGHT}: 0 is not allowed")
        return
    draft.variables.put(ours, DeploymentSettings, known.ours, plain)
    if known.difference:
        draft.report.approximated(path, f"{known.ours}: {known.difference}")
    else:
        draft.report.taken(path, known.ours)


def _take_cost(ours_key: str, value: object, path: str, ours: dict[str, Any], draft: Draft) -> None:
    costs = dict(ours.get("cost", {}))
    if ours_key in costs:
        raise Unusable("litellm_params has it as well, and wins")
    price = round(number(value) * 1_000_000, 6)
    if not price and ours_key not in _MAY_BE_0:
        draft.report.taken(path, "left out: a model without a price is free")
        return
    draft.variables.put(costs, CostSettings, ours_key, price)
    ours["cost"] = costs
    draft.report.taken(path, f"cost.{ours_key}")
