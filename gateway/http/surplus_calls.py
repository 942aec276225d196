"""Counts and logs the calls that this process refused because their connection is beyond `server.max_connections` or
`server.max_connections_per_address`.
"""

import logging
import time
from collections.abc import Callable

LOG_EVERY_S = 1.0  # a flood of connections must not become a flood of lines

_log = logging.getLogger("pllm.connections")


class SurplusCalls:
    """The counter of refused calls. ``count``: since the process started."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._logged_s = float("-inf")
        self._unlogged = 0
        self.count = 0

    def note(self) -> None:
        """Counts a refused call and logs the number since the last line, at most once a second."""
        self.count += 1
        self._unlogged += 1
        now = self._now()
        if now - self._logged_s < LOG_EVERY_S:
            return
        _log.warning("calls refused on connections beyond server.max_connections (or per address): %d", self._unlogged)
        self._logged_s, self._unlogged = now, 0


surplus_calls = SurplusCalls()
