"""Logs each breaker that has opened or closed since this replica's last heartbeat, whichever store decides.

Heartbeats report every transition to every replica, so each replica logs it once. A breaker that opens and closes
between two heartbeats appears only in the events.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from shared_state.records import Breaker

_log = logging.getLogger("pllm.state")
_WORDS = {"open": "opened", "forced_open": "opened", "disabled": "disabled"}


class _Logged(NamedTuple):
    epoch: str
    generation: int
    state: str


class BreakerLog:
    """Logs transitions of breakers, but no breaker that was open before the first heartbeat. ``on_overdue``: called
    with a deployment whose breaker has opened because calls in flight are overdue.
    """

    def __init__(self) -> None:
        self.on_overdue: Callable[[str], None] = lambda _deployment_id: None
        self._logged: dict[str, _Logged] = {}
        self._has_begun = False

    def see(self, epoch: str, breakers: Mapping[str, Breaker]) -> None:
        """Logs the changes since the previous call. ``breakers``: by deployment, as one store holds them in this epoch.
        Half-open breakers are skipped, because they may open or close.
        """
        for name, breaker in breakers.items():
            if breaker.state == "half_open" or not breaker.generation:
                continue
            now = _Logged(epoch, breaker.generation, breaker.state)
            before = self._logged.get(name, _Logged(epoch, 0, "closed"))
            self._logged[name] = now
            # Another store has generations of its own: only another state counts there.
            has_reopened = before.epoch == epoch and before.generation < now.generation and now.state != "closed"
            if self._has_begun and (before.state != now.state or has_reopened):
                _tell(name, breaker)
                if (breaker.state, breaker.reason) == ("open", "overdue"):
                    self.on_overdue(name)
        self._has_begun = True


def _tell(name: str, breaker: Breaker) -> None:
    if breaker.state == "closed":
        _log.info("breaker closed deployment=%s", name)
        return
    error = f" error={breaker.error}" if breaker.error else ""
    _log.warning("breaker %s deployment=%s reason=%s%s", _WORDS[breaker.state], name, breaker.reason, error)
