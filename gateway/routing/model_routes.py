"""The routes of the configuration in force, by model and kind of call: for keys that may use every model, and for keys
with a list of models, which also limits their fallbacks.
"""

import asyncio
from collections.abc import Callable, Sequence

from gateway.configuration.router import QueueSettings
from gateway.configuration.rules import MAX_CANDIDATES
from gateway.errors import Forbidden, InvalidRequest, ModelNotFound
from gateway.request.auth import Tenant
from gateway.request.calls import Call, Kind
from gateway.routing.catalog import Candidate, Catalog
from gateway.routing.itinerary import Leg, PackPlan, itineraries, legs
from gateway.routing.queueing import Queue
from gateway.routing.routing_state import Route
from gateway.upstream.client import UpstreamClient

LISTED_MOST = 10_000  # routes kept for keys with a list: tenants that come and go must not fill the memory


class Routes:
    """The routes of one configuration. ``queue`` returns the queue of a model, by its name and the ids of its
    candidates.
    """

    def __init__(
        self, upstream: UpstreamClient, catalog: Catalog, queue: Callable[[str, Sequence[str]], Queue], pack: PackPlan
    ) -> None:
        self._upstream = upstream
        self._catalog = catalog
        self._queue = queue
        self._pack = pack
        self._whole = {(model, kind): self._build(model, kind) for model in catalog.models() for kind in Kind}
        self._by_list: dict[tuple[str, Kind, frozenset[str]], Route] = {}

    def _build(self, model: str, kind: Kind, allowed: frozenset[str] = frozenset()) -> Route:
        route = self._catalog.resolve(model, allowed)
        assert route is not None
        candidates = self._serving(route.candidates, kind)
        chains = {refusal: self._serving(chain, kind) for refusal, chain in route.chains.items()}
        queue = self._queue(route.model, [candidate.deployment.id for candidate in candidates])
        return Route(route.model, candidates, itineraries(candidates, self._pack), chains, queue, self._upstream)

    def _serving(self, candidates: Sequence[Candidate], kind: Kind) -> tuple[Candidate, ...]:
        return tuple(c for c in candidates if self._upstream.serves(c.deployment.id, kind))

    def _stored(self, allowed: frozenset[str]) -> Route:
        """Returns the route of stored responses: every deployment of the key that has the endpoint, in legs that one
        decision may consider. No request waits on it, as its model is unknown.
        """
        key = ("", Kind.RESPONSE, allowed)
        route = self._by_list.get(key)
        if route is None:
            candidates = self._serving(self._catalog.of_key(allowed), Kind.RESPONSE)
            most = MAX_CANDIDATES
            parts = [leg[k : k + most] for leg in legs(candidates) for k in range(0, len(leg), most)]
            order = tuple(Leg(part, self._pack(part, part is not parts[-1])) for part in parts)
            if len(self._by_list) >= LISTED_MOST:
                self._by_list.clear()
            queue = Queue(QueueSettings(max_waiting=0), asyncio.get_running_loop().time)
            route = self._by_list[key] = Route("", candidates, (order,), {}, queue, self._upstream)
        return route

    def of(self, call: Call, tenant: Tenant) -> Route | None:
        """Returns the route without models outside the tenant's list; None for an unknown model."""
        if call.resource is not None:
            return self._stored(tenant.models)
        whole = self._whole.get((call.model, call.kind))
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

    def resolve(self, call: Call, tenant: Tenant) -> Route:
        """Returns the route of a call. Raises ModelNotFound, Forbidden, InvalidRequest."""
        if call.resource is not None:
            stored = self._stored(tenant.models)
            if not stored.candidates:
                message = "No provider that this key may use has the endpoint /v1/responses."
                raise InvalidRequest(message, code="endpoint_not_supported")
            return stored
        whole = self._whole.get((call.model, call.kind))
        if whole is None:
            raise ModelNotFound(f"The model `{call.model[:200]}` does not exist.", param="model")
        if not tenant.may_use(call.model, whole.model):
            raise Forbidden(f"This API key may not use the model `{call.model}`.", param="model")
        route = self.of(call, tenant) if tenant.models else whole
        assert route is not None
        if not route.candidates:
            message = f"No provider of the model `{call.model}` has the endpoint /v1{call.kind.value}."
            raise InvalidRequest(message, param="model", code="endpoint_not_supported")
        return route

    def outside_key(self, call: Call, tenant: Tenant) -> list[str]:
        """Returns the fallback models that the tenant's list leaves out. Raises as `resolve`."""
        kept = _models_of(self.resolve(call, tenant))
        return [name for name in _models_of(self._whole[call.model, call.kind]) if name not in kept]


def _models_of(route: Route) -> list[str]:
    """Returns the models that may answer a request."""
    parts = (route.candidates, *route.chains.values())
    return list(dict.fromkeys(each.deployment.model_name for part in parts for each in part))
