"""The times between the chunks of one stream, on the way through the endpoint and on the short way past it."""

import time
from collections.abc import Callable

from starlette.types import Scope

from gateway.http.asgi_cycle import PASS_ON
from gateway.upstream.shortcut import Outlet
from shared_state.histogram import Histogram


class ChunkClock:
    """Observes the time between chunks. ``ping``: sent to a client that gets nothing for ``ping_s`` although its
    provider sends bytes; empty if the client's dialect has the provider's own signs.
    """

    def __init__(self, gaps: Histogram, ping: bytes, ping_s: float) -> None:
        self._gaps = gaps
        self._ping = ping
        self._ping_s = ping_s
        self._before = 0.0
        self._sent = time.perf_counter()
        self._is_full = False

    def passed(self, chunk: bytes) -> bytes:
        """Notes a chunk. Returns the bytes for the client: these, or a ping where it has waited for too long."""
        if self._is_full:  # the outlet has noted the chunk before, and the client's lack of room is no chunk
            self._is_full = False
            return chunk
        now, before = time.perf_counter(), self._before
        if before:
            self._gaps.observe(now - before)
        self._before = now
        # Half of the interval, or a provider's signs just before it would double the client's silence.
        if not chunk and now - self._sent >= self._ping_s / 2:
            chunk = self._ping  # the model thinks, and the client's dialect has no event for that
        if chunk:
            self._sent = now
        return chunk

    def outlet(self, scope: Scope) -> Outlet | None:
        """Returns the short way to this client; None where its connection has none."""
        write: Callable[[bytes], bool] | None = scope.get("extensions", {}).get(PASS_ON)
        if write is None:
            return None

        def outlet(chunk: bytes) -> bool:
            has_room = write(self.passed(chunk))
            self._is_full = not has_room
            return has_room

        return outlet
