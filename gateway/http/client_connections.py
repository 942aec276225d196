"""The open connections of clients: bounds their number and closes an idle one for a new one."""

from collections import Counter
from typing import Protocol

HANDSHAKES_LEAST, HANDSHAKES_MOST = 8, 512

Host = str | None


class Closable(Protocol):
    """A client's connection, as its owner closes it."""

    def end(self) -> None:
        """Closes an idle connection now."""


class ClientConnections:
    """The open connections. ``most``: of all clients; ``most_per_address``: of one client address, None for no bound.
    Beyond a bound the connection that has been idle for longest is closed. If none is idle, the new connection is
    surplus.
    """

    def __init__(self, most: float, most_per_address: int | None = None) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._open: dict[Closable, Host] = {}
        self._idle: dict[Closable, Host] = {}  # longest idle first
        self._per_address: Counter[Host] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def all(self) -> list[Closable]:
        return list(self._open)

    def handshakes_most(self) -> int:
        """Returns how many TLS handshakes may be under way: each may become a connection and takes as many
        open files.
        """
        return int(min(HANDSHAKES_MOST, max(HANDSHAKES_LEAST, self._most / 4, self._most - len(self._open))))

    def opened(self, connection: Closable, host: Host) -> bool:
        """Adds a connection. Returns whether it is surplus, in which case calls on it are refused."""
        self._open[connection] = host
        is_surplus = len(self._open) > self._most and not self._close_one(self._idle)
        if self._most_per_address is not None:
            self._per_address[host] += 1
            if self._per_address[host] > self._most_per_address and not is_surplus:
                is_surplus = not self._close_one([each for each, other in self._idle.items() if other == host])
        return is_surplus

    def _close_one(self, idle: "dict[Closable, Host] | list[Closable]") -> bool:
        connection = next(iter(idle), None)
        if connection is None:
            return False
        self.closed(connection)
        connection.end()
        return True

    def idle(self, connection: Closable) -> None:
        """Notes that the connection waits for a request from now on."""
        host = self._open.get(connection)
        self._idle.pop(connection, None)
        if connection in self._open:
            self._idle[connection] = host

    def busy(self, connection: Closable) -> None:
        self._idle.pop(connection, None)

    def closed(self, connection: Closable) -> None:
        """Removes the connection; a second call has no effect."""
        self._idle.pop(connection, None)
        if connection not in self._open:
            return
        host = self._open.pop(connection)
        if self._most_per_address is not None:
            self._per_address[host] -= 1
            if not self._per_address[host]:
                del self._per_address[host]
