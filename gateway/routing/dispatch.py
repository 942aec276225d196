"""The request path after parsing: resolve, acquire, send, classify, settle. The only file that knows the order;
falling back is one turn of a loop.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext

from gateway.configuration.router import RouterSettings
from gateway.errors import GatewayError, InvalidRequest, ReplicaFault
from gateway.request.auth import Tenant
from gateway.request.calls import Call
from gateway.request.interrupt import Cause, Interrupt
from gateway.routing.admission import Admission, Asking
from gateway.routing.answer import Answer
from gateway.routing.catalog import Candidate, Catalog
from gateway.routing.course import Again, Course, Route
from gateway.routing.deadline import Deadline, Limits
from gateway.routing.final_errors import Tried, attempts, failed, rejected, tried_with
from gateway.routing.in_hand import InHand
from gateway.routing.itinerary import Way
from gateway.routing.last_attempt import pause_s
from gateway.routing.model_routes import Routes
from gateway.routing.rate_limit_headers import tenant_limited
from gateway.routing.tracing import Attempt, Trace
from gateway.upstream.client import UpstreamClient
from gateway.upstream.exchange import Exchange
from shared_state.failover import Failover, StoreName
from shared_state.records import Ending, Outcome, Permit, Plan, Rejection


class Dispatcher:
    """Takes a call to an answer, or raises the GatewayError to give instead."""

    def __init__(
        self, store: Failover, admission: Admission, upstream: UpstreamClient, catalog: Catalog, router: RouterSettings
    ) -> None:
        self._store = store
        self._admission = admission
        self._in_hand = InHand()
        store.hear_overdue(self._in_hand.move_on)
        self.adopt(upstream, catalog, router)

    def adopt(self, upstream: UpstreamClient, catalog: Catalog, router: RouterSettings) -> None:
        """For requests that come from now on and those that wait; others end as they began."""
        self._max_attempts = router.max_attempts
        self.strategy = router.routing_strategy
        self.routes = Routes(upstream, catalog, self._admission.queue, self._plan)

    def _plan(self, candidates: Sequence[Candidate], has_more: bool) -> Plan:
        return self._store.plan([(c.deployment.id, c.tier) for c in candidates], self.strategy, has_more)

    def resolve(self, call: Call, tenant: Tenant) -> Route:
        """Raises ModelNotFound, Forbidden, InvalidRequest."""
        return self.routes.resolve(call, tenant)

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
        course = Course(asking, route, self._way(route))
        answer = None
        while answer is None:
            permit, candidate = await self._decide(course)
            answer = await self._attempt(course, permit, candidate)
        return answer

    async def _decide(self, course: Course) -> tuple[Permit, Candidate]:
        """Returns the next candidate with its permit. Raises the error that the client gets when none may be called."""
        asking, tried = course.asking, course.tried
        while True:
            if asking.interrupt.time() >= asking.deadline.at:
                raise failed(tried)
            started = time.perf_counter()
            if tried or course.way.has_more:
                decision = await self._admission.acquire(course.way.plan, asking, tried)
            else:
                decision = await self._first(course)
            course.decision_s += time.perf_counter() - started
            candidates = course.way.candidates
            asking.trace.decided(decision, candidates, attempts(tried) + 1)
            if isinstance(decision, Permit):
                return decision, candidates[decision.position]
            if decision.code == "limited":
                raise tenant_limited(asking.tenant.limits, decision)
            if decision.code == "none" and course.way.has_more:
                course.way.skip()
            elif decision.code == "none" and course.again is not None:
                await self._repeat(course, course.again)
            else:
                raise rejected(decision, candidates, tried)

    async def _attempt(self, course: Course, permit: Permit, candidate: Candidate) -> Answer | None:
        """Returns None where the next candidate is to be called. Raises the error that the client gets when there is
        none.
        """
        asking, tried, way = course.asking, course.tried, course.way
        started = time.perf_counter()
        attempt = asking.trace.attempt(candidate, asking.call)
        try:
            exchange = await self._send(course, permit, candidate, attempt)
        except InvalidRequest as error:
            # This provider's dialect cannot express the request. Another one may.
            way.drop(candidate)
            tried.append(Tried(candidate, Outcome.CLIENT_ERROR, error=error, is_sent=False))
            self._settle_unsent(permit, attempt, is_final=not way.candidates)
            if not way.candidates:
                raise failed(tried, course.has_tried_all(candidate)) from error
            return None
        course.upstream_s += time.perf_counter() - started
        way.drop(candidate)
        has_chain = way.turn(exchange.refusal, [candidate, *(each.candidate for each in tried)])
        is_spent = attempts(tried) + 1 >= self._max_attempts or asking.interrupt.time() >= asking.deadline.at
        is_last = not way.candidates or is_spent or not (has_chain or exchange.judgement.moves_on)
        is_own_mistake = exchange.outcome is Outcome.CLIENT_ERROR and is_last and not attempts(tried)
        is_end = is_last and exchange.is_documented_end
        if exchange.outcome is Outcome.SUCCESS or is_own_mistake or is_end:
            answer = self._answered(course, permit, exchange, candidate, attempt)
            answer.has_tried_all = is_own_mistake and course.has_tried_all(candidate)
            return answer
        course.again = None if is_spent else self._again(course, candidate, exchange)
        again = course.again if is_last else None
        tried.append(tried_with(candidate, exchange))
        self._settle_failed(permit, exchange, attempt, is_last and again is None)
        if again is not None:
            await self._repeat(course, again)
        elif is_last:
            raise failed(tried, course.has_tried_all(candidate))
        elif not has_chain and attempts(tried) == self._max_attempts - 1:
            way.prefer_later(candidate.tier)
        return None

    def _again(self, course: Course, candidate: Candidate, exchange: Exchange) -> Again | None:
        """Returns the second attempt on this deployment; None where there is none."""
        wait_s, asking = pause_s(exchange), course.asking
        if course.has_repeated or exchange.is_documented_end or wait_s is None:
            return None
        if asking.interrupt.time() + wait_s >= asking.deadline.at:
            return None
        return Again(candidate, wait_s)

    async def _repeat(self, course: Course, again: Again) -> None:
        """No permit is held during the pause."""
        course.again, course.has_repeated = None, True
        await asyncio.sleep(again.pause_s)
        course.way.repeat(again.candidate)

    def _answered(
        self, course: Course, permit: Permit, exchange: Exchange, candidate: Candidate, attempt: Attempt
    ) -> Answer:
        interrupt = course.asking.interrupt
        answer = Answer(self._store, self._admission.settle, permit, exchange, interrupt, candidate, attempt)
        answer.attempts = attempts(course.tried) + 1
        answer.upstream_s, answer.decision_s = course.upstream_s, course.decision_s
        answer.tried = tuple(course.tried)
        return answer

    def _way(self, route: Route) -> Way:
        legs = random.choice(route.ways) if len(route.ways) > 1 else route.ways[0]
        return Way(legs, self._plan, route.chains)

    async def _first(self, course: Course) -> Permit | Rejection:
        """The configuration may change while the request waits: the newest route counts. A request may wait only at the
        last leg of its way.
        """
        call, tenant = course.asking.call, course.asking.tenant

        def latest() -> Plan:
            now = self.routes.of(call, tenant)
            if now is not None and now is not course.route and now.queue is course.route.queue and now.candidates:
                course.route, course.way = now, self._way(now)
            return course.way.plan

        return await self._admission.first(latest, course.route.queue, course.asking)

    async def _send(self, course: Course, permit: Permit, candidate: Candidate, attempt: Attempt) -> Exchange:
        """One attempt within its time. Settles the permit itself when it is cancelled or breaks on a defect."""
        call, deadline, interrupt = course.asking.call, course.asking.deadline, course.asking.interrupt
        deployment, now = candidate.deployment, interrupt.time()
        limits = Limits(deployment, deadline, now, call.is_stream, is_first=not course.tried)
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

        has_other = len(course.way.candidates) > 1 or course.way.has_more
        may_move = has_other and attempts(course.tried) + 1 < self._max_attempts
        in_hand = self._in_hand.held(deployment.id, interrupt, limits) if may_move else nullcontext()
        try:
            with in_hand:
                exchange = await course.route.upstream.send(deployment.id, call, attempt.context, heard)
        except BaseException as error:
            interrupt.end_waiting()
            interrupt.clear()
            if interrupt.take(Cause.SILENCE):
                return limits.silent()
            if interrupt.take(Cause.DEADLINE):
                return limits.over()
            if interrupt.take(Cause.OVERDUE):
                return limits.overdue()
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
