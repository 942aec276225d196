"""Resolves a model's name to its candidates: aliases, then the model's deployments, then its fallback chain.

Routes are computed when the configuration is loaded, so that a request costs one dict look-up. Health plays no part
here: the shared store decides which candidate can serve at the moment when it grants the permit.
"""

from collections.abc import Collection, Iterator, Sequence

import msgspec

from gateway.configuration import patterns
from gateway.configuration.rules import MAX_CANDIDATES
from gateway.configuration.settings import DeploymentSettings, Settings
from gateway.configuration.state_owners import account_of
from gateway.upstream.classify import Refusal


class Candidate(msgspec.Struct, frozen=True):
    """A deployment that may serve a request."""

    deployment: DeploymentSettings
    tier: int  # 0 for the requested model, n for the nth model of its fallback chain
    model: str = ""  # the model's name where the deployment serves all that match a pattern
    upstream: str = ""  # the same model's name at the provider

    def is_same(self, other: "Candidate") -> bool:
        """Returns whether another candidate, perhaps of another tier, is the same deployment for the same model."""
        return self.deployment is other.deployment and self.model == other.model


class Route(msgspec.Struct, frozen=True):
    """The candidates for a model, independent of the kind of call."""

    model: str  # the name behind an alias, or the pattern that the name matches
    candidates: tuple[Candidate, ...]
    chains: dict[Refusal, tuple[Candidate, ...]] = {}  # the candidates after the model refused a request in this way


class Catalog:
    """The models, deployments, aliases and fallback chains of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._deployments, self._router = settings.model_list, settings.router
        self._aliases, self._is_within_key = settings.router.aliases, settings.router.fallbacks_within_key
        names = dict.fromkeys(deployment.model_name for deployment in settings.model_list)
        self._members = {name: [each for each in settings.model_list if each.model_name == name] for name in names}
        self._patterns = patterns.by_length(names)
        self._routes = {model: self._route(model, model) for model in names if not patterns.is_pattern(model)}
        routes = {alias: self.resolve(model) for alias, model in settings.router.aliases.items()}
        self._routes |= {alias: route for alias, route in routes.items() if route is not None}

    def _route(self, model: str, configured: str) -> Route:
        """Returns the route of a model. ``configured``: its name in the configuration, which may be a pattern."""
        router = self._router
        chains = {
            Refusal.CONTEXT_WINDOW: router.context_window_fallbacks.get(configured),
            Refusal.CONTENT_POLICY: router.content_policy_fallbacks.get(configured),
        }
        return Route(
            configured,
            self._candidates((model, *router.fallbacks.get(configured, ()))),
            {refusal: self._candidates(chain, first_tier=1) for refusal, chain in chains.items() if chain},
        )

    def _candidates(self, chain: Sequence[str], first_tier: int = 0) -> tuple[Candidate, ...]:
        candidates = (
            candidate for tier, name in enumerate(chain, first_tier) for candidate in self._own_candidates(name, tier)
        )
        return tuple(candidates)[:MAX_CANDIDATES]

    def _own_candidates(self, name: str, tier: int) -> Iterator[Candidate]:
        pattern = None if name in self._members else patterns.pattern_of(name, self._patterns)
        if pattern is None:
            yield from (Candidate(each, tier) for each in self._members.get(name, ()) if each.enabled)
            return
        for each in self._members[pattern][patterns.slot_of(name) :: patterns.SLOTS]:
            if each.enabled:
                yield Candidate(each, tier, name, patterns.upstream_model(each.provider.model, pattern, name))

    def resolve(self, model: str, allowed: frozenset[str] = frozenset()) -> Route | None:
        """Returns None if no deployment and no alias has this name. ``allowed``: the models and aliases on a key's
        list; empty: all of them. The route and its chains leave out fallback models that are not on the list.
        """
        route = self._routes.get(model)
        if route is None and (pattern := patterns.pattern_of(model, self._patterns)):
            route = self._route(model, pattern)
        if route is None or not allowed or not self._is_within_key:
            return route
        own = {self._aliases.get(name, name) for name in allowed}
        candidates = of_models(own, route.candidates)
        chains = {refusal: of_models(own, chain) for refusal, chain in route.chains.items()}
        if (candidates, chains) == (route.candidates, route.chains):
            return route
        return Route(route.model, candidates, {refusal: chain for refusal, chain in chains.items() if chain})

    def models(self) -> tuple[str, ...]:
        """Returns every name that a call may use: the models in the order of the configuration, then the aliases.
        Patterns are not among them.
        """
        return tuple(self._routes)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of models, the longest first."""
        return self._patterns

    def is_of_pattern(self, name: str) -> bool:
        """Returns whether the name is no model of the configuration, but matches a pattern."""
        return name not in self._routes and patterns.pattern_of(name, self._patterns) is not None

    def name_behind(self, name: str) -> str:
        """Returns the name behind an alias, or the name itself."""
        return self._aliases.get(name, name)

    def of_key(self, allowed: frozenset[str]) -> tuple[Candidate, ...]:
        """Returns the enabled deployments of all models on a key's list; empty: of every model."""
        own = {self._aliases.get(name, name) for name in allowed}
        own |= {pattern for name in own if (pattern := patterns.pattern_of(name, self._patterns))}
        enabled = (each for each in self._deployments if each.enabled)
        return tuple(Candidate(each, 0) for each in enabled if not own or each.model_name in own)

    def deployments(self) -> tuple[DeploymentSettings, ...]:
        """Returns all deployments, including disabled ones."""
        return self._deployments


def is_same_account(one: Candidate, other: Candidate) -> bool:
    """Returns whether either can serve what the other's provider keeps."""
    return account_of(one.deployment.provider) == account_of(other.deployment.provider)


def of_models(names: Collection[str], candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Returns the candidates for the requested model, and those for one of these models or patterns."""
    return tuple(
        each for each in candidates if not each.tier or each.deployment.model_name in names or each.model in names
    )
