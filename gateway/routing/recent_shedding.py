"""The latest rejection for load shedding. A second acquire in the same moment would get the same rejection, and a
request that is shed has to cost next to nothing. A saturated replica sheds without calling the store, except critical
requests.
"""

from collections.abc import Callable

from gateway.errors import RETRY_AFTER_MS
from shared_state.records import Rejection

REMEMBERED_S = 0.02
# Reasons that hold for all requests of a priority and below; other reasons reject requests at random.
_STANDING = frozenset({"active_requests", "critical_reserve", "priority", "healthy_ratio"})
_SATURATED = Rejection("shed", "event_loop", RETRY_AFTER_MS, 0, ())


class RecentShedding:
    """Remembers the latest rejection. ``is_saturated`` returns whether this replica's event loop is overloaded."""

    def __init__(self, is_saturated: Callable[[], bool] = lambda: False) -> None:
        self._is_saturated = is_saturated
        self._rejection: Rejection | None = None
        self._priority = 0
        self._until = 0.0

    def note(self, rejection: Rejection, priority: int, now: float) -> None:
        """Remembers a rejection. ``now``: when the reply arrived; counted from when the call was sent, the reply of a
        slow store would expire before it is here.
        """
        if rejection.code == "shed" and rejection.reason in _STANDING:
            self._rejection, self._priority, self._until = rejection, priority, now + REMEMBERED_S

    def is_shedding(self, now: float) -> bool:
        """Returns whether requests of some priority are shed now."""
        return now < self._until or self._is_saturated()

    def rejection(self, priority: int, now: float) -> Rejection | None:
        """Returns the rejection that a request of this priority would get; None when that is not known."""
        if shed := self.saturated(priority):
            return shed
        return self._rejection if now < self._until and priority >= self._priority else None

    def saturated(self, priority: int) -> Rejection | None:
        """Returns the rejection of a saturated replica, even where requests could queue: its loop is what they lack."""
        return _SATURATED if priority > 0 and self._is_saturated() else None
