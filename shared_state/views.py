"""Reads of one domain for people and metrics. No decision depends on them."""

import asyncio
from collections.abc import Sequence

from shared_state.calls import view_replies
from shared_state.calls.script_calls import Detail, ScriptCalls
from shared_state.connection.batcher import Batcher
from shared_state.snapshots import DomainSnapshot, Event, ReplicaSnapshot, UsageRow
from shared_state.stored_policies import StoredPolicies

SNAPSHOT_CHUNK = 50  # deployments per call: about 1 ms of the store's time


class Views:
    """The readers of one domain. Every call may raise StateError."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls, policies: StoredPolicies) -> None:
        self._batcher = batcher
        self._calls = calls
        self._policies = policies

    async def snapshot(self, detail: Detail = 0, ids: Sequence[str] | None = None) -> DomainSnapshot:
        """Returns the state of all deployments, or of the given ones."""
        configuration = self._policies.configuration
        if ids is None:
            ids = [policy.id for policy in configuration.deployments]
        chunks = [tuple(ids[k : k + SNAPSHOT_CHUNK]) for k in range(0, len(ids), SNAPSHOT_CHUNK)] or [()]
        calls = [self._batcher.call(self._calls.snapshot(chunk, detail, configuration.region)) for chunk in chunks]
        return view_replies.snapshot(await asyncio.gather(*calls), chunks)

    async def events_before(self, event_id: str, most: int) -> list[Event]:
        """Returns the events before ``event_id``, or the latest ones if it is empty, newest first."""
        return view_replies.events(await self._batcher.call(self._calls.events("newest", event_id, most)))

    async def events_after(self, event_id: str, most: int) -> list[Event]:
        """Returns the events after ``event_id``, oldest first."""
        return view_replies.events(await self._batcher.call(self._calls.events("after", event_id, most)))

    async def usage(self, day: str) -> dict[tuple[str, str], UsageRow]:
        """Returns what tenants used on a day, by tenant and model."""
        return view_replies.usage(await self._batcher.call(self._calls.usage(day)))

    async def roster(self) -> list[ReplicaSnapshot]:
        """Returns the replicas by id."""
        return view_replies.roster(await self._batcher.call(self._calls.roster()))
