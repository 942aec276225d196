"""The routes of the configuration in force, by model and kind of call: for keys that may use every model, and for keys
with a list of models, which also limits their fallbacks.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from gateway.configuration.router import QueueSettings
from gateway.configuration.rules import MAX_CANDIDATES
from gateway.errors import Forbidden, GatewayError, InvalidRequest, ModelNotFound
from gateway.request.auth import Tenant
from gateway.request.calls import Call, Kind
from gateway.request.wishes import FALLBACKS, NO_WISHES, Wishes
from gateway.routing.catalog import Candidate, Catalog, of_models
from gateway.routing.itinerary import Leg, PackPlan, itineraries, legs
from gateway.routing.queueing import Queue
from gateway.routing.routing_state import Route
from gateway.upstream.classify import Refusal
from gateway.upstream.client import UpstreamClient

LISTED_MOST = 10_000  # routes kept for keys with a list: tenants that come and go must not fill the memory
MATCHED_MOST = 1_000  # routes kept for models that match a pattern
WISHED_MOST = 1_000  # routes kept for requests that name their fallbacks: clients must not fill it either


class Routes:
    """The routes of one configuration. ``queue`` returns the queue of a model, by its name and the ids of its
    candidates; ``packer`` returns what packs the decisions about a model.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        catalog: Catalog,
        queue: Callable[[str, Sequence[str]], Queue],
        packer: Callable[[str], PackPlan],
    ) -> None:
        self._upstream = upstream
        self._catalog = catalog
        self._queue = queue
        self._packer = packer
        self._whole = {(model, kind): self._build(model, kind) for model in catalog.models() for kind in Kind}
        self._of_patterns: dict[tuple[str, Kind], Route] = {}
        self._by_list: dict[tuple[str, Kind, frozenset[str]], Route] = {}
        self._by_wish: dict[tuple[str, Kind, frozenset[str], tuple[str, ...]], Route] = {}

    def _build(self, model: str, kind: Kind, allowed: frozenset[str] = frozenset()) -> Route:
        route = self._catalog.resolve(model, allowed)
        assert route is not None
        candidates = self._serving(route.candidates, kind)
        chains = {refusal: self._serving(chain, kind) for refusal, chain in route.chains.items()}
        queue = self._queue(route.model, [candidate.deployment.id for candidate in candidates])
        return self._routed(route.model, candidates, chains, queue)

    def _routed(
        self,
        model: str,
        candidates: tuple[Candidate, ...],
        chains: dict[Refusal, tuple[Candidate, ...]],
        queue: Queue,
    ) -> Route:
        pack = self._packer(model)
        return Route(model, candidates, itineraries(candidates, pack), chains, queue, self._upstream, pack)

    def _serving(self, candidates: Sequence[Candidate], kind: Kind) -> tuple[Candidate, ...]:
        return tuple(c for c in candidates if self._upstream.serves(c.deployment.id, kind))

    def _unlisted(self, model: str, kind: Kind) -> Route | None:
        """Returns the route of a model for a key that may use every model; None for an unknown model."""
        route = self._whole.get((model, kind)) or self._of_patterns.get((model, kind))
        if route is None and self._catalog.is_of_pattern(model):
            if len(self._of_patterns) >= MATCHED_MOST:
                self._of_patterns.clear()
            route = self._of_patterns[model, kind] = self._build(model, kind)
        return route

    def _stored(self, allowed: frozenset[str]) -> Route:
        """Returns the route of stored responses: every deployment of the key that has the endpoint, in legs that one
        decision may consider. No request waits on it, as its model is unknown.
        """
        key = ("", Kind.RESPONSE, allowed)
        route = self._by_list.get(key)
        if route is None:
            of_key, pack = self._catalog.of_key(allowed), self._packer("")
            candidates = tuple(c for c in of_key if self._upstream.speaks(c.deployment.id, Kind.RESPONSE))
            most = MAX_CANDIDATES
            parts = [leg[k : k + most] for leg in legs(candidates) for k in range(0, len(leg), most)]
            order = tuple(Leg(part, pack(part, part is not parts[-1])) for part in parts)
            if len(self._by_list) >= LISTED_MOST:
                self._by_list.clear()
            queue = Queue(QueueSettings(max_waiting=0), asyncio.get_running_loop().time)
            route = self._by_list[key] = Route("", candidates, (order,), {}, queue, self._upstream, pack)
        return route

    def of(self, call: Call, tenant: Tenant, wishes: Wishes = NO_WISHES) -> Route | None:
        """Returns the route without models outside the tenant's list; None for a model or a wished fallback that is
        unknown.
        """
        if call.resource is not None and not call.resource.counts_body:
            return self._stored(tenant.models)
        if wishes.fallbacks is not None:
            try:
                return self.resolve(call, tenant, wishes)
            except GatewayError:
                return None
        whole = self._unlisted(call.model, call.kind)
        if whole is None or not tenant.models:
            return whole
        key = (call.model, call.kind, tenant.models)
        route = self._by_list.get(key)
        if route is None:
            if len(self._by_list) >= LISTED_MOST:
                self._by_list.clear()
            is_whole = self._catalog.resolve(call.model, tenant.models) is self._catalog.resolve(call.model)
            route = self._by_list[key] = whole if is_whole else self._build(*key)
        return route

    def resolve(self, call: Call, tenant: Tenant, wishes: Wishes = NO_WISHES) -> Route:
        """Returns the route of a call. Raises ModelNotFound, Forbidden, InvalidRequest."""
        if call.resource is not None and not call.resource.counts_body:
            stored = self._stored(tenant.models)
            if not stored.candidates:
                message = "No provider that this key may use has the endpoint /v1/responses."
                raise InvalidRequest(message, code="endpoint_not_supported")
            return stored
        whole = self._whole.get((call.model, call.kind)) or self._unlisted(call.model, call.kind)
        if whole is None:
            raise ModelNotFound(f"The model `{call.model[:200]}` does not exist.", param="model")
        if not tenant.may_use(call.model, whole.model):
            raise Forbidden(f"This API key may not use the model `{call.model}`.", param="model")
        route = self.of(call, tenant) if tenant.models else whole
        assert route is not None
        if wishes.fallbacks is not None:
            route = self._wished(call, tenant, route, wishes.fallbacks)
        if not route.candidates:
            message = f"No provider of the model `{call.model}` has the endpoint /v1{call.kind.value}."
            raise InvalidRequest(message, param="model", code="endpoint_not_supported")
        return route

    def _wished(self, call: Call, tenant: Tenant, route: Route, fallbacks: tuple[str, ...]) -> Route:
        """Returns the route with these fallbacks instead of the configured ones. Raises InvalidRequest."""
        key = (call.model, call.kind, tenant.models, fallbacks)
        wished = self._by_wish.get(key)
        if wished is None:
            if len(self._by_wish) >= WISHED_MOST:
                self._by_wish.clear()
            wished = self._by_wish[key] = self._with_fallbacks(call, tenant, route, fallbacks)
        return wished

    def _with_fallbacks(self, call: Call, tenant: Tenant, route: Route, fallbacks: Sequence[str]) -> Route:
        candidates = [each for each in route.candidates if not each.tier]
        models = {self._catalog.name_behind(call.model)}
        for name in fallbacks:
            other, model = self._unlisted(name, call.kind), self._catalog.name_behind(name)
            if other is None:
                raise _wrong_fallback(f"the model `{name[:200]}`, which does not exist")
            if not tenant.may_use(name, other.model):
                raise _wrong_fallback(f"the model `{name}`, which this API key may not use")
            if model not in models:
                own = [each for each in other.candidates if not each.tier]
                candidates += (msgspec.structs.replace(each, tier=len(models)) for each in own)
                models.add(model)
        if len(candidates) > MAX_CANDIDATES:
            raise _wrong_fallback(f"models with {len(candidates)} deployments in all; at most {MAX_CANDIDATES} fit")
        chains = {refusal: of_models(models, chain) for refusal, chain in route.chains.items()}
        kept = {refusal: chain for refusal, chain in chains.items() if chain}
        return self._routed(route.model, tuple(candidates), kept, route.queue)

    def outside_key(self, call: Call, tenant: Tenant) -> list[str]:
        """Returns the fallback models that the tenant's list leaves out. Raises as `resolve`."""
        kept, whole = _models_of(self.resolve(call, tenant)), self._unlisted(call.model, call.kind)
        assert whole is not None
        return [name for name in _models_of(whole) if name not in kept]


def _wrong_fallback(what: str) -> InvalidRequest:
    return InvalidRequest(f"{FALLBACKS} names {what}.", param=FALLBACKS)


def _models_of(route: Route) -> list[str]:
    """Returns the models that may answer a request."""
    parts = (route.candidates, *route.chains.values())
    return list(dict.fromkeys(each.model or each.deployment.model_name for part in parts for each in part))
