"""Health checks of one store: which replica may send the next one, and what its answer changes. Lua decides both: of
all the replicas that claim a check within an interval, the first gets it.
"""

from shared_state.calls import replies
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.batcher import Batcher


class Checks:
    """Raises StateError from every call."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls) -> None:
        self._batcher = batcher
        self._calls = calls

    async def claim(self, deployment_id: str, interval_ms: int) -> int | None:
        """Returns the generation of the open breaker that this replica is to check; None where no check is due."""
        reply = await self._batcher.call(self._calls.claim_check(deployment_id, interval_ms))
        is_claimed, generation = replies.checked(reply)
        return generation if is_claimed else None

    async def report(self, deployment_id: str, generation: int, status: int, is_healthy: bool) -> bool:
        """Returns whether this ended the cooldown. ``status``: of HTTP; 0 where no answer came."""
        packed = self._calls.report_check(deployment_id, generation, status, is_healthy)
        return replies.checked(await self._batcher.call(packed))[0]
