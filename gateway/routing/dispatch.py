"""The attempts of one request: acquire a permit, send, judge the outcome. The only module that knows this order; a
fallback is one turn of a loop. `Reception` resolves the model before, and an `Answer` settles its permit afterwards.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import msgspec

from gateway.configuration.router import RouterSettings
from gateway.errors import GatewayError, InvalidRequest, KeyUnavailable, ReplicaFault
from gateway.request.auth import Tenant
from gateway.request.calls import Call
from gateway.request.wishes import NO_WISHES, Wishes
from gateway.routing.admission import Admission
from gateway.routing.answer import Answer
from gateway.routing.catalog import Candidate, Catalog
from gateway.routing.client_request import ClientRequest
from gateway.routing.deadline import Limits
from gateway.routing.final_errors import Tried, attempts, failed, rejected, tried_with
from gateway.routing.in_hand import InHand
from gateway.routing.itinerary import Itinerary, PackPlan
from gateway.routing.last_attempt import SecondAttempt
from gateway.routing.model_routes import Routes
from gateway.routing.next_step import Step, Verdict, judge
from gateway.routing.owners import KEEPERS, Owners
from gateway.routing.rate_limit_headers import tenant_limited
from gateway.routing.routing_state import Route, RoutingState
from gateway.routing.tracing import Attempt
from gateway.upstream.client import UpstreamClient
from gateway.upstream.exchange import Exchange
from shared_state.failover import Failover, StoreName
from shared_state.records import Ending, Outcome, Permit, Plan, Rejection

_NOT_HELD = nullcontext()


class Selected(msgspec.Struct, frozen=True):
    """A candidate, with the permit to call it."""

    candidate: Candidate
    permit: Permit


class Dispatcher:
    """Finds the answer to a request, or raises the GatewayError that the client gets instead."""

    def __init__(
        self, store: Failover, admission: Admission, upstream: UpstreamClient, catalog: Catalog, router: RouterSettings
    ) -> None:
        self._store = store
        self._admission = admission
        self._in_hand = InHand()
        self._owners = Owners(store)
        store.on_overdue(self._in_hand.move_on)
        self.apply_settings(upstream, catalog, router)

    def apply_settings(self, upstream: UpstreamClient, catalog: Catalog, router: RouterSettings) -> None:
        """Routes the requests that come from now on, and those that wait; others end as they began."""
        self._router = router
        self._owners.apply_settings(catalog, router)
        self.routes = Routes(upstream, catalog, self._admission.queue, self._packer)

    def strategy_of(self, model: str) -> str:
        """Returns the strategy by which requests for a model are routed, also among its fallback models."""
        return self._router.model_strategies.get(model, self._router.routing_strategy)

    def _packer(self, model: str) -> PackPlan:
        return partial(self._pack, self.strategy_of(model))

    def _pack(self, strategy: str, candidates: Sequence[Candidate], has_more: bool) -> Plan:
        return self._store.plan([(c.deployment.id, c.tier) for c in candidates], strategy, has_more)

    def resolve(self, call: Call, tenant: Tenant, wishes: Wishes = NO_WISHES) -> Route:
        """Returns the route of a call. Raises ModelNotFound, Forbidden, InvalidRequest."""
        return self.routes.resolve(call, tenant, wishes)

    @property
    def state(self) -> StoreName:
        """The store that decides now."""
        return self._store.state

    def ended(self, tenant: str, model: str, is_error: bool) -> None:
        """Adds a request to its tenant's usage, as `Admission.ended` does."""
        self._admission.ended(tenant, model, is_error)

    async def answer(self, request: ClientRequest, route: Route) -> Answer:
        """Returns the first answer that may be committed. On every other way out each permit taken here has been
        settled.
        """
        trace = request.trace
        trace.begin_route(self.strategy_of(route.model))
        error = "cancelled"
        try:
            state = RoutingState(request, route, self._itinerary(route, request.only))
            most = self._router.max_attempts
            state.max_attempts = min(most, request.wishes.max_attempts or most)
            answer = await self._answer(state)
            error = ""
        except GatewayError as failure:
            error = failure.code or failure.type
            raise
        finally:
            trace.end_route(error)
        return answer

    async def _answer(self, state: RoutingState) -> Answer:
        while True:
            selected = await self._decide(state)
            attempt = state.request.trace.attempt(selected.candidate, state.request.call)
            exchange = await self._attempt(state, selected, attempt)
            if exchange is None:
                continue
            if exchange.outcome is Outcome.SUCCESS:
                return self._answered(state, selected, exchange, attempt)
            has_chain = state.leave(selected.candidate, exchange)
            verdict = judge(state, selected.candidate, exchange, has_chain, state.max_attempts)
            if verdict.step is Step.ANSWER:
                answer = self._answered(state, selected, exchange, attempt)
                answer.has_tried_all = verdict.has_tried_all
                return answer
            self._settle_failed(selected.permit, exchange, attempt, is_final=verdict.step is Step.FAIL)
            await self._continue(state, selected.candidate, exchange, verdict)

    async def _decide(self, state: RoutingState) -> Selected:
        """Returns the next candidate with its permit. Raises the error that the client gets when no candidate may be
        called.
        """
        request, tried = state.request, state.tried
        while True:
            if request.interrupt.time() >= request.deadline.at:
                raise failed(tried)
            started = time.perf_counter()
            if tried or state.itinerary.has_more:
                decision = await self._admission.acquire(state.itinerary.plan, request, tried)
            else:
                decision = await self._first(state)
            state.decision_s += time.perf_counter() - started
            candidates = state.itinerary.candidates
            if request.trace.is_recording:
                request.trace.decided(decision, candidates, attempts(tried) + 1)
            if isinstance(decision, Permit):
                candidate = candidates[decision.position]
                state.restrict(candidate, decision.is_owned)
                return Selected(candidate, decision)
            if decision.code == "limited":
                raise tenant_limited(request.tenant.limits, decision)
            has_no_candidate, is_elsewhere = decision.code in ("none", "owner"), decision.reason != "owned"
            if has_no_candidate and state.itinerary.has_more and is_elsewhere:
                state.itinerary.skip()
            elif has_no_candidate and state.second_attempt is not None:
                await self._repeat(state, state.second_attempt)
            elif decision.code == "owner" and not tried:
                raise self._owners.unavailable(request, decision.reason, state.route.model)
            else:
                raise rejected(decision, candidates, tried)

    async def _first(self, state: RoutingState) -> Permit | Rejection:
        """Returns the first decision. A request may wait for it, at the last leg of its itinerary only. The
        configuration may change meanwhile, so the newest route counts.
        """
        call, tenant, wishes = state.request.call, state.request.tenant, state.request.wishes

        def latest() -> Plan:
            now = self.routes.of(call, tenant, wishes)
            if now is not None and now is not state.route and now.queue is state.route.queue and now.candidates:
                state.route, state.itinerary = now, self._itinerary(now, state.request.only)
            return state.itinerary.plan

        return await self._admission.first(latest, state.route.queue, state.request)

    async def _attempt(self, state: RoutingState, selected: Selected, attempt: Attempt) -> Exchange | None:
        """Returns None where the provider's dialect cannot express the request, or its key cannot be read, and another
        candidate is left. Raises the error that the client gets when none is.
        """
        started, itinerary = time.perf_counter(), state.itinerary
        try:
            exchange = await self._send(state, selected, attempt)
        except (InvalidRequest, KeyUnavailable) as error:
            itinerary.drop(selected.candidate)
            state.tried.append(Tried(selected.candidate, Outcome.CLIENT_ERROR, error=error, is_sent=False))
            self._settle_unsent(selected.permit, attempt, is_final=not itinerary.candidates)
            if not itinerary.candidates:
                raise failed(state.tried, state.has_tried_all(selected.candidate)) from error
            return None
        state.upstream_s += time.perf_counter() - started
        return exchange

    async def _continue(self, state: RoutingState, candidate: Candidate, exchange: Exchange, verdict: Verdict) -> None:
        """Prepares the next attempt. Raises the error that the client gets when there is none."""
        state.second_attempt = verdict.second_attempt
        state.tried.append(tried_with(candidate, exchange))
        if verdict.step is Step.FAIL:
            raise failed(state.tried, verdict.has_tried_all)
        if verdict.step is Step.REPEAT and verdict.second_attempt is not None:
            await self._repeat(state, verdict.second_attempt)
        elif verdict.step is Step.LATER_TIER:
            state.itinerary.prefer_later(candidate.tier)

    async def _repeat(self, state: RoutingState, second: SecondAttempt) -> None:
        """Pauses, without a permit, and leaves the same candidate for the next decision."""
        state.second_attempt, state.has_repeated = None, True
        await asyncio.sleep(second.pause_s)
        state.itinerary.repeat(second.candidate)

    def _answered(self, state: RoutingState, selected: Selected, exchange: Exchange, attempt: Attempt) -> Answer:
        settle, interrupt = self._admission.settle, state.request.interrupt
        answer = Answer(self._store, settle, selected.permit, exchange, interrupt, selected.candidate, attempt)
        answer.attempts = attempts(state.tried) + 1
        answer.upstream_s, answer.decision_s = state.upstream_s, state.decision_s
        answer.tried = tuple(state.tried)
        if exchange.made or state.tried or exchange.wire in KEEPERS:
            self._owners.watch(state.request, answer, state.tried)
        return answer

    def _itinerary(self, route: Route, only: Sequence[str] = ()) -> Itinerary:
        legs = random.choice(route.itineraries) if len(route.itineraries) > 1 else route.itineraries[0]
        itinerary = Itinerary(legs, route.pack, route.chains)
        if only and itinerary.has_more:  # in one leg the store leaves the others out
            itinerary.restrict(lambda each: each.deployment.id in only)
        return itinerary

    async def _send(self, state: RoutingState, selected: Selected, attempt: Attempt) -> Exchange:
        """Makes one attempt within its time. Settles the permit itself when it is cancelled or a defect breaks it."""
        request, permit = state.request, selected.permit
        call, deadline, interrupt = request.call, request.deadline, request.interrupt
        deployment, now = selected.candidate.deployment, interrupt.time()
        limits = Limits(deployment, deadline, now, call.is_stream, is_first=not state.tried)
        interrupt.set_deadline(limits.at)
        on_progress = limits.note_received
        if call.is_stream:
            interrupt.begin_waiting(deployment.first_byte_timeout_ms / 1000)
            idle_s = deployment.idle_timeout_ms / 1000

            def on_progress() -> None:
                if not limits.has_received:
                    self._store.answered(permit)  # a provider that sends anything does not hang
                limits.note_received()
                interrupt.begin_waiting(idle_s)

        has_other = len(state.itinerary.candidates) > 1 or state.itinerary.has_more
        may_move = has_other and attempts(state.tried) + 1 < state.max_attempts
        in_hand = self._in_hand.held(deployment.id, interrupt, limits) if may_move else _NOT_HELD
        try:
            with in_hand:
                sent_as = selected.candidate.upstream
                exchange = await state.route.upstream.send(deployment.id, call, attempt.context, on_progress, sent_as)
        except BaseException as error:
            interrupt.end_waiting()
            interrupt.clear()
            if (late := limits.reached(interrupt)) is not None:
                return late
            if not isinstance(error, InvalidRequest | KeyUnavailable):
                self._settle_broken(permit, attempt, is_sent=not isinstance(error, ReplicaFault))
            raise
        interrupt.end_waiting()
        if not exchange.is_passed_on or not call.is_stream:
            interrupt.clear()
        elif not deadline.is_from_client:
            interrupt.clear_deadline()  # a stream that delivers is bounded by its silence only
        else:
            interrupt.set_deadline(deadline.at)
        attempt.answered(exchange)
        if permit.is_probe and exchange.is_open and not permit.ask.is_neutral:
            self._store.judge_content(permit, exchange.latency_ms)
        return exchange

    def _settle_broken(self, permit: Permit, attempt: Attempt, is_sent: bool) -> None:
        attempt.end(Outcome.CANCELLED)
        ending = Ending(Outcome.CANCELLED, tokens=-1)
        self._admission.settle(permit, ending, attempt, is_sent=is_sent)

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
            counts=exchange.counts,
            reason=exchange.reason,
        )
        # Before the acquire that follows, in the same flush: the next decision already counts it.
        self._admission.settle(permit, ending, attempt, is_urgent=not is_final)
