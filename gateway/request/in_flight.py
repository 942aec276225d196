"""Counts the requests in flight in this replica. A graceful shutdown waits for them."""

import asyncio


class InFlight:
    """Counts requests from their first byte to their last."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_draining = False

    def begin(self) -> None:
        self._count += 1
        self._idle.clear()

    def end(self) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def drain(self, timeout_s: float) -> bool:
        """Makes the replica unready and waits until no request is in flight. Returns False when the time runs out."""
        self.is_draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
