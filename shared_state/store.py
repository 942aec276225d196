"""The port of one store: one method per script. Lua takes the decisions; this module decides which call is sent when,
and what happens after a lost reply.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from shared_state.accounting import Accounting
from shared_state.background import once
from shared_state.calls import replies, view_replies
from shared_state.calls.owned import Kept
from shared_state.calls.script_calls import ScriptCalls
from shared_state.checks import Checks
from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Lost, Orphaned, Reply
from shared_state.connection.libraries import ROUND_EVERY_S, remove_unused
from shared_state.connection.lost_calls import LostCalls
from shared_state.errors import NotConfigured, StateError
from shared_state.histogram import Histogram
from shared_state.keys import Keys
from shared_state.memory import Memory, View
from shared_state.policies import Configuration
from shared_state.records import Ask, BlockEnding, Ending, Heartbeat, Outcome, Permit, Plan, Rejection, Settlement
from shared_state.recovery import TRIES, Recovery
from shared_state.scripts import Script, libraries
from shared_state.snapshots import Explanation, Presence, ScalingSignal
from shared_state.stored_policies import StoredPolicies
from shared_state.usage import Usage
from shared_state.views import Views

OVERTAKEN = "overtaken"  # the reason of a rejection: a later connection has sent calls before this one arrived


class Store:
    """The decisions on one domain for one replica. Every awaited call may raise StateError."""

    def __init__(
        self,
        batcher: Batcher,
        scripts: dict[str, Script],
        keys: Keys,
        memory: Memory,
        configuration: Configuration,
        is_shared: bool = True,
    ) -> None:
        self.keys = keys
        self.memory = memory
        self._batcher = batcher
        self._is_shared = is_shared
        self._calls = calls = ScriptCalls(scripts, keys, None if is_shared else memory.ledger)
        self._lost_calls = LostCalls(batcher)
        self._owe, self._discard = self._lost_calls.owe, self._lost_calls.discard
        self.policies = StoredPolicies(batcher, calls, memory, configuration)
        self.accounting = Accounting(batcher, calls, memory, self._owe)
        self.recovery = Recovery(batcher, calls, memory, self.policies, self.accounting, is_shared)
        self._follow = self.recovery.follow
        self.checks = Checks(batcher, calls)
        self.usage = Usage(batcher, calls, memory.replica)
        self.views = Views(batcher, calls, self.policies)
        self._libraries = libraries(scripts.values())
        self._tidy_at_s = 0.0
        self._answered: dict[str, str] = {}  # deployments by token, since the last heartbeat
        self.replicas = 1  # that share each tenant's limits without knowing of each other
        self.shed_reasons: tuple[str, ...] = ()  # as of the last heartbeat
        self.on_tenants_version: Callable[[int], None] = lambda _version: None  # called with each heartbeat
        self.reported_store = ""  # the store in use, as the last heartbeat reported it
        self.file_fingerprint = ""  # of this replica's configuration file

    @property
    def configuration(self) -> Configuration:
        """The configuration, with removed deployments for as long as requests run on them."""
        return self.policies.configuration

    @property
    def view(self) -> View:
        """The breakers of this store as they were last seen."""
        return self.recovery.view

    @property
    def latencies(self) -> dict[str, Histogram]:
        """The latencies of each script, as this replica measures them."""
        return self._batcher.latencies

    @property
    def deadlines_missed(self) -> int:
        return self._batcher.late

    @property
    def is_slow(self) -> bool:
        """Whether the last reply took longer than the deadline."""
        return self._batcher.is_slow

    def plan(self, candidates: Sequence[tuple[str, int]], strategy: str, has_more: bool = False) -> Plan:
        """Packs the part of a decision that is the same for each request. Candidates are (deployment id, tier) in chain
        order; ``has_more``: others follow, in another domain.
        """
        return self._calls.plan(candidates, strategy, self.configuration.region, has_more)

    async def acquire(self, plan: Plan, ask: Ask) -> Permit | Rejection:
        """Takes one decision."""
        token = self.memory.token(ask.is_stream, ask.tenant.name)
        if ask.session and not self._calls.has_secret:
            ask = msgspec.structs.replace(ask, session=())
        packed = self._calls.acquire(plan, token, ask, self.replicas)
        sent, again = packed + b"$1\r\n0\r\n", packed + b"$1\r\n1\r\n"
        orphaned = partial(self._return_grant, token, ask, plan)
        lost = partial(self._discard, token, packed + b"$1\r\n2\r\n", orphaned, False)
        for _ in range(TRIES):
            try:
                reply = await self._decision(sent, again, orphaned, lost)
                decision = replies.acquired(reply, token, ask, plan.ids)
            except NotConfigured:
                await self.recovery.restore()
                continue
            if isinstance(decision, Rejection) and decision.reason == OVERTAKEN:
                continue  # it waited for its connection while others went out on a later one
            self._follow(decision.sequence)
            if isinstance(decision, Permit):
                self.memory.grant(decision, self._is_shared)
            return decision
        raise NotConfigured("the store does not keep its configuration")

    async def _decision(self, sent: bytes, again: bytes, orphaned: Orphaned, lost: Lost) -> Reply:
        granted = self._batcher.call(sent, again, orphaned, lost, is_urgent=True, has_era=True)
        self._batcher.flush()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                orphaned(granted.result())  # the reply had come, but the caller had not received it yet
            raise

    async def acquire_block(self, plan: Plan, ask: Ask, count: int, hold_ms: int) -> list[Permit]:
        """Takes ``count`` decisions at once and returns the grants; an empty list where `acquire` must decide."""
        tokens = [self.memory.token(ask.is_stream, ask.tenant.name) for _ in range(count)]
        sent, again, only_granted = self._calls.acquire_block(plan, tokens, ask, hold_ms)
        orphaned = partial(self._return_block, tokens, ask, plan)
        lost = partial(self._discard, tokens[0], only_granted, orphaned, False)
        for _ in range(TRIES):
            try:
                reply = await self._decision(sent, again, orphaned, lost)
                permits, reason, sequence = replies.block_acquired(reply, tokens, ask, plan.ids)
            except NotConfigured:
                await self.recovery.restore()
                continue
            if reason == OVERTAKEN:
                continue
            if permits:
                self._follow(sequence)
            for permit in permits:
                self.memory.reserve(permit, hold_ms / 1000, self._is_shared)
            return permits
        raise NotConfigured("the store does not keep its configuration")

    def _return_block(self, tokens: Sequence[str], ask: Ask, plan: Plan, reply: Reply) -> None:
        with contextlib.suppress(NotConfigured):
            permits = replies.block_acquired(reply, tokens, ask, plan.ids)[0]
            for deployment_id in {permit.deployment_id for permit in permits}:
                unused = [BlockEnding(p, None) for p in permits if p.deployment_id == deployment_id]
                self.settle_block(deployment_id, unused)

    def settle_block(
        self, deployment_id: str, calls: Sequence[BlockEnding], is_urgent: bool = False
    ) -> asyncio.Future[Reply]:
        """Ends many permits of one deployment, like `settle`."""
        for call in calls:
            self._answered.pop(call.permit.token, None)
            self.memory.end(call.permit.token)
        packed = self._calls.settle_block(deployment_id, calls)
        return self._batcher.call(packed, lost=partial(self._owe, calls[0].permit.token, packed), is_urgent=is_urgent)

    def settle(self, permit: Permit, ending: Ending, is_urgent: bool = False) -> asyncio.Future[Reply]:
        """Ends the permit. The reply need not be awaited (`settlement` does so). Urgent: sent before the next acquire.
        A lost settle is sent again after the next successful heartbeat.
        """
        token = permit.token
        self._answered.pop(token, None)
        self.memory.end(token)
        packed = self._calls.settle(permit, ending, self.replicas)
        return self._batcher.call(packed, lost=partial(self._owe, token, packed), is_urgent=is_urgent)

    def owe(self, permit: Permit, ending: Ending) -> None:
        """Ends a permit that was settled on another store: its lease ends here when this store is back, and only its
        tokens and cost are reported.
        """
        self._answered.pop(permit.token, None)
        used = Ending(Outcome.CANCELLED, tokens=ending.tokens, cost=ending.cost)
        self._owe(permit.token, self._calls.settle(permit, used, self.replicas))

    async def settlement(self, permit: Permit, ending: Ending) -> Settlement:
        """Settles and returns the effect."""
        return replies.settled(await self.settle(permit, ending))

    def remember(self, deployment_id: str, owned: Sequence[str], kept: Kept) -> asyncio.Future[Reply]:
        """Remembers who holds the ids of an answer, before any decision that follows. The reply need not be awaited:
        while an id is unknown, its request tries one account after the other.
        """
        return self._batcher.call(self._calls.remember(deployment_id, owned, kept), is_urgent=True)

    def judge_content(self, permit: Permit, latency_ms: int) -> asyncio.Future[Reply]:
        """Judges a streamed probe by its first content. If the reply is lost, the end of the stream decides."""
        return self._batcher.call(self._calls.content(permit, latency_ms), is_urgent=True)

    def answered(self, permit: Permit) -> None:
        """Notes the first byte of a stream: the next heartbeat reports it, so that it no longer counts as waiting."""
        self.memory.answered(permit.token)
        self._answered[permit.token] = permit.deployment_id

    def _return_grant(self, token: str, ask: Ask, plan: Plan, reply: Reply) -> None:
        """Ends a grant as cancelled when it arrives after its request was cancelled."""
        with contextlib.suppress(NotConfigured):
            decision = replies.acquired(reply, token, ask, plan.ids)
            if isinstance(decision, Permit):
                self.settle(decision, Ending(Outcome.CANCELLED, tokens=0, cost=0))

    async def beat(self, presence: Presence) -> Heartbeat:
        """Reports this replica and reads the cluster. A store that turns out to have lost state gets it again."""
        self.policies.drop_idle()
        answered, self._answered = self._answered, {}
        ids = [policy.id for policy in self.configuration.deployments]
        packed = self._calls.beat(self.memory.replica, presence, ids, answered, self.file_fingerprint)
        try:
            beat = replies.beaten(await self._batcher.call(packed))
        except StateError:
            self._answered = answered | self._answered
            raise
        if self._is_shared and time.monotonic() >= self._tidy_at_s:
            self._tidy_at_s = time.monotonic() + ROUND_EVERY_S
            removal = remove_unused(self._batcher.execute, self.keys, self._libraries)
            self._tidying = once("libraries", removal, StateError)
        self._calls.use_secret(beat.secret)
        self.reported_store, self.policies.held = presence.store, (beat.policy_version, beat.fingerprint)
        self._lost_calls.resend()
        self.on_tenants_version(beat.tenants_version)
        self.shed_reasons = tuple(beat.shed_reasons.split(",")) if beat.shed_reasons else ()
        await self.recovery.follow_beat(beat, ids)
        if self._is_shared:
            await self.accounting.read()
        return beat

    async def force(self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int = 0) -> bool:
        """Moves a breaker by hand; returns False when the deployment or the action is unknown."""
        reply = await self.send_force(deployment_id, action, actor, reason, ttl_ms)
        moved = replies.forced(reply, ttl_ms, f"{action} by {actor}")
        if moved is not None:
            # An outage may begin before the next heartbeat.
            self.recovery.view = View(self.view.epoch, {**self.view.breakers, deployment_id: moved})
        return moved is not None

    def send_force(
        self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int
    ) -> asyncio.Future[Reply]:
        """Queues the call of `force` before this returns, ahead of every decision that follows."""
        packed = self._calls.force(deployment_id, action, actor, reason, ttl_ms)
        return self._batcher.call(packed, is_urgent=True)

    def tenants(self, *arguments: str) -> asyncio.Future[Reply]:
        """Calls the script of this name; `tenants.TenantBook` knows its arguments."""
        return self._batcher.call(self._calls.tenants(*arguments))

    async def report_round_trips(self, measured: Mapping[str, float]) -> None:
        """Writes the round trips from this replica's region, in ms by deployment."""
        if measured:
            await self._batcher.call(self._calls.round_trips(self.configuration.region, measured))

    async def autoscale(self, waiting: int, elsewhere: int | None = None) -> ScalingSignal | None:
        """Returns the number of replicas that the cluster should have. ``waiting``: requests in this replica's queues;
        ``elsewhere``: its active requests in other domains. None where the configuration has no autoscaling, or the
        store is new.
        """
        configuration = self.configuration
        if configuration.autoscale is None:
            return None
        policy = configuration.autoscale
        packed = self._calls.autoscale(self.memory.replica, waiting, elsewhere, configuration, policy)
        return view_replies.autoscaled(await self._batcher.call(packed))

    async def explain(self, plan: Plan, ask: Ask) -> Explanation:
        """Returns what `acquire` would decide now, without deciding it."""
        if not self._calls.has_secret:
            ask = msgspec.structs.replace(ask, session=())
        reply = await self._batcher.call(self._calls.explain(plan, ask, self.replicas))
        return view_replies.explained(reply, plan.ids)
