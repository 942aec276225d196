"""Calls in hand: sent to a provider, with nothing for their client yet, and with another candidate left.

When the breaker of their deployment opens because such calls are overdue, they move on instead of waiting for a
provider that hangs.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator

from gateway.request.interrupt import Interrupt
from gateway.routing.deadline import Limits


class InHand:
    """Those of this replica, by deployment."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, dict[Interrupt, Limits]] = defaultdict(dict)

    @contextlib.contextmanager
    def held(self, deployment_id: str, interrupt: Interrupt, limits: Limits) -> Iterator[None]:
        """The call may be moved on within the block, while its provider has sent nothing."""
        calls = self._calls[deployment_id]
        calls[interrupt] = limits
        try:
            yield
        finally:
            del calls[interrupt]

    def move_on(self, deployment_id: str) -> None:
        """The deployment's breaker opened as overdue."""
        for interrupt, limits in list(self._calls[deployment_id].items()):
            if not limits.has_heard:
                interrupt.move_on()
