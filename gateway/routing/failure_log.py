"""Logs one warning when a deployment's attempts begin to fail for another reason; never one for each request, not even
when the provider gives each failure a reason of its own.
"""

import logging
import time
from collections.abc import Callable

from shared_state.records import Outcome

_log = logging.getLogger("pllm.attempts")

AGAIN_S = 60.0  # before a reason that alternates with others is logged again
MINUTE_S = 60.0
LINES_MOST = 6  # of one deployment in a minute, and one more that reports the limit
REASONS_MOST = 32  # of one deployment, that are remembered
_LOGGED = frozenset({Outcome.FAILURE, Outcome.TIMEOUT, Outcome.THROTTLED, Outcome.OVERLOADED, Outcome.UNSUPPORTED})


class FailureLog:
    """Remembers the reasons that were logged. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: dict[str, str] = {}
        self._logged_s: dict[str, dict[str, float]] = {}
        self._lines: dict[str, tuple[float, int]] = {}  # when its minute began, and the lines in it

    def note(self, deployment_id: str, outcome: Outcome, reason: str) -> None:
        """Notes the end of an attempt. Two reasons are equal when they agree up to their first colon: the rest differs
        from call to call.
        """
        if outcome is Outcome.SUCCESS:
            # After a success the same reason is logged again.
            self._latest.pop(deployment_id, None)
            return
        if outcome not in _LOGGED:
            return
        kind = f"{outcome.value} {reason.partition(':')[0]}"
        if self._latest.get(deployment_id) == kind:
            return
        logged_s, now = self._logged_s.setdefault(deployment_id, {}), self._clock()
        if now - logged_s.get(kind, -AGAIN_S) < AGAIN_S:
            self._latest[deployment_id] = kind
            return
        if not self._has_room(deployment_id, now):
            return  # the reason is logged in the next minute
        self._latest[deployment_id] = kind
        if len(logged_s) >= REASONS_MOST:
            logged_s.clear()
        logged_s[kind] = now
        _log.warning("deployment %s: %s: %s", deployment_id, outcome.value, reason or "no reason given")

    def _has_room(self, deployment_id: str, now: float) -> bool:
        began, lines = self._lines.get(deployment_id, (now, 0))
        if now - began >= MINUTE_S:
            began, lines = now, 0
        if lines == LINES_MOST:
            _log.warning("deployment %s: further failures are not logged for the rest of the minute", deployment_id)
        self._lines[deployment_id] = began, min(lines, LINES_MOST) + 1
        return lines < LINES_MOST
