"""The forecast of arrivals and latencies: its ticks and its reads. Lua learns and decides; the first replica that ticks
in a minute does that minute's work.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from shared_state.calls import view_replies
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Reply
from shared_state.errors import ScriptFailed, StateError
from shared_state.policies import Configuration
from shared_state.snapshots import DomainSnapshot

CHUNK = 20  # deployments per call: about 2 ms of the store's time, once a minute
MINUTE_MS = 60_000

_log = logging.getLogger("pllm.forecast")


class Forecasts:
    """The forecasts of one store. Sends nothing where the configuration has no forecast."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls, configuration: Callable[[], Configuration]) -> None:
        self._batcher = batcher
        self._calls = calls
        self._configuration = configuration
        self._minute = 0
        self._is_failing = False

    @property
    def is_on(self) -> bool:
        return self._configuration().router.forecast_ahead_ms is not None

    async def tick(self, now_ms: int) -> None:
        """Ticks once a minute; called with each heartbeat. ``now_ms``: the domain's time. A failure is logged once and
        tried again with the next heartbeat, because no request depends on it.
        """
        minute = now_ms // MINUTE_MS
        if not self.is_on or minute == self._minute:
            return
        try:
            for chunk in self._chunks([policy.id for policy in self._configuration().deployments]):
                await self._batcher.call(self._calls.forecast(chunk))
        except StateError as error:
            if not self._is_failing:
                _log.warning("no forecast: %s", error)
            self._is_failing = True
            return
        self._minute, self._is_failing = minute, False

    async def foreseen(self, snapshot: DomainSnapshot) -> DomainSnapshot:
        """Adds the forecasts to a snapshot; leaves them out when their keys were overwritten, which `tick` logs. Raises
        StateError.
        """
        if not self.is_on:
            return snapshot
        chunks = self._chunks([each.id for each in snapshot.deployments])
        try:
            found = await asyncio.gather(*(self._batcher.call(self._calls.foreseen(chunk)) for chunk in chunks))
        except ScriptFailed:
            return snapshot
        forecasts = [view_replies.forecast(cast(Reply, row)) for reply in found for row in reply]
        pairs = zip(snapshot.deployments, forecasts, strict=True)
        deployments = tuple(msgspec.structs.replace(each, forecast=forecast) for each, forecast in pairs)
        return msgspec.structs.replace(snapshot, deployments=deployments)

    def _chunks(self, ids: Sequence[str]) -> list[Sequence[str]]:
        return [ids[k : k + CHUNK] for k in range(0, len(ids), CHUNK)]
