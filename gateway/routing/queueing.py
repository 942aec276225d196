"""Requests that wait on this replica because every usable deployment of their model is full, though healthy.

The turn goes to the highest priority; within it to the tenant that was served least for its weight (start-time fair
queueing, Goyal 1996); within a tenant to the oldest request, or under overload to the newest, which still has time.
Overload is measured by waiting times (CoDel after Nichols and Jacobson, in the form for servers that folly uses): when
the oldest request had waited for longer than ``target`` throughout an interval, requests that wait for more than twice
as long are dropped.

One waiting request at a time calls the store, after a permit was freed anywhere in the cluster: the store decides, not
this module.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator

from gateway.configuration.router import QueueSettings
from gateway.errors import RETRY_AFTER_MS, Overloaded, QueueFull
from gateway.request.auth import Tenant
from shared_state.histogram import Histogram

POLL_S = 0.25  # between two attempts while no message about a freed permit arrives
INTERVAL_S = 1.0  # overload: throughout it, the oldest request had waited for too long
SMOOTHING = 0.2  # of the time between two grants
WAIT_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Waiter:
    """One waiting request. ``turn`` returns when it may call the store; ``refused`` returns it to its place."""

    def __init__(self, queue: "Queue", tenant: Tenant, priority: int, since: float, until: float, number: int) -> None:
        self.queue = queue
        self.tenant = tenant
        self.priority = priority
        self.since = since
        self.until = until
        self.number = number
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.expiry: asyncio.TimerHandle | None = None

    async def turn(self) -> None:
        """Waits for the turn. Raises Overloaded when that takes too long."""
        await self.called

    def refused(self, is_behind: bool = False) -> None:
        """Returns to the queue. ``is_behind``: the free permit is for a tenant with a smaller share."""
        self.called = asyncio.get_running_loop().create_future()
        self.queue.refused(self, is_behind)

    def close(self) -> None:
        if self.expiry is not None:
            self.expiry.cancel()
        if not self.called.cancel() and not self.called.cancelled():
            self.called.exception()  # it may have been dropped in the moment when its client left


class Queue:
    """The waiting requests of one model on one replica, bounded by ``max_waiting``; with 0 no request may wait."""

    def __init__(self, settings: QueueSettings, time: Callable[[], float]) -> None:
        self.settings = settings
        self._time = time
        self._numbers = itertools.count()
        self._levels: dict[int, dict[str, deque[Waiter]]] = {}
        self._served: dict[tuple[int, str], float] = {}  # start tags: requests served, divided by the tenant's weight
        self._current: Waiter | None = None  # whose turn it is
        self._is_woken = False
        self._passed: set[tuple[int, str]] = set()  # tenants that the store passed over this time
        self._poll: asyncio.TimerHandle | None = None
        self._least_s = 0.0
        self._interval_ends = 0.0
        self._last_grant = 0.0
        self._between_s = 0.0
        self.is_overloaded = False
        self.waiting = 0
        self.granted_count = self.dropped = self.refused_count = 0
        self.waits = Histogram(WAIT_S)

    def __bool__(self) -> bool:
        return self.waiting > 0

    # -- in and out -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def enter(self, tenant: Tenant, priority: int, until: float) -> Iterator[Waiter]:
        """Holds a place until the block is left. Raises QueueFull, also when waiting would be in vain."""
        now = self._time()
        expected_s = (self._ahead(tenant, priority) + 1) * self._between_s
        allowed_s = min(self.settings.max_wait_ms / 1000, until - now)
        if expected_s > allowed_s:
            raise self._full(expected_s)
        if self.waiting >= self.settings.max_waiting and not self._make_room(tenant, priority):
            raise self._full(expected_s)
        self._judge(now)
        waiter = Waiter(self, tenant, priority, now, now + allowed_s, next(self._numbers))
        waiter.expiry = asyncio.get_running_loop().call_later(allowed_s, self._drop, waiter)
        self.waiting += 1
        self._put(waiter, is_new=True)
        self._watch()
        try:
            yield waiter
        finally:
            waiter.close()
            self.waiting -= 1
            self._take(waiter)
            if self._current is waiter:
                self._current = None
                self.wake()

    def standing(self, waiter: Waiter) -> int:
        """Returns 2 when more requests of the waiter's tenant wait after it, else 1, as acquire expects."""
        return 2 if self._levels.get(waiter.priority, {}).get(waiter.tenant.name) else 1

    def granted(self, waiter: Waiter) -> None:
        """Notes that the waiter got its permit, which counts for its tenant's share."""
        self.granted_count += 1
        now = self._time()
        self.waits.observe(now - waiter.since)
        self._judge(now)
        if waiter.priority in self._levels:
            key = (waiter.priority, waiter.tenant.name)
            self._served[key] = self._served.get(key, 0.0) + 1 / waiter.tenant.weight
        if self._last_grant:
            between_s = min(now - self._last_grant, now - waiter.since)
            self._between_s += SMOOTHING * (between_s - self._between_s)
        self._last_grant = now

    def refused(self, waiter: Waiter, is_behind: bool) -> None:
        """Returns the waiter to its place, and gives the turn to the next one."""
        self._current = None
        # The next tenant may try, so that the store learns of all tenants that wait; unless a permit was freed
        # meanwhile, which is for the first waiter again.
        if not self._is_woken and (is_behind or not self._passed):
            self._passed.add((waiter.priority, waiter.tenant.name))
            self._is_woken = True
        if self._time() < waiter.until:
            self._put(waiter)
        else:
            self._drop(waiter)
        self._advance()

    def wake(self) -> None:
        """Gives the turn to a waiter, because a permit was freed."""
        self._is_woken = True
        self._passed.clear()
        self._advance()

    # -- whose turn it is -----------------------------------------------------------------------------------

    def _advance(self) -> None:
        if self._current is not None or not self._is_woken:
            return
        self._is_woken = False
        self._drop_late()
        waiter = self._next()
        while waiter is not None and waiter.called.done():  # its client has left in this moment
            self._take(waiter)
            waiter = self._next()
        if waiter is not None:
            self._take(waiter)
            self._current = waiter
            waiter.called.set_result(None)

    def _next(self) -> Waiter | None:
        for level, tenants in sorted(self._levels.items()):
            names = [name for name in tenants if (level, name) not in self._passed]
            if names:
                turns = [(self._served[level, name], tenants[name][0].number, name) for name in names]
                return tenants[min(turns)[2]][-1 if self.is_overloaded else 0]
        return None

    def _put(self, waiter: Waiter, is_new: bool = False) -> None:
        """Puts a waiter into its place by age. A newly arriving tenant starts level with the others: a share that it
        left unused is lost.
        """
        level, name = self._levels.setdefault(waiter.priority, {}), waiter.tenant.name
        key = (waiter.priority, name)
        if name not in level:
            is_back = not is_new or self._is_current(key)
            floor = 0.0 if is_back else min((self._served[waiter.priority, other] for other in level), default=0.0)
            self._served[key] = max(self._served.get(key, 0.0), floor)
            level[name] = deque()
        line = level[name]
        position = len(line)
        while position and line[position - 1].number > waiter.number:
            position -= 1
        line.insert(position, waiter)

    def _is_current(self, key: tuple[int, str]) -> bool:
        return self._current is not None and key == (self._current.priority, self._current.tenant.name)

    def _take(self, waiter: Waiter) -> None:
        level, name = self._levels.get(waiter.priority, {}), waiter.tenant.name
        line = level.get(name)
        if line is None or waiter not in line:
            return
        line.remove(waiter)
        if not line:
            del level[name]
        if not level:
            del self._levels[waiter.priority]
            self._served = {key: tag for key, tag in self._served.items() if key[0] != waiter.priority}

    # -- who has waited for too long --------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(POLL_S, self._poll_now)

    def _poll_now(self) -> None:
        self._poll = None
        self._judge(self._time())
        if self.waiting or self.is_overloaded:
            self._watch()
        if self.waiting:
            self.wake()

    def _judge(self, now: float) -> None:
        """Updates ``is_overloaded`` by the oldest request: under overload the newest is served first, and its short
        wait would hide the overload.
        """
        oldest_s = now - min((line[0].since for line in self._lines()), default=now)
        self._least_s = min(self._least_s, oldest_s)
        if now >= self._interval_ends:
            self.is_overloaded = self._least_s > self.settings.target_ms / 1000
            self._least_s, self._interval_ends = oldest_s, now + INTERVAL_S

    def _lines(self) -> list[deque[Waiter]]:
        return [line for tenants in self._levels.values() for line in tenants.values()]

    def _drop_late(self) -> None:
        if not self.is_overloaded:
            return
        before = self._time() - 2 * self.settings.target_ms / 1000
        for line in self._lines():
            while line and line[0].since < before:
                self._drop(line[0])

    def _drop(self, waiter: Waiter) -> None:
        self._take(waiter)
        if not waiter.called.done():
            self.dropped += 1
            waited_s = self._time() - waiter.since
            message = f"Every usable deployment of this model is full: waited for {waited_s:.1f} s in vain."
            waiter.called.set_exception(Overloaded(message, "waited", retry_after_ms=self._retry_after_ms(0)))

    def _make_room(self, tenant: Tenant, priority: int) -> bool:
        """Drops the newest request of the lowest priority for one of a higher priority; within a priority, the newest
        request of the tenant with the longest line for its weight, for a tenant whose line would still be shorter.
        Returns whether there is room now.
        """
        lowest = max(self._levels, default=-1)
        if lowest < priority:
            return False
        lines = self._levels[lowest]
        longest = max(lines.values(), key=_share)
        if lowest == priority:
            mine = len(lines.get(tenant.name, ()))
            if (mine + 1) / tenant.weight >= _share(longest):
                return False
        self._drop(longest[-1])
        return True

    def _ahead(self, tenant: Tenant, priority: int) -> float:
        """Returns how many requests will be served before a request that arrives now: those of higher priorities, those
        of its own tenant, and those of other tenants whose fair turn comes before.
        """
        higher = sum(len(line) for level, lines in self._levels.items() if level < priority for line in lines.values())
        lines = self._levels.get(priority, {})
        own = len(lines.get(tenant.name, ()))
        others = (line for name, line in lines.items() if name != tenant.name)
        turns = sum(min(len(line), (own + 1) * line[0].tenant.weight / tenant.weight) for line in others)
        return higher + own + turns

    def _full(self, expected_s: float) -> QueueFull:
        self.refused_count += 1
        return QueueFull("The queue of this model is full.", retry_after_ms=self._retry_after_ms(expected_s))

    def _retry_after_ms(self, expected_s: float) -> int:
        return max(RETRY_AFTER_MS, round(1000 * max(expected_s, self.waiting * self._between_s)))


def _share(line: deque[Waiter]) -> float:
    return len(line) / line[0].tenant.weight
