"""Admits requests: the store decides; where every deployment is full, the request waits here for its turn."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from gateway.configuration.money import CostEstimateSettings
from gateway.configuration.router import QueueSettings, RouterSettings
from gateway.errors import RETRY_AFTER_MS, Overloaded, StateLost, Unauthorized
from gateway.request.auth import ANONYMOUS, Tenant
from gateway.request.interrupt import Cause
from gateway.request.tenant_labels import NO_LABELS, TenantLabels
from gateway.routing.client_request import ClientRequest
from gateway.routing.failure_log import FailureLog
from gateway.routing.final_errors import EXCLUDED, FULL, Tried, attempts, failed
from gateway.routing.prices import Price, Prices
from gateway.routing.queueing import Queue, Waiter
from gateway.routing.recent_shedding import RecentShedding
from gateway.routing.tracing import Attempt
from shared_state.calls.owned import digest_of
from shared_state.errors import StateError
from shared_state.failover import Failover
from shared_state.records import NO_TOKENS, Ask, Ending, Outcome, Permit, Plan, Rejection

NO_PRICES = Prices((), CostEstimateSettings(), None)
TIMER_TICK_S = 0.001  # by which a timer of the event loop may be early


def _is_full(decision: Permit | Rejection) -> bool:
    """Returns whether waiting would help: a deployment that could take the request has no room."""
    return isinstance(decision, Rejection) and decision.code == "none" and not FULL.isdisjoint(decision.verdicts)


def narrowed(ids: Sequence[str], rejection: Rejection) -> tuple[str, ...]:
    """Returns the deployments that a restricted request may use; empty where that is all of them."""
    left = tuple(id_ for id_, verdict in zip(ids, rejection.verdicts, strict=False) if verdict != EXCLUDED)
    return left if len(left) < len(rejection.verdicts) else ()


def _number(tried: Sequence[Tried]) -> int:
    """Returns the number of the next attempt, as acquire counts them: 0 for another candidate while no deployment has
    failed. A call that moved on because the breaker opened is no failure of this request: moving on is always allowed.
    """
    neutral = (Outcome.CLIENT_ERROR, Outcome.UNSUPPORTED)
    failures = sum(each.outcome not in neutral and not each.is_overdue for each in tried)
    return failures + 1 if failures else 0


class Admission:
    """Admits requests. ``is_welcome`` returns whether the key of a tenant whose request has waited is still valid;
    ``is_saturated`` returns whether this replica's event loop is overloaded.
    """

    def __init__(
        self,
        store: Failover,
        router: RouterSettings,
        is_welcome: Callable[[Tenant], bool] = lambda _tenant: True,
        prices: Prices = NO_PRICES,
        is_saturated: Callable[[], bool] = lambda: False,
        labels: TenantLabels = NO_LABELS,
    ) -> None:
        self._labels = labels
        self._prices = prices
        self._is_welcome = is_welcome
        self._store = store
        self._router = router
        self._failures = FailureLog()
        self.recent_shedding = RecentShedding(is_saturated)
        self._by_deployment: dict[str, list[Queue]] = {}
        self.queues: dict[str, Queue] = {}  # of this replica, by model
        self._narrow: dict[tuple[str, tuple[str, ...]], Queue] = {}  # of restricted requests, by the deployments left
        self.attempts: Counter[tuple[str, str]] = Counter()  # calls of providers that ended, by deployment and outcome
        self.costs: Counter[tuple[str, int, str]] = Counter()  # of calls, by deployment, priority and tenant's label

    def apply_settings(self, router: RouterSettings, models: Iterable[str]) -> None:
        """Applies settings to new and waiting requests. ``models``: the configured models; requests that wait for a
        removed one stay until their turn or the end of their time.
        """
        self._router = router
        left = set(models)
        for model in [model for model, queue in self.queues.items() if model not in left and not queue]:
            del self.queues[model]
        for model, queue in self.queues.items():
            queue.settings = self._settings_of(model)
        waited_for = {id_: [queue for queue in queues if queue] for id_, queues in self._by_deployment.items()}
        self._by_deployment = {id_: queues for id_, queues in waited_for.items() if queues}

    def _settings_of(self, model: str) -> QueueSettings:
        return self._router.model_queues.get(model, self._router.queue)

    def queue(self, model: str, deployment_ids: Sequence[str]) -> Queue:
        """Returns the queue of a model, for all kinds of calls. A permit freed by one of these deployments wakes it."""
        if model not in self.queues:
            self.queues[model] = Queue(self._settings_of(model), asyncio.get_running_loop().time)
        queue = self.queues[model]
        for deployment_id in deployment_ids:
            queues = self._by_deployment.setdefault(deployment_id, [])
            if queue not in queues:
                queues.append(queue)
        return queue

    async def first(self, latest: Callable[[], Plan], queue: Queue, request: ClientRequest) -> Permit | Rejection:
        """Returns the first decision on a request; where every deployment is full, after its turn in the queue has
        come. No request overtakes the waiting ones. ``latest`` returns the plan of the configuration in force by then.
        Raises QueueFull, Overloaded, Unauthorized, and as `acquire`.
        """
        now, priority = request.interrupt.time(), request.priority
        narrow: tuple[str, ...] = ()
        if not queue or request.is_restricted:
            if shed := self.recent_shedding.rejection(priority, now):
                return shed
            plan = latest()
            decision = await self.acquire(plan, request, ())
            if isinstance(decision, Rejection):
                self.recent_shedding.note(decision, priority, request.interrupt.time())
                narrow = narrowed(plan.ids, decision) if request.is_restricted else ()
            if not queue.settings.max_waiting or not _is_full(decision):
                return decision
        elif shed := self.recent_shedding.saturated(priority):
            return shed
        with self._line(queue, narrow) as queue, queue.enter(request.tenant, priority, request.deadline.at) as waiter:
            while True:
                await self._turn(waiter, request)
                if not self._is_welcome(request.tenant):
                    raise Unauthorized("The API key was revoked while its request waited.")
                decision = await self.acquire(latest(), request, (), queue.standing(waiter))
                if not _is_full(decision):
                    queue.granted(waiter)
                    return decision
                assert isinstance(decision, Rejection)
                waiter.refused(is_behind="behind" in decision.verdicts)

    @contextlib.contextmanager
    def _line(self, queue: Queue, narrow: tuple[str, ...]) -> Iterator[Queue]:
        """Yields the queue to wait in: that of the model, or one of the requests that only some of its deployments may
        serve. These would hold up all others there while the rest of the deployments have room.
        """
        if not narrow:
            yield queue
            return
        key = (next((model for model, each in self.queues.items() if each is queue), ""), narrow)
        own = self._narrow.get(key)
        if own is None:
            own = self._narrow[key] = Queue(queue.settings, asyncio.get_running_loop().time)
            for deployment_id in narrow:
                self._by_deployment.setdefault(deployment_id, []).append(own)
        try:
            yield own
        finally:
            if not own and self._narrow.pop(key, None) is not None:
                for deployment_id in narrow:
                    left = self._by_deployment.get(deployment_id, [])
                    self._by_deployment[deployment_id] = [each for each in left if each is not own]

    async def _turn(self, waiter: Waiter, request: ClientRequest) -> None:
        """Waits, until the request's deadline at most. Raises Overloaded, and what `failed` makes of the deadline."""
        try:
            await waiter.turn()
        except Overloaded:
            if request.interrupt.time() < request.deadline.at - TIMER_TICK_S:
                raise
            raise failed(()) from None

    async def acquire(
        self, plan: Plan, request: ClientRequest, tried: Sequence[Tried], waiting: int = 0
    ) -> Permit | Rejection:
        """Returns the store's decision; a store that hangs is bounded by the request's deadline. Raises StateLost, and
        the error of `failed` at the deadline.
        """
        call, interrupt = request.call, request.interrupt
        is_neutral, limits = call.resource is not None, request.tenant.limits
        if is_neutral:
            rpm = None if call.resource is not None and call.resource.counts_body else limits.rpm
            limits = msgspec.structs.replace(limits, rpm=rpm, tpm=None, budget=None)
        ask = Ask(
            request.priority,
            call.is_stream,
            _number(tried) if tried else 1,
            call.tokens,
            limits,
            waiting,
            request.trace.is_recording,
            None if is_neutral else self._prices.spending(call, limits, plan),
            call.kind.label,
            request.only,
            tuple(digest_of(request.tenant.name, name) for name in call.names) if call.names else (),
            is_neutral,
            session=call.session,
        )
        interrupt.set_deadline(request.deadline.at)
        try:
            return await self._store.acquire(plan, ask)
        except StateError as error:
            lost = StateLost("The gateway's shared state cannot be reached.", retry_after_ms=RETRY_AFTER_MS)
            lost.attempts = attempts(tried)
            raise lost from error
        except asyncio.CancelledError:
            if not interrupt.take(Cause.DEADLINE):
                raise
            raise failed(tried) from None
        finally:
            interrupt.clear_deadline()

    def settle(
        self, permit: Permit, ending: Ending, attempt: Attempt, is_urgent: bool = False, is_sent: bool = True
    ) -> int:
        """Reports the end of an attempt to the store. ``is_sent``: the provider was called. Returns the cost of the
        attempt, in micro-units.
        """
        self._failures.note(permit.deployment_id, ending.outcome, ending.reason)
        if is_sent:
            self.attempts[permit.deployment_id, ending.outcome] += 1
        else:
            ending = msgspec.structs.replace(ending, tokens=0)
        if permit.ask.is_neutral:
            ending = Ending(Outcome.CANCELLED, is_final=ending.is_final, tokens=0)
        price = self._prices.of(permit.deployment_id)
        if permit.ask.spending is not None or not price.is_free:
            ending = self._prices.settled(permit, ending, is_sent)
        settled = self._store.settle(permit, ending, is_urgent)
        if any(self._by_deployment.get(permit.deployment_id, ())):
            settled.add_done_callback(lambda _settled: self.freed(permit.deployment_id))
        attempt.settling(settled)
        return self._accounted(permit, ending, price) if permit.ask.tenant.name or self._prices.has_prices else 0

    def _accounted(self, permit: Permit, ending: Ending, price: Price) -> int:
        """Adds the attempt to its tenant's usage and to the metrics. Returns the cost: what a budget is charged or,
        without a budget, the price of what the provider has counted.
        """
        tenant, counts, cost = permit.ask.tenant.name or ANONYMOUS.name, ending.counts, ending.cost
        if cost < 0:
            cost = permit.reserved or (price.of(counts) if counts is not NO_TOKENS else 0)
        if cost:
            self.costs[permit.deployment_id, permit.ask.priority, self._labels.of(tenant)] += cost
        if cost or counts is not NO_TOKENS:
            self._store.usage.spent(tenant, price.model, counts, cost)
        return cost

    def ended(self, tenant: str, model: str, is_error: bool) -> None:
        """Adds a request to its tenant's usage. ``model``: the one that answered it, or that it named. Without keys and
        without prices there is nothing to add up.
        """
        if tenant != ANONYMOUS.name or self._prices.has_prices:
            self._store.usage.ended(tenant, model, is_error)

    def freed(self, deployment_id: str) -> None:
        """Wakes the queues of a deployment whose request has ended, here or at another replica."""
        for queue in self._by_deployment.get(deployment_id, ()):
            if queue:
                queue.wake()

    def waiting(self) -> dict[str, int]:
        """Returns the number of requests that wait on this replica, by model."""
        counts = Counter({model: queue.waiting for model, queue in self.queues.items() if queue})
        for (model, _), queue in self._narrow.items():
            counts[model] += queue.waiting
        return dict(counts)
