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
from gateway.deadline import Deadline, Limits
from gateway.errors import (
    Forbidden,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    ReplicaFault,
)
from gateway.exchange import Exchange
from gateway.exhausted import Tried, attempts, failed, rejected, tried_with
from gateway.interrupt import Cause, Interrupt
from gateway.queueing import Queue
from gateway.rate_limits import tenant_limited
from gateway.router_settings import RouterSettings
from gateway.tracing import Attempt, Trace
from gateway.upstream import Upstream
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

    def _plan(self, candidates: Sequence[Candidate], has_more: bool) -> Plan:
        return self._store.plan([(c.deployment.id, c.tier) for c in candidates], self.strategy, has_more)

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
        taken: set[Refusal | None] = set()  # chains
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
                self._settle_unsent(decision, attempt, is_final=not way.candidates)
                if not way.candidates:
                    raise failed(tried) from error
                continue
            upstream_s += time.perf_counter() - started
            way.drop(candidate)
            chain = chains.pop(exchange.refusal, None) if exchange.refusal else None
            # A model of the chain refuses as well: the next one of the chain may have room.
            moves_on = bool(chain) or exchange.judgement.moves_on or exchange.refusal in taken
            if chain:
                taken.add(exchange.refusal)
                left = [c for c in chain if all(c.deployment is not t.candidate.deployment for t in tried)]
                way = Way(ways(left, self._plan)[0], self._plan)
            is_spent = attempts(tried) + 1 >= self._max_attempts or interrupt.time() >= deadline.at
            is_last = not way.candidates or is_spent or not moves_on
            is_own_mistake = exchange.outcome is Outcome.CLIENT_ERROR and is_last and not attempts(tried)
            if exchange.outcome is Outcome.SUCCESS or is_own_mistake or (is_last and exchange.is_documented_end):
                answer = Answer(self._store, self._admission.settle, decision, exchange, interrupt, candidate, attempt)
                answer.attempts, answer.upstream_s, answer.decision_s = attempts(tried) + 1, upstream_s, decision_s
                answer.tried = tuple(tried)
                return answer
            tried.append(tried_with(candidate, exchange))
            self._settle_failed(decision, exchange, attempt, is_last)
            if is_last:
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
        limits = Limits(deployment, deadline, now, call.is_stream, is_first)
        interrupt.set_deadline(limits.at)
        heard = limits.heard
        if call.is_stream:
            interrupt.begin_waiting(deployment.first_byte_timeout_ms / 1000)
            idle_s = deployment.idle_timeout_ms / 1000

            def heard() -> None:
                if not limits.has_heard:
                    self._store.answered(permit)  # a provider that sends anything does not hang
                limits.heard()
                interrupt.begin_waiting(idle_s)

        try:
            exchange = await upstream.send(deployment.id, call, attempt.context, heard)
        except BaseException as error:
            interrupt.end_waiting()
            interrupt.clear()
            if interrupt.take(Cause.SILENCE):
                return limits.silent()
            if interrupt.take(Cause.DEADLINE):
                return limits.over()
            if not isinstance(error, InvalidRequest):
                attempt.end(Outcome.CANCELLED)
                is_sent = not isinstance(error, ReplicaFault)
                ending = Ending(Outcome.CANCELLED, tokens=-1 if is_sent else 0)
                self._admission.settle(permit, ending, attempt, is_sent=is_sent)
            raise
        interrupt.end_waiting()
        if not exchange.is_passed_on or not call.is_stream:
            interrupt.clear()
        elif not deadline.is_asked:
            interrupt.clear_deadline()  # a stream that delivers is bounded by its silence only
        else:
            interrupt.set_deadline(deadline.at)
        attempt.answered(exchange)
        if permit.is_probe and exchange.is_open:
            self._store.judge_content(permit, exchange.latency_ms)
        return exchange

    def _settle_unsent(self, permit: Permit, attempt: Attempt, is_final: bool) -> None:
        attempt.end(Outcome.CANCELLED)
        ending = Ending(Outcome.CANCELLED, is_final=is_final, tokens=0)
        self._admission.settle(permit, ending, attempt, is_urgent=not is_final, is_sent=False)

    def _settle_failed(self, permit: Permit, exchange: Exchange, attempt: Attempt, is_final: bool) -> None:
        attempt.end(exchange.outcome, exchange)
        ending = Ending(
            exchange.outcome,
            exchange.latency_ms,
            retry_after_ms=exchange.retry_after_ms,
            is_final=is_final,
            tokens=exchange.tokens,
            reason=exchange.reason,
        )
        # Ahead of the acquire that follows, in the same flush: the next decision already knows.
        self._admission.settle(permit, ending, attempt, is_urgent=not is_final)


def _serving(upstream: Upstream, candidates: Sequence[Candidate], kind: Kind) -> tuple[Candidate, ...]:
    return tuple(c for c in candidates if upstream.serves(c.deployment.id, kind))
