"""The timeouts of a connection that waits for its client."""

import asyncio
from collections.abc import Callable

import msgspec

from gateway.http.timer_wheel import NEVER, Timed, TimerWheel

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


class ClientClock(Timed):
    """The two deadlines of one connection: for bytes that its client has to send, and for bytes that it has to read."""

    def __init__(self, wheel: TimerWheel, timeouts: Timeouts) -> None:
        super().__init__(wheel)
        self._time = wheel.loop.time
        self._timeouts = timeouts
        self._sending_s = self._taking_s = NEVER
        self._over: Callable[[], object] = _nothing
        self._check_taking: Callable[[], object] = _nothing

    def await_request(self, over: Callable[[], object]) -> None:
        self._await(self._time() + self._timeouts.keep_alive, over)

    def await_head(self, begun_s: float, over: Callable[[], object]) -> None:
        """Waits for the whole head. ``begun_s``: when the first byte of the head arrived, by the loop's clock."""
        self._await(begun_s + self._timeouts.head, over)

    def await_body(self, size: Callable[[], int | None], over: Callable[[], object]) -> None:
        """Waits for the body at its least rate. ``size`` returns the bytes received so far, None while none are due."""
        before = size()
        if before is not None:
            self._await(self._time() + self._timeouts.body, lambda: self._check_body(before, size, over))

    def _check_body(self, before: int, size: Callable[[], int | None], over: Callable[[], object]) -> None:
        now = size()
        if now is not None and now - before < self._timeouts.body_bytes:
            over()
        else:
            self.await_body(size, over)

    def linger(self, over: Callable[[], object]) -> None:
        self._await(self._time() + self._timeouts.linger, over)

    def _await(self, at_s: float, over: Callable[[], object]) -> None:
        self._sending_s, self._over = at_s, over
        if at_s < self.check_s:
            self.watch(at_s)

    def stop(self) -> None:
        """Stops waiting for bytes from the client."""
        self._sending_s = NEVER

    def await_taking(self, transport: asyncio.WriteTransport) -> None:
        """Aborts the connection once its client has read nothing for ``stall``."""
        self._watch_taking(transport, transport.get_write_buffer_size(), self._time())

    def _watch_taking(self, transport: asyncio.WriteTransport, size: int, since_s: float) -> None:
        """Checks after a while. ``size``: bytes that the client had still to read at ``since_s``."""

        def check() -> None:
            if transport.get_write_buffer_size() < size:
                self.await_taking(transport)
            elif self._time() - since_s >= self._timeouts.stall * (1 - 0.5 / CHECKS):
                transport.abort()
            else:
                self._watch_taking(transport, size, since_s)

        self._check_taking = check
        self._taking_s = self._time() + self._timeouts.stall / CHECKS
        self.watch(self._taking_s)

    def taken(self) -> None:
        self._taking_s = NEVER

    def close(self) -> None:
        """Ends all waits."""
        self._sending_s = self._taking_s = NEVER
        self._over = self._check_taking = _nothing  # both refer to the connection
        self.unwatch()

    def due(self, now_s: float) -> float:
        """Acts on the deadlines up to ``now_s``. Returns the next one."""
        if self._sending_s <= now_s:
            self._sending_s = NEVER
            self._over()
        if self._taking_s <= now_s:
            self._taking_s = NEVER
            self._check_taking()
        return min(self._sending_s, self._taking_s)


def _nothing() -> None:
    pass
