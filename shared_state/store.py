"""The port of the shared state: one method per script. Decisions are taken in Lua; here values become calls and
replies become values.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Sequence
from functools import partial
from typing import Literal

import msgspec

from shared_state import replies
from shared_state.batcher import Batcher, Lost, Orphaned, Reply
from shared_state.client import pack
from shared_state.errors import NotConfigured, StateError
from shared_state.keys import Keys
from shared_state.memory import Live, Memory, View
from shared_state.records import (
    Breaker,
    DeploymentPolicy,
    DomainSnapshot,
    Ending,
    Explanation,
    Heartbeat,
    Outcome,
    Permit,
    Rejection,
    RouterPolicy,
    Settlement,
)
from shared_state.scripts import Script

DEAD_AFTER_MS = 5000
SNAPSHOT_CHUNK = 50  # deployments per call: about 1 ms of the store's time
REAP_CHUNK = 500
REASSERT_CHUNK = 200  # leases per call: about 1 ms of the store's time
OWED_MOST = 10_000  # settles, and doubts, kept for a store that is away; what is beyond expires with its lease
TRIES = 4  # on a store that is flushed again and again
OVERTAKEN = "overtaken"
RECONCILE_EVERY_S = 5.0  # whatever went wrong: by then the leases there are those that their replica has
_SEED_BITS = 31


class Presence(msgspec.Struct, frozen=True):
    """What a replica says of itself. ``status``: 0 serving, 1 draining, gone; ``store``: the one it decides on, and
    ``reason`` why that is not the shared one.
    """

    address: str
    version: str
    started_at_ms: int
    status: Literal["0", "1", "gone"] = "0"
    store: Literal["shared", "standby"] = "shared"
    reason: str = ""


class Plan(msgspec.Struct, frozen=True):
    """The part of an acquire that is the same for every request of a model, packed once."""

    ids: tuple[str, ...]
    tiers: tuple[int, ...]
    strategy: str
    prefix: bytes


class Configuration(msgspec.Struct, frozen=True):
    """What this replica puts into the store: the newest ``version`` wins."""

    version: int
    router: RouterPolicy
    deployments: tuple[DeploymentPolicy, ...]


def _newest(before: dict[str, Breaker], fresh: dict[str, Breaker]) -> dict[str, Breaker]:
    """Of each breaker the later generation."""
    later = {name: b for name, b in fresh.items() if name not in before or b.generation >= before[name].generation}
    return {**before, **later}


def _limit_arguments(breaker: Breaker | None, is_same_share: bool) -> list[bytes]:
    """How long it cools, and its rate limit is used up. The latter is of no use where another share was in force."""
    now_s = time.monotonic()
    cool_s = breaker.cools_s - now_s if breaker else 0.0
    used_s = breaker.used_s - now_s if breaker and is_same_share else 0.0
    return [b"%d" % max(0, round(1000 * cool_s)), b"%d" % max(0, round(1000 * used_s))]


def _lease_arguments(leases: Sequence[Live]) -> list[bytes]:
    now_s, arguments = time.monotonic(), []
    for live in leases:
        age_ms = round((now_s - live.granted_s) * 1000)
        arguments += [live.permit.token.encode(), b"%d" % age_ms]
        arguments += [b"%d" % live.permit.is_probe, b"%d" % live.is_answered]
    return arguments


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
        self._scripts = scripts
        self._keys = keys
        self.memory = memory
        self._is_shared = is_shared
        # A letter first: Lua takes a text that looks like a number for one.
        self._epoch = f"e{secrets.token_hex(8)}".encode()
        self._seed = random.Random(secrets.randbits(64)).getrandbits
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
        self.view = View()
        domain = (keys.domain, keys.policy, keys.leases, keys.window, keys.events)
        self._settle_prefix = {
            policy.id: self._prefix("settle", 11, *domain, *keys.candidate(policy.id)) + pack(self._epoch)
            for policy in configuration.deployments
        }

    # -- the hot path ---------------------------------------------------------------------------------------

    def plan(self, candidates: Sequence[tuple[str, int]], strategy: str) -> Plan:
        """Candidates as (deployment id, tier) in chain order."""
        keys = self._keys
        ids = tuple(deployment_id for deployment_id, _ in candidates)
        tiers = tuple(tier for _, tier in candidates)
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events]
        for deployment_id in ids:
            names += keys.candidate(deployment_id)
        static = pack(strategy.encode(), ",".join(map(str, tiers)).encode(), self._epoch)
        return Plan(ids, tiers, strategy, self._prefix("acquire", 9, *names) + static)

    async def acquire(self, plan: Plan, priority: int, is_stream: bool, attempt: int = 1) -> Permit | Rejection:
        """One decision. ``priority``: 0 critical to 100 bulk; ``attempt``: from 1."""
        token = self.memory.token(is_stream)
        dynamic = pack(token.encode(), b"%d" % priority, b"%d" % self._seed(_SEED_BITS), b"%d" % attempt)
        sent = plan.prefix + dynamic + b"$1\r\n0\r\n"
        again = plan.prefix + dynamic + b"$1\r\n1\r\n"
        orphaned = partial(self._give_back, token, is_stream, plan)
        lost = partial(self._doubt, token, plan.prefix + dynamic + b"$1\r\n2\r\n", orphaned, False)
        for _ in range(TRIES):
            try:
                reply = await self._decision(sent, again, orphaned, lost)
                decision = replies.acquired(reply, token, is_stream, plan.ids)
            except NotConfigured:
                await self.restore()
                continue
            if isinstance(decision, Rejection) and decision.reason == OVERTAKEN:
                continue  # it had waited for a connection, while others went out on a later one
            if decision.sequence <= self._sequence:
                self._is_told, self._is_doubted = False, True
                self._restore_soon()
            self._sequence = decision.sequence
            if isinstance(decision, Permit):
                self.memory.grant(decision, self._is_shared)
            return decision
        raise NotConfigured("the store does not keep its configuration")

    async def _decision(self, sent: bytes, again: bytes, orphaned: Orphaned, lost: Lost) -> Reply:
        granted = self._batcher.call(sent, again, orphaned, lost, is_urgent=True, has_era=True)
        self._batcher.hurry()
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

    def settle(self, permit: Permit, ending: Ending, is_urgent: bool = False) -> asyncio.Future[Reply]:
        """Ends the permit; nobody has to await the reply (``settlement`` does). Urgent: before the next acquire. When
        it is lost, it is sent again after the next heartbeat that gets through.
        """
        token = permit.token
        self._answered.pop(token, None)
        self.memory.end(token)
        packed = self._settle_call(permit, ending)
        return self._batcher.call(packed, lost=partial(self._owe, token, packed), is_urgent=is_urgent)

    def _settle_call(self, permit: Permit, ending: Ending) -> bytes:
        return self._settle_prefix[permit.deployment_id] + pack(
            permit.token.encode(),
            ending.outcome.encode(),
            b"%d" % permit.generation,
            b"1" if permit.is_probe else b"0",
            b"%d" % ending.latency_ms,
            b"1" if permit.is_stream else b"0",
            b"%d" % ending.output_tokens,
            b"%d" % ending.retry_after_ms,
            b"1" if ending.is_final else b"0",
            b"%d" % self._seed(_SEED_BITS),
        )

    def owe(self, permit: Permit) -> None:
        """The permit has ended elsewhere: here its lease ends when the store is back, and says nothing."""
        self._answered.pop(permit.token, None)
        self._owe(permit.token, self._settle_call(permit, Ending(Outcome.CANCELLED)))

    def _owe(self, token: str, packed: bytes, _was_sent: bool = False) -> None:
        if len(self._owed) < OWED_MOST:
            self._owed[token] = packed

    async def settlement(self, permit: Permit, ending: Ending) -> Settlement:
        return replies.settled(await self.settle(permit, ending))

    def answered(self, permit: Permit) -> None:
        """A stream has got its first byte: the next heartbeat tells, so that it no longer counts as waiting."""
        self.memory.answered(permit.token)
        self._answered[permit.token] = permit.deployment_id

    def _give_back(self, token: str, is_stream: bool, plan: Plan, reply: Reply) -> None:
        """A grant whose request was cancelled while it was on its way ends as cancelled."""
        with contextlib.suppress(NotConfigured):
            decision = replies.acquired(reply, token, is_stream, plan.ids)
            if isinstance(decision, Permit):
                self.settle(decision, Ending(Outcome.CANCELLED))

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
        task = asyncio.ensure_future(self.restore())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def reassert(self, seen: View, now: View, is_own: bool = False) -> asyncio.Future[list[int]]:
        """Tells the live permits, and the breakers as they are ``now``; ``seen`` is what this store was last seen to
        hold. ``is_own``: a store that learns from this replica alone. The calls are queued before this returns.
        """
        keys, calls = self._keys, []
        live: dict[str, list[Live]] = {}
        for each in self.memory.live.values():
            live.setdefault(each.permit.deployment_id, []).append(each)
            each.is_shared = each.is_shared or self._is_shared
        for policy in self.configuration.deployments:
            leases, breaker = live.get(policy.id, []), now.breakers.get(policy.id)
            if not leases and breaker is None:
                continue
            own = (keys.deployment(policy.id), keys.deployment_leases(policy.id))
            names = (keys.domain, keys.leases, keys.events, *own)
            head = self._breaker_arguments(seen, policy.id, breaker, is_own)
            head += _limit_arguments(breaker, is_same_share=is_own or seen is now)
            for k in range(0, len(leases) or 1, REASSERT_CHUNK):
                arguments = head + _lease_arguments(leases[k : k + REASSERT_CHUNK])
                # Ahead of every decision that follows.
                calls.append(self._call("reassert", names, arguments, is_urgent=True, has_era=True))
        return asyncio.ensure_future(self._reasserted(calls))

    async def _reasserted(self, calls: list[asyncio.Future[Reply]]) -> list[int]:
        return [replies.reasserted(reply) for reply in await asyncio.gather(*calls)]

    def _breaker_arguments(self, seen: View, deployment_id: str, now: Breaker | None, is_own: bool) -> list[bytes]:
        before = seen.breakers.get(deployment_id)
        base = before.generation if before else 0
        state, generation, remaining_ms = "closed", base, 0
        if now is not None:
            state, generation = now.state, max(now.generation, base)
            if state in ("open", "half_open"):
                # A probe may go out at once where its time is over, or where probes were under way.
                state, remaining_ms = "open", max(1, round((now.ends_s - time.monotonic()) * 1000))
            elif now.ends_s:
                remaining_ms = max(1, round((now.ends_s - time.monotonic()) * 1000))
        return [
            *(self._epoch, seen.epoch.encode(), b"%d" % base, state.encode(), b"%d" % generation),
            *(b"%d" % remaining_ms, b"%d" % (now.trips if now else 0), (now.reason if now else "").encode()),
            b"%d" % is_own,
        ]

    async def configure(self) -> None:
        """Puts policies into the store unless newer ones are there."""
        keys, configuration = self._keys, self.configuration
        router = msgspec.structs.asdict(configuration.router) | {"version": configuration.version}
        head = [self._epoch, b"%d" % configuration.version, msgspec.json.encode(router)]
        calls = []
        for policy in configuration.deployments:
            arguments = list(head)
            for name, value in msgspec.structs.asdict(policy).items():
                if name != "id":
                    arguments += (name.encode(), b"" if value is None else str(value).encode())
            names = (keys.domain, keys.policy, keys.events, keys.deployment(policy.id))
            calls.append(self._call("configure", names, arguments))
        for reply in await asyncio.gather(*calls):
            replies.configured(reply)

    async def beat(self, presence: Presence) -> Heartbeat:
        """Tells and asks; a store that turns out to have forgotten something is told that as well."""
        keys, policies = self._keys, self.configuration.deployments
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, keys.replicas]
        names.append(keys.replica(self.memory.replica))
        for policy in policies:
            names += (keys.deployment(policy.id), keys.deployment_leases(policy.id))
        positions = {policy.id: b"%d" % (position + 1) for position, policy in enumerate(policies)}
        arguments = [self._epoch, self.memory.replica.encode(), presence.address.encode(), presence.version.encode()]
        arguments += [b"%d" % presence.started_at_ms, presence.status.encode(), b"%d" % DEAD_AFTER_MS]
        arguments += [b"%d" % self._seed(_SEED_BITS), presence.store.encode(), presence.reason[:200].encode()]
        arguments.append(",".join(positions).encode())
        answered, self._answered = self._answered, {}
        for token, deployment_id in answered.items():
            arguments += (positions[deployment_id], token.encode())
        try:
            beat = replies.beaten(await self._call("beat", names, arguments))
        except StateError:
            self._answered = answered | self._answered
            raise
        self._pay()
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
        has_forgotten = not self._is_told
        if has_forgotten or beat.policy_version < self.configuration.version:
            await self.restore()
        fresh = {policies[k].id: breaker for k, breaker in beat.breakers.items()}
        if has_forgotten:
            self.view = View(beat.epoch, _newest(before.breakers, fresh))  # the rest it was told just now
        else:
            self.view = View(beat.epoch, fresh)
            if is_due:
                await self.reassert(self.view, self.view)
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
        keys = self._keys
        names = (keys.domain, keys.leases, keys.replicas, keys.replica(replica))
        own = (keys.deployment(deployment_id), keys.deployment_leases(deployment_id))
        removed = chunks = offset = 0
        deployments = ""
        live = [each.permit.token.encode() for each in self.memory.of(deployment_id)] if own_before_ms else []
        while offset >= 0:
            arguments = [self._epoch, replica.encode(), b"%d" % DEAD_AFTER_MS, b"%d" % offset, b"%d" % REAP_CHUNK]
            arguments += [b"%d" % is_last, b"%d" % own_before_ms, *live]
            count, offset, deployments = replies.reaped(await self._call("reap", (*names, *own), arguments))
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
        keys = self._keys
        names = (keys.domain, keys.events, keys.deployment(deployment_id), keys.deployment_window(deployment_id))
        arguments = [self._epoch, action.encode(), actor.encode(), reason.encode(), b"%d" % ttl_ms]
        return self._call("force", names, arguments, is_urgent=True)

    async def snapshot(self) -> DomainSnapshot:
        keys = self._keys
        ids = [policy.id for policy in self.configuration.deployments]
        chunks = [tuple(ids[k : k + SNAPSHOT_CHUNK]) for k in range(0, len(ids), SNAPSHOT_CHUNK)] or [()]
        calls = []
        for chunk in chunks:
            names = [keys.domain, keys.policy, keys.leases, keys.window, keys.replicas]
            for deployment_id in chunk:
                names += keys.candidate(deployment_id)
            calls.append(self._call("snapshot", names, [b"%d" % DEAD_AFTER_MS]))
        return replies.snapshot(await asyncio.gather(*calls), chunks)

    async def explain(self, plan: Plan, priority: int) -> Explanation:
        names = [self._keys.domain, self._keys.policy, self._keys.leases]
        for deployment_id in plan.ids:
            names += self._keys.candidate(deployment_id)
        arguments = [plan.strategy.encode(), ",".join(map(str, plan.tiers)).encode(), b"%d" % priority]
        arguments.append(b"%d" % self._seed(_SEED_BITS))
        return replies.explained(await self._call("explain", names, arguments), plan.ids)

    def _prefix(self, script: str, argument_count: int, *names: bytes) -> bytes:
        head = (b"EVALSHA", self._scripts[script].sha.encode(), b"%d" % len(names), *names)
        return b"*%d\r\n%b" % (len(head) + argument_count, pack(*head))

    def _call(
        self,
        script: str,
        names: Sequence[bytes],
        arguments: Sequence[bytes],
        is_urgent: bool = False,
        has_era: bool = False,
    ) -> asyncio.Future[Reply]:
        packed = self._prefix(script, len(arguments) + has_era, *names) + pack(*arguments)
        return self._batcher.call(packed, is_urgent=is_urgent, has_era=has_era)
