"""The request path after parsing: resolve, acquire, send, classify, settle. The only file that knows the order;
falling back is one turn of a loop.
"""

import random
import time
from collections.abc import Sequence

import msgspec

from gateway.admission import Admission, Asking
from gateway.answer import Answer
from gateway.auth import Tenant
from gateway.calls import Call, Kind
from gateway.catalog import Candidate, Catalog
from gateway.classify import Refusal
from gateway.deadline import Deadline
from gateway.errors import (
    Forbidden,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
)
from gateway.exhausted import Tried, attempts, failed, rejected, tried_with
from gateway.interrupt import Cause, Interrupt
from gateway.queueing import Queue
from gateway.rate_limits import tenant_limited
from gateway.router_settings import RouterSettings
from gateway.tracing import Attempt, Trace
from gateway.upstream import Exchange, Upstream
from gateway.way import Leg, Way, ways
from shared_state.failover import Failover, StoreName
from shared_state.records import Ending, Outcome, Permit, Plan, Rejection


class Route(msgspec.Struct, frozen=True):
    """A model's candidates for one kind of call, and the ways through them, any of which a request may go; ``chains``
    are those of requests that the model refuses. A request keeps its route whatever is configured meanwhile.
    """

    model: str
    candidates: tuple[Candidate, ...]
    ways: tuple[tuple[Leg, ...], ...]
    chains: dict[Refusal, tuple[Candidate, ...]]
    queue: Queue
    upstream: Upstream


