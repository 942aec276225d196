"""Requests in flight in this replica, and whether it is draining: what a graceful end waits for."""

import asyncio


class Flight:
    """Counts requests from their first byte to their last."""

    def __init__(self) -> None:
        self._count = 0
        self._landed = asyncio.Event()
        self._landed.set()
        self.is_draining = False

    def begin(self) -> None:
        self._count += 1
        self._landed.clear()

    def end(self) -> None:
        self._count -= 1
        if not self._count:
            self._landed.set()

    async def drain(self, timeout_s: float) -> bool:
        """From now on not ready; waits until nothing is in flight. False when the time was not enough."""
        self.is_draining = True
        try:
            await asyncio.wait_for(self._landed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
