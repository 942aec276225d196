"""The timeouts of a connection that waits for its client."""

import asyncio
from collections.abc import Callable

import msgspec

CHECKS = 6  # of progress within ``stall``: the connection ends after that time, and a sixth of it at most


class Timeouts(msgspec.Struct, frozen=True):
    """The timeouts in seconds. Each comment states what must have happened by then."""

    keep_alive: float = (
        75.0  # the next request has begun; longer than load balancers wait, or they write to a closed one
    )
    head: float = 10.0  # the whole head of a request is here, from its first byte
    body: float = 20.0  # ``body_bytes`` more of a body are here, or its end
    body_bytes: int = 10_000
    stall: float = 30.0  # the client has read some of the bytes that were sent
    linger: float = (
        2.0  # a refused client has read the response; until then its bytes are discarded, lest it see a reset
    )


class ClientClock:
    """The timers of one connection: one for bytes that its client has to send, one for bytes that it has to read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._sending: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def await_request(self, over: Callable[[], object]) -> None:
        self._await(self._timeouts.keep_alive, over)

    def await_head(self, begun_s: float, over: Callable[[], object]) -> None:
        """Waits for the whole head. ``begun_s``: when the first byte of the head arrived, by the loop's clock."""
        self._await(begun_s + self._timeouts.head - self._loop.time(), over)

    def await_body(self, size: Callable[[], int | None], over: Callable[[], object]) -> None:
        """Waits for the body at its least rate. ``size`` returns the bytes received so far, None while none are due."""
        before = size()
        if before is not None:
            self._await(self._timeouts.body, lambda: self._check_body(before, size, over))

    def _check_body(self, before: int, size: Callable[[], int | None], over: Callable[[], object]) -> None:
        now = size()
        if now is not None and now - before < self._timeouts.body_bytes:
            over()
        else:
            self.await_body(size, over)

    def linger(self, over: Callable[[], object]) -> None:
        self._await(self._timeouts.linger, over)

    def _await(self, seconds: float, over: Callable[[], object]) -> None:
        self.stop()
        self._sending = self._loop.call_later(seconds, over)

    def stop(self) -> None:
        """Stops waiting for bytes from the client."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def await_taking(self, transport: asyncio.WriteTransport) -> None:
        """Aborts the connection once its client has read nothing for ``stall``."""
        self._watch_taking(transport, transport.get_write_buffer_size(), self._loop.time())

    def _watch_taking(self, transport: asyncio.WriteTransport, size: int, since_s: float) -> None:
        self.taken()
        wait_s = self._timeouts.stall / CHECKS
        self._taking = self._loop.call_later(wait_s, self._check_taking, transport, size, since_s)

    def _check_taking(self, transport: asyncio.WriteTransport, size: int, since_s: float) -> None:
        """Aborts, or waits on. ``size``: bytes that the client had still to read at ``since_s``."""
        if transport.get_write_buffer_size() < size:
            self.await_taking(transport)
        elif self._loop.time() - since_s >= self._timeouts.stall * (1 - 0.5 / CHECKS):
            transport.abort()
        else:
            self._watch_taking(transport, size, since_s)

    def taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
