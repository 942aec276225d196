"""Brings one store back in line with this replica: writes the state that the store has lost, and removes leases that
ended while the store could not be reached.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from shared_state.accounting import Accounting
from shared_state.background import once
from shared_state.calls import replies
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Reply
from shared_state.errors import NotConfigured, StateError
from shared_state.memory import Live, Memory, View
from shared_state.records import Breaker, Heartbeat
from shared_state.stored_policies import StoredPolicies

REASSERT_CHUNK = 200  # leases per call: about 1 ms of the store's time
TRIES = 4  # on a store that is flushed again and again
RECONCILE_EVERY_S = 5.0  # after any fault, the leases in the store are those of this replica again within this time


def _newest(before: dict[str, Breaker], fresh: dict[str, Breaker]) -> dict[str, Breaker]:
    """Returns the later generation of each breaker."""
    later = {name: b for name, b in fresh.items() if name not in before or b.generation >= before[name].generation}
    return {**before, **later}


class Recovery:
    """The recovery of one store. Every awaited call may raise StateError."""

    def __init__(
        self,
        batcher: Batcher,
        calls: ScriptCalls,
        memory: Memory,
        policies: StoredPolicies,
        accounting: Accounting,
        is_shared: bool,
    ) -> None:
        self._batcher = batcher
        self._calls = calls
        self._memory = memory
        self._policies = policies
        self._accounting = accounting
        self._is_shared = is_shared
        self._sequence = 0
        self._era = 0
        self._is_informed = False  # the store has our configuration and what this replica knows
        # Ended leases may be active there: the store has lost its last seconds, or is another one now.
        self._is_suspect = False
        self._reconciled_s = time.monotonic()
        self._restoring: asyncio.Future[None] | None = None
        self.epoch_changes = 0  # times that the store had lost its state
        self.view = View()  # the breakers that the store was last seen to have
        self.before_restore: Callable[[], Awaitable[None]] | None = None  # adopts the configuration in force

    def follow(self, sequence: int) -> None:
        """Notes the sequence number of a decision. A number that is not above the last one shows that the store has
        lost decisions.
        """
        if sequence <= self._sequence:
            self._is_informed, self._is_suspect = False, True
            once("restore", self.restore(), expected=StateError)
        self._sequence = sequence

    async def restore(self) -> None:
        """Writes the configuration and what this replica knows. Concurrent callers share one run."""
        if self._restoring is None:
            self._restoring = asyncio.ensure_future(self._restore())
            self._restoring.add_done_callback(self._restored)
        await asyncio.shield(self._restoring)

    async def _restore(self) -> None:
        self._is_informed = True
        try:
            for tries_left in reversed(range(TRIES)):
                if self._is_shared:
                    await self._accounting.restore()  # before the configuration, without which nothing is granted
                if self.before_restore is not None:
                    await self.before_restore()
                try:
                    # In one pipeline: other replicas must not find a breaker closed that this one knows to be open.
                    await asyncio.gather(self._policies.write(), self.reassert(self.view, self.view))
                    break
                except NotConfigured:  # flushed in between
                    if not tries_left:
                        raise
        except BaseException:
            self._is_informed = False
            raise

    def _restored(self, done: asyncio.Future[None]) -> None:
        self._restoring = None
        if not done.cancelled():
            done.exception()

    def reassert(self, seen: View, now: View, is_own: bool = False) -> asyncio.Future[list[int]]:
        """Sends the live permits, and the breakers as they are ``now``. ``seen``: the breakers that this store was last
        seen to have; ``is_own``: only this replica uses the store. Queues the calls before it returns, ahead of every
        later decision. The future resolves to the number of leases that the store did not know, per call.
        """
        calls = []
        live: dict[str, list[Live]] = {}
        for each in self._memory.live.values():
            live.setdefault(each.permit.deployment_id, []).append(each)
            each.is_shared = each.is_shared or self._is_shared
        for policy in self._policies.configuration.deployments:
            leases, breaker = live.get(policy.id, []), now.breakers.get(policy.id)
            if not leases and breaker is None:
                continue
            for k in range(0, len(leases) or 1, REASSERT_CHUNK):
                chunk, is_same = leases[k : k + REASSERT_CHUNK], is_own or seen is now
                repack = partial(self._packed, policy.id, chunk, seen, breaker, is_own, is_same)
                calls.append(self._batcher.call(repack(), is_urgent=True, has_era=True, repack=repack))
        if self._is_shared:
            self._accounting.reserve(self._memory.live.values())
        return asyncio.ensure_future(self._reasserted(calls))

    def _packed(
        self, deployment_id: str, leases: list[Live], seen: View, breaker: Breaker | None, is_own: bool, is_same: bool
    ) -> bytes:
        """Leaves out the leases that have ended since the call was queued: their settles may have overtaken it."""
        live = self._memory.only_live(leases)
        return self._calls.reassert(deployment_id, live, seen, breaker, is_own, is_same)

    async def _reasserted(self, calls: list[asyncio.Future[Reply]]) -> list[int]:
        return [replies.reasserted(reply) for reply in await asyncio.gather(*calls)]

    async def follow_beat(self, beat: Heartbeat, ids: Sequence[str]) -> None:
        """Compares the store with this replica after a heartbeat, and repairs the differences. ``ids``: the deployments
        of the heartbeat, in its order.
        """
        before = self.view
        if beat.sequence <= self._sequence or self._era not in (0, self._batcher.era):
            self._is_informed, self._is_suspect = False, True
        self._sequence, self._era = beat.sequence, self._batcher.era
        is_due = self._is_suspect or time.monotonic() - self._reconciled_s > RECONCILE_EVERY_S
        if is_due:
            if before.epoch:
                await self._reap_all(self._memory.replica, beat.now_ms)
            self._is_suspect, self._reconciled_s = False, time.monotonic()
        if before.epoch and (beat.epoch != before.epoch or not beat.is_known):
            self._is_informed = False
            self.epoch_changes += beat.epoch != before.epoch
        has_lost_state = not self._is_informed
        if has_lost_state or (self._policies.configuration.version and not self._policies.are_held):
            await self.restore()
        fresh = {ids[k]: breaker for k, breaker in beat.breakers.items()}
        self._memory.breaker_log.see(beat.epoch, fresh)
        if has_lost_state:
            self.view = View(beat.epoch, _newest(before.breakers, fresh))  # it has just been sent the rest
        else:
            self.view = View(beat.epoch, fresh)
            if is_due:  # leases only: the store has just sent its breakers
                await self.reassert(nothing := View(), nothing)

    async def reap(self, dead: str) -> int:
        """Removes the leases of a dead replica, in bounded chunks; returns their number."""
        return await self._reap_all(dead)

    async def _reap_all(self, replica: str, own_before_ms: int = 0) -> int:
        """Reaps on our deployments and on others that the dead replica had. The last call removes the replica itself.
        ``own_before_ms``: the replica is this one, and only its ended leases from before that time are removed.
        """
        removed, ids, position = 0, [policy.id for policy in self._policies.configuration.deployments], 0
        while position < len(ids):
            count, chunks, deployments = await self._reap(replica, ids[position], False, own_before_ms)
            removed += count
            if not own_before_ms:
                ids += [each for each in deployments.split(",") if each and each not in ids]
            # Calls that end between two chunks shift the list under the cursor: a long list is read again.
            if chunks == 1 or not count:
                position += 1
        if ids and not own_before_ms:
            removed += (await self._reap(replica, ids[-1], True, 0))[0]
        return removed

    async def _reap(self, replica: str, deployment_id: str, is_last: bool, own_before_ms: int) -> tuple[int, int, str]:
        """Reads the leases of one deployment once. Returns the number removed, the number of chunks, and the ids of the
        replica's deployments, separated by commas.
        """
        removed = chunks = offset = 0
        deployments = ""
        live = self._memory.of(deployment_id) if own_before_ms else []
        while offset >= 0:
            packed = self._calls.reap(replica, deployment_id, offset, is_last, own_before_ms, live)
            count, offset, deployments = replies.reaped(await self._batcher.call(packed))
            removed, chunks = removed + count, chunks + 1
        return removed, chunks, deployments
