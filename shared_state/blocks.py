"""Capacity leases: permits in blocks, for a domain whose load exceeds one core of the store. Lua grants each permit
with a lease of its own; here the permits wait, in the order of their grants, for the requests that use them.

At most one block of each deployment waits unused, and no permit waits longer than its hold time. Endings are sent
together.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from shared_state.background import once
from shared_state.calls import replies
from shared_state.connection.call import Reply
from shared_state.errors import StateError
from shared_state.records import Ask, BlockEnding, Ending, Outcome, Permit, Plan, Rejection
from shared_state.store import Store

SETTLE_AFTER_S = 0.05  # endings are sent after this time at the latest: a breaker opens that much later
PAUSE_S = 0.1  # before the next request for a block where there was none
CROWDED_S = 2.0  # after a deployment was found full, the store decides on each of its requests
TURNS = 4  # tries of a request whose blocks other requests use up
LINES_MOST = 1000


class BlockCounts(msgspec.Struct, frozen=True):
    """The permits of one replica that came in blocks."""

    granted: int = 0
    handed_out: int = 0  # to requests
    given_back: int = 0  # unused
    held: int = 0  # waiting now
    late: int = 0  # handed out between the last report of a closed breaker and the report that it had opened

    def and_those(self, other: "BlockCounts") -> "BlockCounts":
        return BlockCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class _Held(NamedTuple):
    permit: Permit
    until_s: float
    shed_reasons: tuple[str, ...]  # as known at its grant


class _Line:
    """Requests that one block may serve: all have the same candidates, priority, kind, tenant and mode (plain or
    stream). It counts them by period, because a block is as large as the demand of one period.
    """

    def __init__(self) -> None:
        self.held: deque[_Held] = deque()
        self.refill: asyncio.Task[None] | None = None
        self.timer: asyncio.Handle | None = None
        self.paused_until_s = 0.0
        self.since_s = 0.0
        self._counts = (0, 0)

    def note(self, now_s: float, period_s: float) -> None:
        age_s = now_s - self.since_s
        if age_s >= period_s:
            self._counts, self.since_s = (self._counts[1] if age_s < 2 * period_s else 0, 0), now_s
        self._counts = (self._counts[0], self._counts[1] + 1)

    @property
    def demand(self) -> int:
        return max(self._counts)

    def is_idle(self, before_s: float) -> bool:
        return not self.held and self.refill is None and self.since_s < before_s


class _Group:
    """Ended calls of one deployment, sent together; ``settled`` resolves when the store has processed them."""

    def __init__(self, timer: asyncio.Handle, settled: asyncio.Future[Reply]) -> None:
        self.calls: list[BlockEnding] = []
        self.timer = timer
        self.settled = settled


class Blocks:
    """Hands out permits of blocks where `capacity_leases` are on: blocks of at most ``size`` permits, each permit held
    for at most ``hold_ms``.
    """

    def __init__(self, store: Store, size: int, hold_ms: int) -> None:
        self._store = store
        self._size = size
        self._hold_ms, self._hold_s = hold_ms, hold_ms / 1000
        self._lines: dict[tuple[bytes, int, bool, str, str], _Line] = {}
        self._groups: dict[str, _Group] = {}
        self._unused: Counter[str] = Counter()  # by deployment, including those under request
        self._crowded: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._since_report: Counter[str] = Counter()  # handed out, by deployment
        self._granted = self._handed_out = self._given_back = self._late = 0

    @property
    def counts(self) -> BlockCounts:
        held = sum(len(line.held) for line in self._lines.values())
        return BlockCounts(self._granted, self._handed_out, self._given_back, held, self._late)

    # -- permits ------------------------------------------------------------------------------------------------

    async def acquire(self, plan: Plan, ask: Ask) -> Permit | Rejection:
        """Takes one decision. The store itself decides on further attempts, on requests that have waited, are traced
        or restricted, and on tenants with limits or budgets, because a block does not know of them. Raises StateError.
        """
        tenant = ask.tenant
        is_limited = (tenant.rpm, tenant.tpm, tenant.max_parallel) != (None, None, None)
        is_restricted = bool(ask.only or ask.owned)
        is_plain = not (ask.waiting or ask.is_traced or is_limited or ask.spending or is_restricted)
        if ask.attempt == 1 and is_plain and not self._is_closed:
            line = self._line(plan, ask)
            for _ in range(TURNS):
                if permit := self._next(line, ask):
                    return permit
                if line.refill is None:
                    count = self._room(plan, line)
                    if count < 2:
                        break
                    line.refill = once("block", self._refill(line, plan, ask, count), expected=StateError)
                await asyncio.shield(line.refill)
        decision = await self._store.acquire(plan, ask)
        if isinstance(decision, Rejection):
            self._refused(plan, decision)
        return decision

    def _line(self, plan: Plan, ask: Ask) -> _Line:
        key, now_s = (plan.prefix, ask.priority, ask.is_stream, ask.tenant.name, ask.kind), time.monotonic()
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= LINES_MOST:
                before_s = now_s - 2 * self._hold_s
                self._lines = {k: each for k, each in self._lines.items() if not each.is_idle(before_s)}
            line = self._lines[key] = _Line()
        line.note(now_s, self._hold_s)
        return line

    def _next(self, line: _Line, ask: Ask) -> Permit | None:
        now_s, stale = time.monotonic(), []
        found = None
        while line.held and found is None:
            held = line.held.popleft()
            if now_s >= held.until_s or self._has_moved(held.permit) or held.shed_reasons != self._store.shed_reasons:
                stale.append(held)
            else:
                found = msgspec.structs.replace(held.permit, ask=ask)
        self._return_unused(stale)
        if found is not None:
            self._unused[found.deployment_id] -= 1
            self._since_report[found.deployment_id] += 1
            self._handed_out += 1
            self._store.memory.grant(found, is_shared=True)
        return found

    def _has_moved(self, permit: Permit) -> bool:
        """Returns whether a heartbeat has reported that the breaker opened. Permits used since the report before it
        count as late.
        """
        breaker = self._store.view.breakers.get(permit.deployment_id)
        if breaker is None or breaker.state == "closed" or breaker.generation <= permit.generation:
            return False
        self._late += self._since_report.pop(permit.deployment_id, 0)
        return True

    def _room(self, plan: Plan, line: _Line) -> int:
        now_s = time.monotonic()
        if now_s < line.paused_until_s or any(now_s < self._crowded.get(name, 0.0) for name in plan.ids):
            return 0
        return min(line.demand, self._size - max(self._unused[name] for name in plan.ids))

    async def _refill(self, line: _Line, plan: Plan, ask: Ask, count: int) -> None:
        requested = dict.fromkeys(plan.ids, count)
        self._unused.update(requested)
        permits: list[Permit] = []
        try:
            permits = await self._store.acquire_block(plan, ask, count, self._hold_ms)
        finally:
            self._unused.subtract(requested)
            self._unused.update(permit.deployment_id for permit in permits)
            line.refill = None
        now_s = time.monotonic()
        self._granted += len(permits)
        for name in {permit.deployment_id for permit in permits}:
            self._since_report.pop(name, None)
        if not permits:
            line.paused_until_s = now_s + PAUSE_S
        until_s, reasons = now_s + self._hold_s, self._store.shed_reasons
        line.held.extend(_Held(permit, until_s, reasons) for permit in permits)
        if line.held and line.timer is None:
            line.timer = self._loop.call_later(self._hold_s, self._expire, line)

    def _expire(self, line: _Line) -> None:
        line.timer = None
        now_s, late = time.monotonic(), []
        while line.held and line.held[0].until_s <= now_s:
            late.append(line.held.popleft())
        if line.held:
            line.timer = self._loop.call_later(line.held[0].until_s - now_s, self._expire, line)
        self._return_unused(late)

    def _refused(self, plan: Plan, rejection: Rejection) -> None:
        """Returns the unused permits of full deployments to the store, because other requests wait for them."""
        verdicts = zip(plan.ids, rejection.verdicts, strict=False)
        full = {name for name, verdict in verdicts if verdict in ("full", "behind")}
        if full:
            self._crowded.update(dict.fromkeys(full, time.monotonic() + CROWDED_S))
            self._drop(lambda permit: permit.deployment_id in full)

    def _drop(self, is_meant: Callable[[Permit], bool]) -> None:
        for line in self._lines.values():
            dropped = [held for held in line.held if is_meant(held.permit)]
            if dropped:
                line.held = deque(held for held in line.held if not is_meant(held.permit))
                self._return_unused(dropped)

    def return_unused(self) -> None:
        """Returns all unused permits and sends all endings, before the replica leaves this store."""
        self._drop(lambda _permit: True)
        for deployment_id in list(self._groups):
            self._send_group(deployment_id)

    def close(self) -> None:
        """Returns the unused permits. From now on the store takes every decision singly."""
        self._is_closed = True
        self.return_unused()

    # -- endings ------------------------------------------------------------------------------------------------

    def settle(self, permit: Permit, ending: Ending, is_urgent: bool = False) -> asyncio.Future[Reply]:
        """Ends a permit as `Store.settle` does. Endings of a block's permits are sent together, or at once where a
        request may be waiting; any other ending is sent after the earlier ones of its deployment.
        """
        name, now_s = permit.deployment_id, time.monotonic()
        is_unsupported = ending.outcome is Outcome.UNSUPPORTED
        if is_unsupported:
            self._drop(lambda held: held.deployment_id == name and held.ask.kind == permit.ask.kind)
        if not permit.is_block or self._is_closed:
            self._send_group(name)
            return self._store.settle(permit, ending, is_urgent)
        live = self._store.memory.live.get(permit.token)
        age_ms = max(0, round((now_s - live.granted_s) * 1000)) if live else 0
        group = self._add(name, [BlockEnding(permit, ending, age_ms)])
        if is_urgent or is_unsupported or now_s < self._crowded.get(name, 0.0) or len(group.calls) >= self._size:
            self._send_group(name)
        return group.settled

    def _return_unused(self, unused: Sequence[_Held]) -> None:
        for deployment_id in {held.permit.deployment_id for held in unused}:
            calls = [BlockEnding(held.permit, None) for held in unused if held.permit.deployment_id == deployment_id]
            self._unused[deployment_id] -= len(calls)
            self._given_back += len(calls)
            self._add(deployment_id, calls)
            self._send_group(deployment_id)

    def _add(self, deployment_id: str, calls: Iterable[BlockEnding]) -> _Group:
        group = self._groups.get(deployment_id)
        if group is None:
            timer = self._loop.call_later(SETTLE_AFTER_S, self._send_group, deployment_id)
            group = self._groups[deployment_id] = _Group(timer, self._loop.create_future())
        group.calls.extend(calls)
        return group

    def _send_group(self, deployment_id: str) -> None:
        """Sends the endings in their order, ahead of every decision that follows."""
        group = self._groups.pop(deployment_id, None)
        if group is not None:
            group.timer.cancel()
            sent = self._store.settle_block(deployment_id, group.calls, is_urgent=not self._is_closed)
            sent.add_done_callback(lambda done: self._pass_on(deployment_id, group.settled, done))

    def _pass_on(self, deployment_id: str, waiting: asyncio.Future[Reply], done: asyncio.Future[Reply]) -> None:
        if done.cancelled() or waiting.done():
            waiting.cancel()
            return
        error = done.exception()
        if error is not None:
            waiting.set_exception(error)
            waiting.exception()  # most settles are not awaited
            return
        settlement = replies.block_settled(done.result())
        since_report = self._since_report.pop(deployment_id, 0) if settlement.is_known else 0
        if settlement.is_known and settlement.state != "closed":
            self._late += since_report
            self._drop(lambda p: p.deployment_id == deployment_id and p.generation < settlement.generation)
        waiting.set_result(done.result())
