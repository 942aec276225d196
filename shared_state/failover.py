"""Switches between the shared store and the standby store. The gateway uses the shared store; while that is unusable it
uses an embedded store of this replica, which runs the same scripts with this replica's share of every limit.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from shared_state import background
from shared_state.blocks import BlockCounts, Blocks
from shared_state.calls.decision_calls import budgets_of
from shared_state.calls.owned import Kept
from shared_state.calls.script_calls import Detail
from shared_state.connection.call import Reply
from shared_state.errors import StateError, StoreTimeout, StoreUnavailable
from shared_state.memory import View
from shared_state.money import Budget
from shared_state.policies import Configuration, TenantLimits
from shared_state.records import Ask, Ending, Outcome, Permit, Plan, Rejection
from shared_state.snapshots import DomainSnapshot, Explanation
from shared_state.standby import Standby
from shared_state.store import Store
from shared_state.usage import Usage

RESCUE_S = 2.0  # wait of a call for a new standby store when both stores are lost
STORES_MOST = 3  # tries of one call: the shared store, the standby store and its replacement

_log = logging.getLogger("pllm.state")

StoreName = Literal["shared", "standby"]
_Answered = TypeVar("_Answered")


class Failover:
    """The decisions of one replica, taken by the store in use. ``lost_s``: when the shared store was left, by the
    monotonic clock; ``is_hidden``: because of a fault that a heartbeat may not meet; ``is_slow``: because of missed
    deadlines; ``switches``: counts by the store switched to and the kind of error, which is empty on the way back.
    """

    def __init__(self, shared: Store, standby: Standby | None, blocks: Blocks | None = None) -> None:
        self.shared = shared
        self.blocks = blocks
        self.standby = standby
        self.reason = ""
        self.is_hidden = self.is_slow = False
        self.lost_s = 0.0
        self.switches: Counter[tuple[StoreName, str]] = Counter()
        self.trouble = asyncio.Event()
        self.distress = asyncio.Event()  # the standby store does not answer
        self._is_changed = asyncio.Event()  # the store in use, or its condition; replaced each time
        self._forced: dict[str, tuple[str, str, str, int, float]] = {}
        self._active = shared
        self._seen = View()  # what the shared store held when it was left

    @property
    def state(self) -> StoreName:
        return "shared" if self._active is self.shared else "standby"

    @property
    def usage(self) -> Usage:
        """The usage of tenants, which the shared store of the home domain keeps."""
        return self.shared.usage

    @property
    def active(self) -> Store:
        return self._active

    @property
    def parts(self) -> "Mapping[str, Failover]":
        """One Failover per routing domain, the home domain first."""
        return {self.shared.keys.name: self}

    @property
    def worst(self) -> "Failover":
        """The first part that is on its standby store; the home domain if none is."""
        return next((each for each in self.parts.values() if each.state == "standby"), self)

    def state_of(self, _deployment_id: str) -> StoreName:
        """Returns which store decides on the deployment now."""
        return self.state

    def plan(self, candidates: Sequence[tuple[str, int]], strategy: str, has_more: bool = False) -> Plan:
        """Packs a plan. ``has_more``: further candidates follow in another domain, so that this one grants no last
        resort.
        """
        return self.shared.plan(candidates, strategy, has_more)

    async def acquire(self, plan: Plan, ask: Ask) -> Permit | Rejection:
        """Takes one decision. Raises StateError only where no standby store can take over."""
        return await self._call(lambda store: self._source(store).acquire(plan, ask))

    def _source(self, store: Store) -> Store | Blocks:
        """Returns the source of that store's permits: its blocks, or the store itself."""
        return self.blocks if self.blocks is not None and store is self.shared else store

    @property
    def block_counts(self) -> BlockCounts | None:
        """The counts of permits in blocks; None where permits are requested one by one."""
        return self.blocks.counts if self.blocks is not None else None

    def stop(self) -> None:
        """Returns the unused permits. From now on none waits here."""
        if self.blocks is not None:
            self.blocks.close()

    async def _may_continue(self, store: Store, error: StateError) -> bool:
        """Waits until another store can take the call, or the shared one has recovered; False when neither happens."""
        if store is self.shared and self._active is self.shared:
            if self.enter(error):
                return True
            if self.standby is None:
                return False
        elif store is self._active:
            self.distress.set()
        else:
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_changed.wait(), RESCUE_S)
            return True
        return False

    def settle(self, permit: Permit, ending: Ending, is_urgent: bool = False) -> asyncio.Future[Reply]:
        """Ends a permit. Where the other store holds the lease as well, it ends there too: on the shared store when the
        replica returns to it, on a standby store at once, because that may be needed again.
        """
        active = self._active
        if active is self.shared:
            if self.standby is not None and self.standby.is_used and self.standby.store is not None:
                self.standby.store.settle(permit, Ending(Outcome.CANCELLED, cost=0))
            if self.blocks is not None:
                return self.blocks.settle(permit, ending, is_urgent)
        elif self._is_shared(permit):
            self.shared.owe(permit, ending)
            ending = msgspec.structs.replace(ending, cost=0)  # not part of this store's share of the budget
        elif permit.reserved:
            cost = permit.reserved if ending.cost < 0 else ending.cost
            self.shared.memory.ledger.owed.update(dict.fromkeys(budgets_of(permit), cost))
        return active.settle(permit, ending, is_urgent)

    def watch(self, budget: Budget | None, tenants: Sequence[TenantLimits]) -> None:
        """Sets the budgets and limits that are read with each heartbeat."""
        self.shared.memory.ledger.watch(budget, tenants)

    async def report_round_trips(self, measured: Mapping[str, float]) -> None:
        """Reports round trips from this replica's region, in ms by deployment. Raises StateError."""
        await self._active.report_round_trips(measured)

    def on_overdue(self, on_overdue: Callable[[str], None]) -> None:
        """Sets the function called with each deployment whose breaker opened because calls in flight are overdue."""
        self.shared.memory.breaker_log.on_overdue = on_overdue

    def judge_content(self, permit: Permit, latency_ms: int) -> None:
        """Has the store in use judge a streamed probe whose first content has arrived."""
        self._active.judge_content(permit, latency_ms).add_done_callback(_log_failure)

    def remember(self, deployment_id: str, owned: Sequence[str], kept: Kept) -> list[asyncio.Future[Reply]]:
        """Remembers in every domain, because a fallback chain may lead through several: the deployment holds what these
        digests stand for. A standby store forgets it when it is released. No failure of the futures is reported.
        """
        sent = [part.active.remember(deployment_id, owned, kept) for part in self.parts.values()]
        for each in sent:
            each.add_done_callback(_log_failure)
        return sent

    def answered(self, permit: Permit) -> None:
        self._active.answered(permit)
        if self._active is not self.shared and self._is_shared(permit):
            self.shared.answered(permit)

    def _is_shared(self, permit: Permit) -> bool:
        live = self.shared.memory.live.get(permit.token)
        return live is not None and live.is_shared

    async def snapshot(self, detail: Detail = 0, ids: Sequence[str] | None = None) -> DomainSnapshot:
        return await self._call(lambda store: store.views.snapshot(detail, ids))

    async def explain(self, plan: Plan, ask: Ask) -> Explanation:
        return await self._call(lambda store: store.explain(plan, ask))

    async def force(self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int = 0) -> bool:
        """Moves a breaker by hand. A change on the standby store reaches the shared one when the replica returns."""
        done = await self._call(lambda store: store.force(deployment_id, action, actor, reason, ttl_ms))
        if done and self._active is not self.shared:
            self._forced[deployment_id] = (action, actor, reason, ttl_ms, time.monotonic())
        return done

    async def _call(self, call: Callable[[Store], Awaitable[_Answered]]) -> _Answered:
        for _ in range(STORES_MOST - 1):
            store = self._active
            try:
                return await call(store)
            except StateError as error:
                if not await self._may_continue(store, error):
                    raise
        return await call(self._active)

    async def adopt(self, configuration: Configuration) -> None:
        """Adopts a configuration. A standby store in use keeps its configuration until it is released. Raises
        StateError.
        """
        await self.shared.policies.adopt(configuration)
        if self.standby is not None:
            with contextlib.suppress(StateError):
                await self.standby.adopt(configuration)

    # -- to and fro -------------------------------------------------------------------------------------------

    def enter(self, error: StateError) -> bool:
        """Switches to the standby store, unless it is in use already. Returns False when there is none."""
        if self._active is not self.shared:
            return True
        self.trouble.set()
        if self.standby is None or self.standby.store is None:
            return False
        self._seen = self.shared.view
        if self.blocks is not None:
            self.blocks.return_unused()
        self.standby.take()
        self._stand(self.standby.store, self._seen)
        self.reason, self.lost_s = str(error), time.monotonic()
        self.is_hidden, self.is_slow = not isinstance(error, StoreUnavailable), isinstance(error, StoreTimeout)
        self.switches["standby", error.kind] += 1
        _log.warning("the shared store cannot be used (%s): now on the standby store", error)
        return True

    def _stand(self, store: Store, seen: View) -> None:
        self._active = store
        store.recovery.reassert(View(), seen, is_own=True).add_done_callback(_log_failure)
        self._changed()

    def recovered(self) -> None:
        """Continues waiting calls on the shared store, which turned out not to be lost."""
        if self.trouble.is_set():
            self.trouble.clear()
            self._changed()

    def _changed(self) -> None:
        self._is_changed.set()
        self._is_changed = asyncio.Event()

    async def prepare(self, replicas: int) -> None:
        """Keeps the standby store ready. Replaces a standby store that has died in use; the new one gets the state that
        the old one was last seen to hold. Raises StateError.
        """
        if self.standby is None:
            return
        await self.standby.prepare(replicas)
        fresh = self.standby.store
        if fresh is not None and self._active not in (self.shared, fresh):
            self._stand(fresh, View("", {**self._seen.breakers, **self._active.view.breakers}))
            _log.warning("on a new standby store: the previous one did not answer")

    def leave(self) -> None:
        """Returns to the shared store, which gets all changes made meanwhile before any other call."""
        assert self.standby is not None
        self.send_changes()
        for deployment_id, (action, actor, reason, ttl_ms, at_s) in self._forced.items():
            left_ms = ttl_ms and ttl_ms - round((time.monotonic() - at_s) * 1000)
            if left_ms >= 0:
                sent = self.shared.send_force(deployment_id, action, actor, reason, left_ms)
                sent.add_done_callback(_log_failure)
        self._forced.clear()
        self.shared.accounting.settle_up()
        self._active = self.shared
        self.standby.release()
        self._changed()
        self.trouble.clear()
        self.switches["shared", ""] += 1
        _log.warning("back on the shared store after %.1f s", time.monotonic() - self.lost_s)

    def send_changes(self) -> asyncio.Future[list[int]]:
        """Sends the shared store the live permits and the breakers that opened on the standby store."""
        sent = self.shared.recovery.reassert(self._seen, self._active.view)
        sent.add_done_callback(_log_failure)
        return sent


def _log_failure(sent: asyncio.Future[Any]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        error = sent.exception()
        if isinstance(error, StateError):
            _log.debug("re-assert failed: %s", error)
        elif error is not None:
            background.report("re-assert", error)
