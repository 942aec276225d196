"""A store that keeps what it was told: with an append-only file, as `docker-compose.yml` starts it."""

import asyncio
import os
import signal

from shared_state.embedded import EmbeddedStore


class DurableStore(EmbeddedStore):
    def _options(self) -> list[str]:
        return [*super()._options(), "--appendonly", "yes"]

    async def crash(self) -> None:
        """Killed, and started again from its file."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        while self.is_running:
            await asyncio.sleep(0.005)
        await self.revive()
