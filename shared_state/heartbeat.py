"""This replica's heartbeat: reports that the replica is alive, reaps the leases of dead replicas, and returns to the
shared store once that is usable again.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

from shared_state.background import Kept, once
from shared_state.errors import StateError, StoreTimeout, StoreUnavailable, StoreUnfit
from shared_state.failover import Failover
from shared_state.records import Heartbeat
from shared_state.snapshots import Presence

BEAT_EVERY_S = 1.0
RETRY_FIRST_S, RETRY_MOST_S = 0.25, 5.0
GOOD_BEATS = 3  # in a row, before a store that was lost is trusted again
# One that is lost again within this time needs twice as many: by a fault that beats do not meet, or by slowness,
# which beats need not meet where the decisions of busy seconds do.
STABLE_S, STABLE_SLOW_S, GOOD_BEATS_MOST = 60.0, 15.0, 48
REMEMBERED_BEATS = 30
GOODBYE_S = 0.5

_log = logging.getLogger("pllm.replicas")


class Replica:
    """The heartbeat, from ``start`` to ``stop``. ``is_draining``: shown to the other replicas; ``revive``: restarts a
    store that belongs to this process; ``check``: runs once, before anything is written.
    """

    def __init__(
        self,
        failover: Failover,
        address: str,
        version: str,
        is_draining: Callable[[], bool] = lambda: False,
        revive: Callable[[], Awaitable[None]] | None = None,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._failover = failover
        self._presence = partial(Presence, address, version, int(time.time() * 1000))
        self._is_draining = is_draining
        self._revive = revive
        self._check = check
        self._kept: Kept | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._alive = deque([1], maxlen=REMEMBERED_BEATS)
        self._prepare_at_s = 0.0
        self._returned_at_s = -math.inf
        self._wanted = GOOD_BEATS
        self._is_lost = False
        self._is_unfit = False
        self._good = 0
        self._retry_s = RETRY_FIRST_S
        self._try_at_s = 0.0
        self._jitter = random.Random().uniform

    async def start(self) -> None:
        """Starts the heartbeat. Raises StateError, unless a standby store can replace an unreachable shared store. A
        standby store that is not ready is tried again at each heartbeat.
        """
        await self._prepare()
        try:
            await self._check_once()
            await self._failover.shared.recovery.restore()
            await self._beat()
        except StoreUnavailable as error:
            if not self._failover.enter(error):
                raise
        self._kept = Kept("heartbeat", self._run)

    async def _check_once(self) -> None:
        if self._check is not None:
            await self._check()
            self._check = None

    async def stop(self) -> None:
        """Stops the heartbeat and reports the end, so that no replica waits for the next one. With live permits it
        reports nothing: the other replicas reap the leases of a replica that falls silent.
        """
        if self._kept is not None:
            await self._kept.stop()
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)
        self._failover.stop()
        is_started = self._kept is not None
        if is_started and self._failover.state == "shared" and not self._failover.shared.memory.live:
            with contextlib.suppress(StateError, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._failover.shared.beat(self._presence("gone"))

    async def _run(self) -> None:
        beat_at_s = time.monotonic() + BEAT_EVERY_S
        while True:
            await self._wait(beat_at_s)
            is_due = time.monotonic() >= beat_at_s
            if is_due:
                beat_at_s = time.monotonic() + BEAT_EVERY_S
            try:
                if self._failover.state == "standby":
                    await self._stand_in(is_due)
                else:
                    await self._beat()
                    self._recovered()
            except StateError as error:
                await self._lost(error)

    async def _wait(self, beat_at_s: float) -> None:
        """Waits for the next heartbeat, the next try, or a fault that a request has met."""
        on_standby = self._failover.state == "standby"
        until_s = min(beat_at_s, self._try_at_s) if on_standby else beat_at_s
        timeout_s = max(0.0, until_s - time.monotonic())
        if self._is_lost or (on_standby and time.monotonic() < self._prepare_at_s):
            await asyncio.sleep(timeout_s)
            return
        event = self._failover.distress if on_standby else self._failover.trouble
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)

    def _status(self) -> Literal["0", "1"]:
        return "1" if self._is_draining() else "0"

    async def _beat(self) -> None:
        beat = await self._failover.shared.beat(self._presence(self._status()))
        self._alive.append(max(1, beat.replicas_alive))
        await self._reap(beat)
        if self._preparing is None or self._preparing.done():
            # In its own task: starting a process takes seconds on a busy machine, and the others would take this
            # replica for dead.
            self._preparing = once("standby store", self._prepare())

    async def _prepare(self) -> None:
        """Prepares the standby store. Limits are divided among the most replicas that were alive within the last half
        minute, because a replica that is cut off as well is not seen now.
        """
        try:
            await self._failover.prepare(max(self._alive))
            self._prepare_at_s = 0.0
        except StateError as error:
            if not self._prepare_at_s:
                _log.warning("the standby store is not ready: %s", error)
            self._prepare_at_s = time.monotonic() + BEAT_EVERY_S

    async def _reap(self, beat: Heartbeat) -> None:
        for dead in beat.dead_replicas:
            removed = await self._failover.shared.recovery.reap(dead)
            _log.warning("replica %s is dead: %d of its leases reaped", dead, removed)

    async def _lost(self, error: StateError) -> None:
        if self._failover.enter(error):
            return
        await self._prepare()
        if self._failover.enter(error):
            return
        if not self._is_lost:
            self._is_lost = True
            _log.warning("the shared store cannot be used: %s", error)
        if self._revive is not None:
            with contextlib.suppress(StateError):
                await self._revive()

    def _recovered(self) -> None:
        self._failover.recovered()
        if self._is_lost:
            self._is_lost = False
            _log.warning("the shared store can be used again")

    # -- on the standby store ---------------------------------------------------------------------------------

    async def _stand_in(self, is_due: bool) -> None:
        failover = self._failover
        if not self._try_at_s:
            self._back_off()
            self._wanted = min(2 * self._wanted, GOOD_BEATS_MOST) if self._is_flapping() else GOOD_BEATS
        if failover.distress.is_set():
            await self._replace_standby()
        if is_due:
            await self._beat_standby()
        if time.monotonic() < self._try_at_s:
            return
        is_reported = failover.shared.reported_store == "standby"
        presence = self._presence(self._status(), "standby", "" if is_reported else failover.reason)
        try:
            await self._check_once()
            beat = await failover.shared.beat(presence)
            if failover.shared.is_slow:
                raise StoreTimeout("the store answers, but not within the deadline")
            await failover.send_changes()
            await self._reap(beat)
        except StateError as error:
            self._unfit(error)
            self._back_off()
            return
        self._is_unfit = False
        self._good += 1
        self._try_at_s = time.monotonic() + BEAT_EVERY_S * self._jitter(0.75, 1.25)
        if self._good >= self._wanted:
            await self._return()

    def _is_flapping(self) -> bool:
        failover = self._failover
        stable_s = STABLE_S if failover.is_hidden else STABLE_SLOW_S if failover.is_slow else 0.0
        return failover.lost_s - self._returned_at_s < stable_s

    def _unfit(self, error: StateError) -> None:
        """Logs once that the store answers but needs an operator."""
        if isinstance(error, StoreUnfit) and not self._is_unfit:
            self._is_unfit = True
            _log.error("the shared store is back, but cannot be used: %s", error)

    def _back_off(self) -> None:
        self._good = 0
        self._try_at_s = time.monotonic() + self._retry_s * self._jitter(0.5, 1.0)
        self._retry_s = min(RETRY_MOST_S, 2 * self._retry_s)

    async def _beat_standby(self) -> None:
        """Beats on the standby store, because some judgements depend on time alone. Replaces a standby store that has
        died.
        """
        try:
            await self._failover.active.beat(self._presence(self._status(), "standby"))
        except StateError as error:
            if not self._prepare_at_s:
                _log.warning("the standby store does not answer: %s", error)
            await self._replace_standby()

    async def _replace_standby(self) -> None:
        if self._failover.standby is not None:
            self._failover.standby.condemn()
        await self._prepare()
        self._failover.distress.clear()  # whatever call or beat found it lost

    async def _return(self) -> None:
        await self._beat_standby()
        self._failover.leave()
        self._good, self._retry_s, self._try_at_s = 0, RETRY_FIRST_S, 0.0
        self._returned_at_s = time.monotonic()
        await self._beat()
        await self._failover.shared.recovery.restore()  # the permits that the standby store granted during the return
