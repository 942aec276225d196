"""Counts wrong keys by the network that they come from. Twenty a minute get the usual error, further ones a 429 at
once: no connection is held open, and the table is bounded. A valid key is never counted and never refused, whatever
other clients behind the same address send; the 16 characters of a key make guessing hopeless.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.request.client_address import network_of

BURST, PER_S = 20, 60.0
KNOWN_MOST = 10_000  # networks that this replica remembers; the least recent one is forgotten first


class WrongKeys:
    """GCRA: for each network the time at which its next wrong key would be due at an even pace."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._due_s: OrderedDict[str, float] = OrderedDict()

    def note(self, address: str) -> int:
        """Counts a wrong key. Returns 0 where it gets the usual error, else the milliseconds until the next one
        would.
        """
        network, now = network_of(address), self._now()
        due_s = max(self._due_s.pop(network, now), now) + PER_S / BURST
        wait_s = due_s - now - PER_S
        self._due_s[network] = due_s if wait_s <= 0 else due_s - PER_S / BURST
        if len(self._due_s) > KNOWN_MOST:
            self._due_s.popitem(last=False)
        return max(0, round(wait_s * 1000))
