"""Shared store ⇄ standby store. What the gateway talks to: the shared store, or, while that cannot be used, an embedded
store of this replica's own that runs the same scripts with this replica's share of every limit.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from shared_state.batcher import Batcher, Reply
from shared_state.client import Client
from shared_state.embedded import EmbeddedStore
from shared_state.errors import StateError
from shared_state.keys import Keys
from shared_state.memory import Memory, View
from shared_state.records import DomainSnapshot, Ending, Explanation, Permit, Rejection
from shared_state.scripts import Script
from shared_state.store import Configuration, Plan, Store

_log = logging.getLogger("pllm.state")

StoreName = Literal["shared", "standby"]
_Answered = TypeVar("_Answered")


def share(configuration: Configuration, replicas: int, version: int) -> Configuration:
    """What one of so many replicas may do when none of them knows of the others. One probe each."""

    def part(limit: int) -> int:
        return max(1, limit // replicas)

    router = configuration.router
    return Configuration(
        version,
        msgspec.structs.replace(router, max_active=part(router.max_active), probes=1, probe_successes=1),
        tuple(
            msgspec.structs.replace(d, limit=part(d.limit), rpm=None if d.rpm is None else part(d.rpm))
            for d in configuration.deployments
        ),
    )


class Standby:
    """An embedded store that is kept ready: empty, and configured for this replica's share."""

    def __init__(
        self, scripts: dict[str, Script], keys: Keys, memory: Memory, configuration: Configuration, deadline_ms: int
    ) -> None:
        self._scripts, self._keys, self._memory = scripts, keys, memory
        self._configuration = configuration
        self._deadline_ms = deadline_ms
        self._replicas = 0
        self._version = 0
        self._embedded = EmbeddedStore()
        self._batcher: Batcher | None = None
        self.store: Store | None = None

    async def prepare(self, replicas: int, is_used: bool = False) -> None:
        """Starts it when it does not run; empties it after use; divides limits anew when their number has changed.
        Raises StateError.
        """
        if not self._embedded.is_running:
            await self.close()
            self._embedded = EmbeddedStore()
            await self._embedded.start()
            self._batcher = Batcher(Client(self._embedded.url), self._scripts.values(), self._deadline_ms)
            is_used, self._replicas = False, 0
        if not is_used and replicas == self._replicas and self.store is not None:
            return
        assert self._batcher is not None
        if is_used:
            await Client(self._embedded.url).execute((b"FLUSHALL",))
        self._replicas, self._version = replicas, self._version + 1
        configuration = share(self._configuration, replicas, self._version)
        store = Store(self._batcher, self._scripts, self._keys, self._memory, configuration, is_shared=False)
        await store.configure()
        self.store = store

    async def close(self) -> None:
        self.store = None
        if self._batcher is not None:
            await self._batcher.close()
            self._batcher = None
        self._embedded.stop()


class Failover:
    """Every decision of one replica, from whichever store is in use. ``lost_s``: when the shared store was left, by the
    monotonic clock; ``switches`` counts by the store gone to and the kind of the error, empty on the way back.
    """

    def __init__(self, shared: Store, standby: Standby | None) -> None:
        self.shared = shared
        self.standby = standby
        self.reason = ""
        self.lost_s = 0.0
        self.switches: Counter[tuple[StoreName, str]] = Counter()
        self.trouble = asyncio.Event()
        self._active = shared
        self._seen = View()  # what the shared store held when it was left

    @property
    def state(self) -> StoreName:
        return "shared" if self._active is self.shared else "standby"

    @property
    def active(self) -> Store:
        return self._active

    def plan(self, candidates: Sequence[tuple[str, int]], strategy: str) -> Plan:
        return self.shared.plan(candidates, strategy)

    async def acquire(self, plan: Plan, priority: int, is_stream: bool, attempt: int = 1) -> Permit | Rejection:
        """Raises StateError only where no standby can help."""
        store = self._active
        try:
            return await store.acquire(plan, priority, is_stream, attempt)
        except StateError as error:
            if store is not self.shared or not self.enter(error):
                raise
        return await self._active.acquire(plan, priority, is_stream, attempt)

    def settle(self, permit: Permit, ending: Ending, is_urgent: bool = False) -> asyncio.Future[Reply]:
        """Where the shared store holds the lease as well, it ends there when the replica is back."""
        active = self._active
        if active is not self.shared:
            live = self.shared.memory.live.get(permit.token)
            if live is not None and live.is_shared:
                self.shared.owe(permit)
        return active.settle(permit, ending, is_urgent)

    def answered(self, permit: Permit) -> None:
        self._active.answered(permit)

    async def snapshot(self) -> DomainSnapshot:
        return await self._ask(lambda store: store.snapshot())

    async def explain(self, plan: Plan, priority: int) -> Explanation:
        return await self._ask(lambda store: store.explain(plan, priority))

    async def force(self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int = 0) -> bool:
        return await self._ask(lambda store: store.force(deployment_id, action, actor, reason, ttl_ms))

    async def _ask(self, question: Callable[[Store], Awaitable[_Answered]]) -> _Answered:
        store = self._active
        try:
            return await question(store)
        except StateError as error:
            if store is not self.shared or not self.enter(error):
                raise
        return await question(self._active)

    # -- to and fro -------------------------------------------------------------------------------------------

    def enter(self, error: StateError) -> bool:
        """To the standby store, unless the replica is there already. False when there is none to go to."""
        if self._active is not self.shared:
            return True
        self.trouble.set()
        if self.standby is None or self.standby.store is None:
            return False
        self._seen = self.shared.view
        self._stand(self.standby.store)
        self.reason, self.lost_s = str(error), time.monotonic()
        self.switches["standby", error.kind] += 1
        _log.warning("the shared store cannot be used (%s): on the standby store", error)
        return True

    def _stand(self, store: Store) -> None:
        self._active = store
        store.reassert(View(), self._seen, is_own=True).add_done_callback(_log_failure)

    async def renew(self, replicas: int) -> None:
        """A new standby store in the place of one that has died. Raises StateError."""
        assert self.standby is not None
        await self.standby.prepare(replicas)
        if self._active is not self.shared and self.standby.store is not None:
            self._stand(self.standby.store)

    def leave(self) -> None:
        """Back, telling the shared store what happened meanwhile before anything else is asked of it."""
        self.tell()
        self._active = self.shared
        self.trouble.clear()
        self.switches["shared", ""] += 1
        _log.warning("back on the shared store after %.1f s", time.monotonic() - self.lost_s)

    def tell(self) -> asyncio.Future[list[int]]:
        """The shared store gets the live permits and the breakers that opened on the standby store."""
        told = self.shared.reassert(self._seen, self._active.view)
        told.add_done_callback(_log_failure)
        return told


def _log_failure(told: asyncio.Future[list[int]]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        if told.exception() is not None:
            _log.debug("re-assert failed: %s", told.exception())
