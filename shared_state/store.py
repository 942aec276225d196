"""The port of the shared state: one method per script. Decisions are taken in Lua; here is what is asked when, and
again when the answer was lost.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import msgspec

from shared_state.accounting import Accounting
from shared_state.background import once
from shared_state.calls import replies, view_replies
from shared_state.calls.script_calls import Consent, Detail, ScriptCalls
from shared_state.checks import Checks
from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Lost, Orphaned, Reply
from shared_state.errors import NotConfigured, StateError
from shared_state.forecasts import Forecasts
from shared_state.histogram import Histogram
from shared_state.keys import Keys
from shared_state.memory import Live, Memory, View
from shared_state.policies import Configuration
from shared_state.records import (
    Ask,
    BlockEnding,
    Breaker,
    Ending,
    Heartbeat,
    Outcome,
    Permit,
    Plan,
    Rejection,
    Settlement,
)
from shared_state.scripts import Script
from shared_state.snapshots import (
    Agreement,
    DomainSnapshot,
    Event,
    Explanation,
    Presence,
    ReplicaSnapshot,
    ScalingSignal,
    Stand,
)

SNAPSHOT_CHUNK = 50  # deployments per call: about 1 ms of the store's time
REASSERT_CHUNK = 200  # leases per call: about 1 ms of the store's time
OWED_MOST = 10_000  # settles, and doubts, kept for a store that is away; what is beyond expires with its lease
TRIES = 4  # on a store that is flushed again and again
OVERTAKEN = "overtaken"
RECONCILE_EVERY_S = 5.0  # whatever went wrong: by then the leases there are those that their replica has

_log = logging.getLogger("pllm.state")


def _newest(before: dict[str, Breaker], fresh: dict[str, Breaker]) -> dict[str, Breaker]:
    """Of each breaker the later generation."""
    later = {name: b for name, b in fresh.items() if name not in before or b.generation >= before[name].generation}
    return {**before, **later}


class Store:
    """Decisions on one domain for one replica. Raises StateError from every awaited call."""

    def __init__(
        self,
        batcher: Batcher,
        scripts: dict[str, Script],
        keys: Keys,
        memory: Memory,
        configuration: Configuration,
        is_shared: bool = True,
    ) -> None:
        self._batcher = batcher
        self.epoch_changes = 0  # times that the store had lost what it knew
        self.keys = keys
        self._calls = ScriptCalls(scripts, keys, None if is_shared else memory.ledger)
        self.accounting = Accounting(batcher, self._calls, memory.ledger, self._owe)
        self.memory = memory
        self._is_shared = is_shared
        self._answered: dict[str, str] = {}
        self._doubtful: dict[str, tuple[bytes, Orphaned]] = {}
        self._owed: dict[str, bytes] = {}
        self._sequence = 0
        self._is_told = False  # the store holds our configuration and what this replica knows
        # What has ended may be alive there: the store has lost its last seconds, or another one answers now.
        self._is_doubted = False
        self._reconciled_s = time.monotonic()
        self._era = 0
        self._restoring: asyncio.Future[None] | None = None
        self.configuration = configuration
        self.checks = Checks(batcher, self._calls)
        self.forecasts = Forecasts(batcher, self._calls, lambda: self.configuration)
        self.replicas = 1  # that share each tenant's limits without knowing of each other
        self.view = View()
        self.shed_reasons: tuple[str, ...] = ()  # as of the last heartbeat
        self.heard_tenants: Callable[[int], None] = lambda _version: None
        self.told = ""  # what the last beat that got through named as the store in use
        self.agree: Callable[[], Awaitable[None]] | None = None  # learns what is in force, before that is written
        self.own_fingerprint = ""  # of this replica's file
        self.held = (0, "")  # version and fingerprint of the policies, as of the last heartbeat

    @property
    def configuration(self) -> Configuration:
        """With deployments that are gone from it, as long as requests run on them."""
        return self._configuration

    @configuration.setter
    def configuration(self, configuration: Configuration) -> None:
        self._configuration = self._adopted = configuration

    @property
    def latencies(self) -> dict[str, Histogram]:
        """By script, as this replica sees them."""
        return self._batcher.latencies

    @property
    def deadlines_missed(self) -> int:
        return self._batcher.late

    @property
    def is_slow(self) -> bool:
        """The last reply took longer than the deadline."""
        return self._batcher.is_slow

    # -- the hot path ---------------------------------------------------------------------------------------

    def plan(self, candidates: Sequence[tuple[str, int]], strategy: str, has_more: bool = False) -> Plan:
        """Candidates as (deployment id, tier) in chain order; ``has_more``: others follow, in another domain."""
        return self._calls.plan(candidates, strategy, self.configuration.region, has_more)

    async def acquire(self, plan: Plan, ask: Ask) -> Permit | Rejection:
        """One decision."""
        token = self.memory.token(ask.is_stream, ask.tenant.name)
        packed = self._calls.acquire(plan, token, ask, self.replicas)
        sent, again = packed + b"$1\r\n0\r\n", packed + b"$1\r\n1\r\n"
        orphaned = partial(self._give_back, token, ask, plan)
        lost = partial(self._doubt, token, packed + b"$1\r\n2\r\n", orphaned, False)
        for _ in range(TRIES):
            try:
                reply = await self._decision(sent, again, orphaned, lost)
                decision = replies.acquired(reply, token, ask, plan.ids)
            except NotConfigured:
                await self.restore()
                continue
            if isinstance(decision, Rejection) and decision.reason == OVERTAKEN:
                continue  # it had waited for a connection, while others went out on a later one
            self._follow(decision.sequence)
            if isinstance(decision, Permit):
                self.memory.grant(decision, self._is_shared)
            return decision
        raise NotConfigured("the store does not keep its configuration")

    def _follow(self, sequence: int) -> None:
        """A number that is not above the last: the store has lost what lay between."""
        if sequence <= self._sequence:
            self._is_told, self._is_doubted = False, True
            self._restore_soon()
        self._sequence = sequence

    async def _decision(self, sent: bytes, again: bytes, orphaned: Orphaned, lost: Lost) -> Reply:
        granted = self._batcher.call(sent, again, orphaned, lost, is_urgent=True, has_era=True)
        self._batcher.flush()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                orphaned(granted.result())  # it had come, but nobody had taken it yet
            raise

    def _doubt(self, token: str, again: bytes, orphaned: Orphaned, was_sent: bool, is_sent: bool) -> None:
        """It may be granted all the same: the next heartbeat that gets through asks."""
        if (was_sent or is_sent) and len(self._doubtful) < OWED_MOST:
            self._doubtful[token] = (again, orphaned)

    async def acquire_block(self, plan: Plan, ask: Ask, count: int, hold_ms: int) -> list[Permit]:
        """So many decisions at once, as far as they are grants; none where `acquire` has to be asked."""
        tokens = [self.memory.token(ask.is_stream, ask.tenant.name) for _ in range(count)]
        sent, again, doubted = self._calls.acquire_block(plan, tokens, ask, hold_ms)
        orphaned = partial(self._give_block_back, tokens, ask, plan)
        lost = partial(self._doubt, tokens[0], doubted, orphaned, False)
        for _ in range(TRIES):
            try:
                reply = await self._decision(sent, again, orphaned, lost)
                permits, why, sequence = replies.block_acquired(reply, tokens, ask, plan.ids)
            except NotConfigured:
                await self.restore()
                continue
            if why == OVERTAKEN:
                continue
            if permits:
                self._follow(sequence)
            for permit in permits:
                self.memory.reserve(permit, hold_ms / 1000, self._is_shared)
            return permits
        raise NotConfigured("the store does not keep its configuration")

    def _give_block_back(self, tokens: Sequence[str], ask: Ask, plan: Plan, reply: Reply) -> None:
        with contextlib.suppress(NotConfigured):
            permits = replies.block_acquired(reply, tokens, ask, plan.ids)[0]
            for deployment_id in {permit.deployment_id for permit in permits}:
                unused = [BlockEnding(p, None) for p in permits if p.deployment_id == deployment_id]
                self.settle_block(deployment_id, unused)

    def settle_block(
        self, deployment_id: str, calls: Sequence[BlockEnding], is_urgent: bool = False
    ) -> asyncio.Future[Reply]:
        """As `settle`, for many permits of one deployment."""
        for call in calls:
            self._answered.pop(call.permit.token, None)
            self.memory.end(call.permit.token)
        packed = self._calls.settle_block(deployment_id, calls)
        return self._batcher.call(packed, lost=partial(self._owe, calls[0].permit.token, packed), is_urgent=is_urgent)

    def settle(self, permit: Permit, ending: Ending, is_urgent: bool = False) -> asyncio.Future[Reply]:
        """Ends the permit; nobody has to await the reply (``settlement`` does). Urgent: before the next acquire. When
        it is lost, it is sent again after the next heartbeat that gets through.
        """
        token = permit.token
        self._answered.pop(token, None)
        self.memory.end(token)
        packed = self._calls.settle(permit, ending, self.replicas)
        return self._batcher.call(packed, lost=partial(self._owe, token, packed), is_urgent=is_urgent)

    def owe(self, permit: Permit, ending: Ending) -> None:
        """The permit has ended elsewhere: here its lease ends when the store is back, and reports only what it used."""
        self._answered.pop(permit.token, None)
        used = Ending(Outcome.CANCELLED, tokens=ending.tokens, cost=ending.cost)
        self._owe(permit.token, self._calls.settle(permit, used, self.replicas))

    def _owe(self, token: str, packed: bytes, _was_sent: bool = False) -> None:
        if len(self._owed) < OWED_MOST:
            self._owed[token] = packed

    async def settlement(self, permit: Permit, ending: Ending) -> Settlement:
        return replies.settled(await self.settle(permit, ending))

    def judge_content(self, permit: Permit, latency_ms: int) -> asyncio.Future[Reply]:
        """A probe that is a stream succeeds with its first content. Where the reply is lost, its end decides."""
        return self._batcher.call(self._calls.content(permit, latency_ms), is_urgent=True)

    def answered(self, permit: Permit) -> None:
        """A stream has got its first byte: the next heartbeat tells, so that it no longer counts as waiting."""
        self.memory.answered(permit.token)
        self._answered[permit.token] = permit.deployment_id

    def _give_back(self, token: str, ask: Ask, plan: Plan, reply: Reply) -> None:
        """A grant whose request was cancelled while it was on its way ends as cancelled."""
        with contextlib.suppress(NotConfigured):
            decision = replies.acquired(reply, token, ask, plan.ids)
            if isinstance(decision, Permit):
                self.settle(decision, Ending(Outcome.CANCELLED, tokens=0, cost=0))

    # -- the rest -------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Puts the configuration back, and what this replica knows. Once at a time, whoever asks."""
        if self._restoring is None:
            self._restoring = asyncio.ensure_future(self._restore())
            self._restoring.add_done_callback(self._restored)
        await asyncio.shield(self._restoring)

    async def _restore(self) -> None:
        self._is_told = True
        try:
            for tries_left in reversed(range(TRIES)):
                if self._is_shared:
                    await self.accounting.restore()  # ahead of the configuration, without which nothing is granted
                if self.agree is not None:
                    await self.agree()
                await self.configure()
                try:
                    await self.reassert(self.view, self.view)
                    break
                except NotConfigured:  # flushed in between
                    if not tries_left:
                        raise
        except BaseException:
            self._is_told = False
            raise

    def _restored(self, done: asyncio.Future[None]) -> None:
        self._restoring = None
        if not done.cancelled():
            done.exception()

    def _restore_soon(self) -> None:
        once("restore", self.restore(), expected=StateError)

    def reassert(self, seen: View, now: View, is_own: bool = False) -> asyncio.Future[list[int]]:
        """Tells the live permits, and the breakers as they are ``now``; ``seen`` is what this store was last seen to
        hold. ``is_own``: a store that learns from this replica alone. The calls are queued before this returns.
        """
        calls = []
        live: dict[str, list[Live]] = {}
        for each in self.memory.live.values():
            live.setdefault(each.permit.deployment_id, []).append(each)
            each.is_shared = each.is_shared or self._is_shared
        for policy in self.configuration.deployments:
            leases, breaker = live.get(policy.id, []), now.breakers.get(policy.id)
            if not leases and breaker is None:
                continue
            for k in range(0, len(leases) or 1, REASSERT_CHUNK):
                chunk, is_same = leases[k : k + REASSERT_CHUNK], is_own or seen is now
                packed = self._calls.reassert(policy.id, chunk, seen, breaker, is_own, is_same)
                # Ahead of every decision that follows.
                calls.append(self._batcher.call(packed, is_urgent=True, has_era=True))
        if self._is_shared:
            self.accounting.reserve(self.memory.live.values())
        return asyncio.ensure_future(self._reasserted(calls))

    async def _reasserted(self, calls: list[asyncio.Future[Reply]]) -> list[int]:
        return [replies.reasserted(reply) for reply in await asyncio.gather(*calls)]

    async def configure(self) -> None:
        """Writes the policies of the configuration in force; the store keeps those of a newer one."""
        await self._configured(self.configuration)

    async def _configured(self, configuration: Configuration) -> None:
        calls = [self._batcher.call(packed) for packed in self._calls.configure(configuration)]
        done = [replies.configured(reply) for reply in await asyncio.gather(*calls)]
        if done and all(done):
            self.held = (configuration.version, configuration.fingerprint)

    async def beat(self, presence: Presence) -> Heartbeat:
        """Tells and asks; a store that turns out to have forgotten something is told that as well."""
        if self._configuration is not self._adopted:
            self._configuration = self._with_busy(self._adopted)
        policies = self.configuration.deployments
        answered, self._answered = self._answered, {}
        ids = [policy.id for policy in policies]
        packed = self._calls.beat(self.memory.replica, presence, ids, answered, self.own_fingerprint)
        try:
            beat = replies.beaten(await self._batcher.call(packed))
        except StateError:
            self._answered = answered | self._answered
            raise
        self.told, self.held = presence.store, (beat.policy_version, beat.fingerprint)
        self._pay()
        self.heard_tenants(beat.tenants_version)
        self.shed_reasons = tuple(beat.shed_reasons.split(",")) if beat.shed_reasons else ()
        before = self.view
        if beat.sequence <= self._sequence or self._era not in (0, self._batcher.era):
            self._is_told, self._is_doubted = False, True
        self._sequence, self._era = beat.sequence, self._batcher.era
        is_due = self._is_doubted or time.monotonic() - self._reconciled_s > RECONCILE_EVERY_S
        if is_due:
            if before.epoch:
                await self._reap_all(self.memory.replica, beat.now_ms)
            self._is_doubted, self._reconciled_s = False, time.monotonic()
        if before.epoch and (beat.epoch != before.epoch or not beat.is_known):
            self._is_told = False
            self.epoch_changes += beat.epoch != before.epoch
        has_forgotten, configuration = not self._is_told, self.configuration
        is_held = self.held == (configuration.version, configuration.fingerprint)
        if has_forgotten or (configuration.version and not is_held):
            await self.restore()
        fresh = {policies[k].id: breaker for k, breaker in beat.breakers.items()}
        self.memory.breaker_log.see(beat.epoch, fresh)
        if has_forgotten:
            self.view = View(beat.epoch, _newest(before.breakers, fresh))  # the rest it was told just now
        else:
            self.view = View(beat.epoch, fresh)
            if is_due:  # leases only: the store has just sent its breakers
                await self.reassert(nothing := View(), nothing)
        if self._is_shared:
            await self.accounting.read()
        return beat

    def _pay(self) -> None:
        """Sends settles that were lost, and asks again for decisions that were lost on the way: the same token gets the
        same grant, for nobody, and what was not granted stays so.
        """
        owed, self._owed = self._owed, {}
        for token, packed in owed.items():
            self._batcher.call(packed, lost=partial(self._owe, token, packed))
        doubtful, self._doubtful = self._doubtful, {}
        for token, (again, orphaned) in doubtful.items():
            lost = partial(self._doubt, token, again, orphaned, True)
            self._batcher.call(again, again, orphaned, lost, has_era=True).cancel()

    async def reap(self, dead: str) -> int:
        """Removes the leases of a dead replica, in bounded chunks; returns how many."""
        return await self._reap_all(dead)

    async def _reap_all(self, replica: str, own_before_ms: int = 0) -> int:
        """Of our deployments and, where the dead replica had others, of those. The last call forgets it."""
        removed, ids, position = 0, [policy.id for policy in self.configuration.deployments], 0
        while position < len(ids):
            count, chunks, deployments = await self._reap(replica, ids[position], False, own_before_ms)
            removed += count
            if not own_before_ms:
                ids += [each for each in deployments.split(",") if each and each not in ids]
            # Calls that end between two chunks move what is still to be seen: a long list is gone through again.
            if chunks == 1 or not count:
                position += 1
        if ids and not own_before_ms:
            removed += (await self._reap(replica, ids[-1], True, 0))[0]
        return removed

    async def _reap(self, replica: str, deployment_id: str, is_last: bool, own_before_ms: int) -> tuple[int, int, str]:
        """Goes once through the leases of a deployment; returns how many were removed, in how many chunks, and what
        deployments the replica has.
        """
        removed = chunks = offset = 0
        deployments = ""
        live = self.memory.of(deployment_id) if own_before_ms else []
        while offset >= 0:
            packed = self._calls.reap(replica, deployment_id, offset, is_last, own_before_ms, live)
            count, offset, deployments = replies.reaped(await self._batcher.call(packed))
            removed, chunks = removed + count, chunks + 1
        return removed, chunks, deployments

    async def force(self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int = 0) -> bool:
        """Moves a breaker by hand; False when the deployment or the action is unknown."""
        reply = await self.tell_forced(deployment_id, action, actor, reason, ttl_ms)
        moved = replies.forced(reply, ttl_ms, f"{action} by {actor}")
        if moved is not None:
            # Trouble may begin before the next beat.
            self.view = View(self.view.epoch, {**self.view.breakers, deployment_id: moved})
        return moved is not None

    def tell_forced(
        self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int
    ) -> asyncio.Future[Reply]:
        """As `force`, queued before this returns, ahead of every decision that follows."""
        packed = self._calls.force(deployment_id, action, actor, reason, ttl_ms)
        return self._batcher.call(packed, is_urgent=True)

    def tenants(self, *arguments: str) -> asyncio.Future[Reply]:
        """What the script of this name is asked; `tenants` has the values."""
        return self._batcher.call(self._calls.tenants(*arguments))

    async def adopt(self, configuration: Configuration) -> None:
        """Another configuration while running. What it no longer has is kept as long as requests run on it here."""
        await self._configured(self._with_busy(configuration))
        self._adopted, self._configuration = configuration, self._with_busy(configuration)

    def _with_busy(self, configuration: Configuration) -> Configuration:
        """With those of the deployments so far that it does not have, but whose requests have not ended yet."""
        ids = {policy.id for policy in configuration.deployments}
        busy = {live.permit.deployment_id for live in self.memory.live.values()} - ids
        kept = tuple(policy for policy in self.configuration.deployments if policy.id in busy)
        if not kept:
            return configuration
        return msgspec.structs.replace(configuration, deployments=configuration.deployments + kept)

    async def reload(self, what: Consent, stand: Stand, *more: str) -> Agreement:
        """How the replicas agree on the configuration in force: as the head of the script says."""
        packed = self._calls.reload(what, self.memory.replica, stand, *more)
        return replies.agreed(await self._batcher.call(packed))

    async def published(self, stand: Stand) -> bytes:
        """The configuration in force as JSON; empty where no replica has published it yet."""
        packed = self._calls.reload("read", self.memory.replica, stand)
        return replies.published(await self._batcher.call(packed))

    async def snapshot(self, detail: Detail = 0, ids: Sequence[str] | None = None) -> DomainSnapshot:
        """Of all deployments, or of some."""
        if ids is None:
            ids = [policy.id for policy in self.configuration.deployments]
        chunks = [tuple(ids[k : k + SNAPSHOT_CHUNK]) for k in range(0, len(ids), SNAPSHOT_CHUNK)] or [()]
        calls = [self._batcher.call(self._calls.snapshot(chunk, detail, self.configuration.region)) for chunk in chunks]
        return await self.forecasts.foreseen(view_replies.snapshot(await asyncio.gather(*calls), chunks))

    async def tell_round_trips(self, measured: Mapping[str, float]) -> None:
        """From this replica's region, in ms, by deployment."""
        if measured:
            await self._batcher.call(self._calls.round_trips(self.configuration.region, measured))

    async def events_before(self, event_id: str, most: int) -> list[Event]:
        """The newest first, of those before this one; of all when that is empty."""
        return view_replies.events(await self._batcher.call(self._calls.events("newest", event_id, most)))

    async def events_after(self, event_id: str, most: int) -> list[Event]:
        """The oldest first, of those after this one."""
        return view_replies.events(await self._batcher.call(self._calls.events("after", event_id, most)))

    async def roster(self) -> list[ReplicaSnapshot]:
        return view_replies.roster(await self._batcher.call(self._calls.roster()))

    async def autoscale(self, waiting: int, elsewhere: int | None = None) -> ScalingSignal | None:
        """How many replicas there should be. ``waiting``: requests in this replica's queues; ``elsewhere``: its active
        ones in other domains. None: not to be told, as the configuration says nothing of it or the store is new.
        """
        configuration = self.configuration
        if configuration.autoscale is None:
            return None
        policy = configuration.autoscale
        packed = self._calls.autoscale(self.memory.replica, waiting, elsewhere, configuration, policy)
        return view_replies.autoscaled(await self._batcher.call(packed))

    async def explain(self, plan: Plan, ask: Ask) -> Explanation:
        return view_replies.explained(await self._batcher.call(self._calls.explain(plan, ask, self.replicas)), plan.ids)
