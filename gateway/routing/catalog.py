"""Resolves a model's name to its candidates: aliases, then the model's deployments, then its fallback chain.

Routes are computed when the configuration is loaded, so that a request costs one dict look-up. Health plays no part
here: the shared store decides which candidate can serve at the moment when it grants the permit.
"""

from collections.abc import Collection, Sequence

import msgspec

from gateway.configuration.router import RouterSettings
from gateway.configuration.rules import MAX_CANDIDATES
from gateway.configuration.settings import DeploymentSettings, Settings
from gateway.configuration.state_owners import account_of
from gateway.upstream.classify import Refusal


class Candidate(msgspec.Struct, frozen=True):
    """A deployment that may serve a request."""

    deployment: DeploymentSettings
    tier: int  # 0 for the requested model, n for the nth model of its fallback chain


class Route(msgspec.Struct, frozen=True):
    """The candidates for a model, independent of the kind of call."""

    model: str  # the name behind an alias
    candidates: tuple[Candidate, ...]
    chains: dict[Refusal, tuple[Candidate, ...]] = {}  # the candidates after the model refused a request in this way


class Catalog:
    """The models, deployments, aliases and fallback chains of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._deployments = settings.model_list
        self._aliases, self._is_within_key = settings.router.aliases, settings.router.fallbacks_within_key
        names = dict.fromkeys(deployment.model_name for deployment in settings.model_list)
        self._routes = {model: self._route(model, settings.router) for model in names}
        self._routes |= {alias: self._routes[model] for alias, model in settings.router.aliases.items()}

    def _route(self, model: str, router: RouterSettings) -> Route:
        chains = {
            Refusal.CONTEXT_WINDOW: router.context_window_fallbacks.get(model),
            Refusal.CONTENT_POLICY: router.content_policy_fallbacks.get(model),
        }
        return Route(
            model,
            self._candidates((model, *router.fallbacks.get(model, ()))),
            {refusal: self._candidates(chain, first_tier=1) for refusal, chain in chains.items() if chain},
        )

    def _candidates(self, chain: Sequence[str], first_tier: int = 0) -> tuple[Candidate, ...]:
        candidates = (
            Candidate(deployment, tier)
            for tier, name in enumerate(chain, first_tier)
            for deployment in self._deployments
            if deployment.enabled and deployment.model_name == name
        )
        return tuple(candidates)[:MAX_CANDIDATES]

    def resolve(self, model: str, allowed: frozenset[str] = frozenset()) -> Route | None:
        """Returns None if no deployment and no alias has this name. ``allowed``: the models and aliases on a key's
        list; empty: all of them. The route and its chains leave out fallback models that are not on the list.
        """
        route = self._routes.get(model)
        if route is None or not allowed or not self._is_within_key:
            return route
        own = {route.model, *(self._aliases.get(name, name) for name in allowed)}
        candidates = of_models(own, route.candidates)
        chains = {refusal: of_models(own, chain) for refusal, chain in route.chains.items()}
        if (candidates, chains) == (route.candidates, route.chains):
            return route
        return Route(route.model, candidates, {refusal: chain for refusal, chain in chains.items() if chain})

    def models(self) -> tuple[str, ...]:
        """Returns every name that a call may use: the models in the order of the configuration, then the aliases."""
        return tuple(self._routes)

    def of_key(self, allowed: frozenset[str]) -> tuple[Candidate, ...]:
        """Returns the enabled deployments of all models on a key's list; empty: of every model."""
        own = {self._aliases.get(name, name) for name in allowed}
        enabled = (each for each in self._deployments if each.enabled)
        return tuple(Candidate(each, 0) for each in enabled if not own or each.model_name in own)

    def deployments(self) -> tuple[DeploymentSettings, ...]:
        """Returns all deployments, including disabled ones."""
        return self._deployments


def is_same_account(one: Candidate, other: Candidate) -> bool:
    """Returns whether either can serve what the other's provider keeps."""
    return account_of(one.deployment.provider) == account_of(other.deployment.provider)


def of_models(names: Collection[str], candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Returns the candidates that serve one of these models."""
    return tuple(each for each in candidates if each.deployment.model_name in names)
