"""Calls that wait for a provider, have sent nothing to their client yet, and have another candidate left.

When the breaker of their deployment opens because such calls are overdue, they move on to another candidate instead of
waiting for a provider that hangs.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator

from gateway.request.interrupt import Interrupt
from gateway.routing.deadline import Limits


class InHand:
    """The waiting calls of this replica, by deployment."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, dict[Interrupt, Limits]] = defaultdict(dict)

    @contextlib.contextmanager
    def held(self, deployment_id: str, interrupt: Interrupt, limits: Limits) -> Iterator[None]:
        """Lets `move_on` interrupt the call within the block, as long as its provider has sent nothing."""
        calls = self._calls[deployment_id]
        calls[interrupt] = limits
        try:
            yield
        finally:
            del calls[interrupt]

    def move_on(self, deployment_id: str) -> None:
        """Moves the deployment's calls on, because its breaker opened as overdue."""
        for interrupt, limits in list(self._calls[deployment_id].items()):
            if not limits.has_received:
                interrupt.move_on()
