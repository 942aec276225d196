"""Health checks of one store: which replica sends the next one, and what the response changes. Lua decides both: the
first replica that claims a check within an interval gets it.
"""

from shared_state.calls import replies
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.batcher import Batcher


class Checks:
    """The health checks of one store. Every call may raise StateError."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls) -> None:
        self._batcher = batcher
        self._calls = calls

    async def claim(self, deployment_id: str, interval_ms: int) -> int | None:
        """Returns the generation of the open breaker that this replica has to check; None when no check is due."""
        reply = await self._batcher.call(self._calls.claim_check(deployment_id, interval_ms))
        is_claimed, generation = replies.checked(reply)
        return generation if is_claimed else None

    async def report(self, deployment_id: str, generation: int, status: int, is_healthy: bool) -> bool:
        """Reports a check. Returns whether it ended the cooldown. ``status``: the HTTP status, 0 without a response."""
        packed = self._calls.report_check(deployment_id, generation, status, is_healthy)
        return replies.checked(await self._batcher.call(packed))[0]
