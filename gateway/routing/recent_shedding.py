"""What acquire has just said of load shedding: asked again in the same moment it would say the same, and a request that
is shed has to cost next to nothing. A replica that is itself saturated sheds without asking, except critical requests.
"""

from collections.abc import Callable

from shared_state.records import Rejection

REMEMBERED_S = 0.02
# Those that hold for everybody of a priority and below; the rest is drawn by lot.
_STANDING = frozenset({"active_requests", "critical_reserve", "priority", "healthy_ratio"})


_SATURATED = Rejection("shed", "event_loop", 1000, 0, ())


class ShedMemory:
    """``is_saturated``: is this replica's event loop?"""

    def __init__(self, is_saturated: Callable[[], bool] = lambda: False) -> None:
        self._is_saturated = is_saturated
        self._rejection: Rejection | None = None
        self._priority = 0
        self._until = 0.0

    def note(self, rejection: Rejection, priority: int, now: float) -> None:
        """``now``: when it was heard. From when it was asked for, a slow store's would be over before it is known."""
        if rejection.code == "shed" and rejection.reason in _STANDING:
            self._rejection, self._priority, self._until = rejection, priority, now + REMEMBERED_S

    def is_shedding(self, now: float) -> bool:
        """Is it known of any priority?"""
        return now < self._until or self._is_saturated()

    def told(self, priority: int, now: float) -> Rejection | None:
        """The rejection that a request of this priority would get, if that is known."""
        if shed := self.saturated(priority):
            return shed
        return self._rejection if now < self._until and priority >= self._priority else None

    def saturated(self, priority: int) -> Rejection | None:
        """The rejection of a saturated replica, also where requests could queue: they would wait for the loop."""
        return _SATURATED if priority > 0 and self._is_saturated() else None