class Dispatcher:
    """Takes a call to an answer, or raises the GatewayError to give instead."""

    def __init__(
        self, store: Failover, admission: Admission, upstream: Upstream, catalog: Catalog, router: RouterSettings
    ) -> None:
        self._store = store
        self._admission = admission
        self.adopt(upstream, catalog, router)

    def adopt(self, upstream: Upstream, catalog: Catalog, router: RouterSettings) -> None:
        """For requests that come from now on and those that wait; others end as they began."""
        self._max_attempts = router.max_attempts
        self.strategy = router.routing_strategy
        self._routes = {
            (model, kind): self._route(upstream, catalog, model, kind) for model in catalog.models() for kind in Kind
        }

    def _route(self, upstream: Upstream, catalog: Catalog, model: str, kind: Kind) -> Route:
        route = catalog.resolve(model)
        assert route is not None
        candidates = _serving(upstream, route.candidates, kind)
        chains = {refusal: _serving(upstream, chain, kind) for refusal, chain in route.chains.items()}
        queue = self._admission.queue(route.model, [candidate.deployment.id for candidate in candidates])
        return Route(route.model, candidates, ways(candidates, self._plan), chains, queue, upstream)

    def _plan(self, candidates: Sequence[Candidate]) -> Plan:
        return self._store.plan([(c.deployment.id, c.tier) for c in candidates], self.strategy)

    def resolve(self, call: Call, tenant: Tenant) -> Route:
        """Raises ModelNotFound, Forbidden, InvalidRequest."""
        route = self._routes.get((call.model, call.kind))
        if route is None:
            raise ModelNotFound(f"The model `{call.model[:200]}` does not exist.", param="model")
        if not tenant.may_use(call.model, route.model):
            raise Forbidden(f"This API key may not use the model `{call.model}`.", param="model")
        if not route.candidates:
            message = f"No provider of the model `{call.model}` has the endpoint /v1{call.kind.value}."
            raise InvalidRequest(message, param="model", code="endpoint_not_supported")
        return route

    @property
    def state(self) -> StoreName:
        """The store that decides now."""
        return self._store.state

    def explain_plans(self, call: Call, tenant: Tenant) -> list[Plan]:
        """One for each leg of the first way. Raises as `resolve`."""
        return [leg.plan for leg in self.resolve(call, tenant).ways[0]]

    async def answer(
        self,
        call: Call,
        route: Route,
        tenant: Tenant,
        priority: int,
        deadline: Deadline,
        interrupt: Interrupt,
        trace: Trace,
    ) -> Answer:
        """The first answer that may be committed. On every other way out each permit taken here has been settled."""
        trace.begin_route(self.strategy)
        error = "cancelled"
        try:
            answer = await self._answer(route, Asking(call, tenant, priority, deadline, interrupt, trace))
            error = ""
        except GatewayError as failure:
            error = failure.code or failure.type
            raise
        finally:
            trace.end_route(error)
        return answer

    async def _answer(self, route: Route, asking: Asking) -> Answer:
        call, tenant, deadline, interrupt = asking.call, asking.tenant, asking.deadline, asking.interrupt
        way, chains = self._way(route), dict(route.chains)
        tried: list[Tried] = []
        upstream_s = decision_s = 0.0
        while True:
            if interrupt.time() >= deadline.at:
                raise failed(tried)
            asked = time.perf_counter()
            if tried or way.has_more:
                decision = await self._admission.acquire(way.plan, asking, tried)
            else:
                decision, route, way = await self._first(route, way, asking)
                chains = dict(route.chains)
            decision_s += time.perf_counter() - asked
            candidates = way.candidates
            asking.trace.decided(decision, candidates, attempts(tried) + 1)
            if isinstance(decision, Rejection):
                if decision.code == "none" and way.has_more:
                    way.skip()
                    continue
                is_limited = decision.code == "limited"
                raise tenant_limited(tenant.limits, decision) if is_limited else rejected(decision, candidates, tried)
            candidate = candidates[decision.position]
            started = time.perf_counter()
            attempt = asking.trace.attempt(candidate, call)
            try:
                exchange = await self._send(route.upstream, decision, candidate, asking, attempt, not tried)
            except InvalidRequest as error:
                # It cannot be said in this provider's dialect. Another one's may have the words.
                way.drop(candidate)
                tried.append(Tried(candidate, Outcome.CLIENT_ERROR, error=error, is_sent=False))
                if not way.candidates:
                    raise failed(tried) from error
                continue
            upstream_s += time.perf_counter() - started
            way.drop(candidate)
            chain = chains.pop(exchange.refusal, None) if exchange.refusal else None
            if chain:
                left = [c for c in chain if all(c.deployment is not t.candidate.deployment for t in tried)]
                way = Way(ways(left, self._plan)[0], self._plan)
            elif exchange.outcome is Outcome.SUCCESS or (
                exchange.outcome is Outcome.CLIENT_ERROR and not attempts(tried)
            ):
                answer = Answer(self._store, self._admission.settle, decision, exchange, interrupt, candidate, attempt)
                answer.attempts, answer.upstream_s, answer.decision_s = attempts(tried) + 1, upstream_s, decision_s
                return answer
            tried.append(tried_with(candidate, exchange))
            is_refused = exchange.outcome is Outcome.CLIENT_ERROR and not chain
            is_spent = attempts(tried) >= self._max_attempts or interrupt.time() >= deadline.at
            is_final = not way.candidates or is_refused or is_spent
            self._settle_failed(decision, exchange, attempt, is_final)
            if is_final:
                raise failed(tried)

    def _way(self, route: Route) -> Way:
        return Way(random.choice(route.ways) if len(route.ways) > 1 else route.ways[0], self._plan)

    async def _first(self, route: Route, way: Way, asking: Asking) -> tuple[Permit | Rejection, Route, Way]:
        """And by which route it was taken: what was configured while it waited may have more room. Only at the last leg
        of its way may a request wait.
        """
        name = (asking.call.model, asking.call.kind)

        def latest() -> Plan:
            nonlocal route, way
            now = self._routes.get(name)
            if now is not None and now is not route and now.queue is route.queue and now.candidates:
                route, way = now, self._way(now)
            return way.plan

        decision = await self._admission.first(latest, route.queue, asking)
        return decision, route, way

    async def _send(
        self,
        upstream: Upstream,
        permit: Permit,
        candidate: Candidate,
        asking: Asking,
        attempt: Attempt,
        is_first: bool,
    ) -> Exchange:
        """One attempt within its time. Settles the permit itself when it is cancelled or breaks on a defect."""
        call, deadline, interrupt = asking.call, asking.deadline, asking.interrupt
        deployment, now = candidate.deployment, interrupt.time()
        deployment_at = now + deployment.timeout_ms / 1000
        first_byte_at = min(deployment_at, now + deployment.first_byte_timeout_ms / 1000)
        first_at = first_byte_at if call.is_stream else deployment_at
        late = deadline.outcome(first_at, is_first)
        interrupt.set_deadline(min(deadline.at, first_at))
        try:
            exchange = await upstream.send(candidate.deployment.id, call, attempt.context)
        except BaseException as error:
            if interrupt.take(Cause.DEADLINE):
                return Exchange(late)
            attempt.end(Outcome.CANCELLED)
            is_sent = not isinstance(error, InvalidRequest)
            self._admission.settle(permit, Ending(Outcome.CANCELLED), attempt, is_sent=is_sent)
            raise
        if call.is_stream and exchange.outcome is Outcome.SUCCESS:
            interrupt.set_deadline(min(deadline.at, deployment_at))
        else:
            interrupt.clear()
        exchange.late = deadline.outcome(deployment_at, is_first)
        attempt.answered(exchange)
        return exchange

    def _settle_failed(self, permit: Permit, exchange: Exchange, attempt: Attempt, is_final: bool) -> None:
        attempt.end(exchange.outcome, exchange)
        ending = Ending(
            exchange.outcome,
            exchange.latency_ms,
            retry_after_ms=exchange.retry_after_ms,
            is_final=is_final,
            cost=exchange.cost,
        )
        # Ahead of the acquire that follows, in the same flush: the next decision already knows.
        self._admission.settle(permit, ending, attempt, is_urgent=not is_final)


def _serving(upstream: Upstream, candidates: Sequence[Candidate], kind: Kind) -> tuple[Candidate, ...]:
    return tuple(c for c in candidates if upstream.serves(c.deployment.id, kind))
