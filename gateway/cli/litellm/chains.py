"""Converts LiteLLM's aliases and fallback chains. In our chains every name is a served model and occurs once; names
that have to be dropped for that are reported.
"""

from collections.abc import Iterator
from functools import partial

from gateway.cli.litellm.draft import Draft, plain_name
from gateway.cli.litellm.report import Unusable
from gateway.configuration.rules import MAX_CANDIDATES, ModelNames
from gateway.configuration.yaml_source import item_path, key_path

CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_NOT_SERVED = "no deployment that was taken over serves it"


def take_aliases(value: object, path: str, draft: Draft) -> None:
    """Converts the aliases, aliases of aliases included. Raises Unusable."""
    if not isinstance(value, dict):
        raise Unusable("expected a mapping from names to models")
    # The second pass resolves aliases of aliases.
    for _ in range(2):
        for alias, target in value.items():
            alias_path = key_path(path, alias)
            draft.each(alias_path, partial(_take_alias, alias, target, alias_path, draft))


def _take_alias(alias: object, target: object, path: str, draft: Draft) -> None:
    name, hidden = str(alias), isinstance(target, dict) and target.get("hidden")
    model = draft.target(target.get("model") if isinstance(target, dict) else target)
    if model is None:
        raise Unusable(_NOT_SERVED)
    if not name or name != plain_name(name):
        raise Unusable("expected letters, digits or any of . _ : / @ - in a name")
    if name in draft.models.values():
        raise Unusable("a model has this name")
    draft.aliases[name] = model
    if hidden:
        draft.report.approximated(path, "router.aliases; it is not hidden from /v1/models")
    else:
        draft.report.taken(path, "router.aliases")


def take_chains(value: object, ours: str, path: str, longest: int | None, draft: Draft) -> None:
    """Takes a list of mappings, or one mapping, from a model to its chain. Raises Unusable."""
    everywhere: list[tuple[object, str]] = []
    for name, targets, chain_path in _pairs(value, path):
        if str(name) == "*":
            everywhere.append((targets, chain_path))
        else:
            draft.each(chain_path, partial(_take_chain, name, targets, ours, chain_path, longest, draft))
    for targets, chain_path in everywhere:
        draft.each(chain_path, partial(take_default, targets, ours, chain_path, longest, draft))


def _pairs(value: object, path: str) -> Iterator[tuple[object, object, str]]:
    if isinstance(value, dict):
        for name, targets in value.items():
            yield name, targets, key_path(path, name)
    elif isinstance(value, list) and all(isinstance(mapping, dict) for mapping in value):
        for index, mapping in enumerate(value):
            yield from _pairs(mapping, item_path(path, index))
    else:
        raise Unusable("expected mappings from a model to a list of models")


def _take_chain(name: object, targets: object, ours: str, path: str, longest: int | None, draft: Draft) -> None:
    model = draft.model(name)
    if model is None:
        raise Unusable(_NOT_SERVED)
    chains = draft.router.setdefault(ours, {})
    if model in chains:
        raise Unusable("the model already has a chain of this kind")
    chain, lost = _chain(model, targets, longest, draft)
    if not chain:
        raise Unusable("; ".join(["no model is left in it", *lost]))
    chains[model] = chain
    where = f"router.{ours}.{model}"
    if lost:
        draft.report.approximated(path, f"{where}, without {'; '.join(lost)}")
    else:
        draft.report.taken(path, where)


def take_default(targets: object, ours: str, path: str, longest: int | None, draft: Draft) -> None:
    """Sets the chain of every model that has none. Raises Unusable."""
    chains = draft.router.setdefault(ours, {})
    lost: dict[str, None] = {}
    count = 0
    for model in sorted(draft.enabled()):
        if model not in chains:
            chain, without = _chain(model, targets, longest, draft)
            lost |= dict.fromkeys(target for target in without if target != _ITSELF)
            if chain:
                chains[model] = chain
                count += 1
    if not count:
        raise Unusable("; ".join(["no model is left that could use it", *lost]))
    without_text = f", without {'; '.join(lost)}" if lost else ""
    draft.report.approximated(path, f"router.{ours} of the {count} models that had none{without_text}")


_ITSELF = "the model itself"


def _chain(model: str, targets: object, longest: int | None, draft: Draft) -> tuple[list[str], list[str]]:
    """Returns the chain, and in words the targets that it lost. A single name is a chain of one."""
    chain: list[str] = []
    lost: list[str] = []
    count = ModelNames(draft.enabled(), {}).count
    for target in targets if isinstance(targets, list) else [targets]:
        found = None if isinstance(target, dict | list) else draft.target(target)
        if isinstance(target, dict | list):
            lost.append("a target with parameters of its own")
        elif found is None:
            lost.append(f"{plain_name(str(target))} ({_NOT_SERVED})")
        elif found == model:
            lost.append(_ITSELF)
        elif found in chain:
            lost.append(f"{found} a second time")
        elif longest is not None and len(chain) >= longest:
            lost.append(f"{found} (max_fallbacks)")
        elif sum(map(count, (model, *chain, found))) > MAX_CANDIDATES:
            lost.append(f"{found} (a chain has at most {MAX_CANDIDATES} deployments)")
        else:
            chain.append(found)
    return chain, lost
