"""Addresses of names. One lookup at a time runs for each name, and its result serves for a few seconds: a burst of new
connections costs one lookup.
"""

import asyncio
import socket
from collections.abc import Sequence

KEPT_S = 10.0

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class Addresses:
    """The addresses looked up so far."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._found: dict[tuple[str, int], tuple[float, Sequence[Address]]] = {}
        self._lookups: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    async def of(self, host: str, port: int) -> Sequence[Address]:
        """Returns at least one address. Raises OSError, socket.gaierror among it."""
        literal = _literal(host, port)
        if literal:
            return literal
        key = (host, port)
        until_s, addresses = self._found.get(key, (0.0, ()))
        if self._loop.time() < until_s:
            return addresses
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = self._loop.create_task(self._look_up(host, port))
            lookup.add_done_callback(lambda done: self._looked_up(key, done))
        return await asyncio.shield(lookup)  # whose other callers a cancelled one must not disturb

    def forget(self, host: str, port: int) -> None:
        """Forgets addresses that could not be connected to."""
        self._found.pop((host, port), None)

    async def close(self) -> None:
        lookups = [*self._lookups.values()]
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    async def _look_up(self, host: str, port: int) -> Sequence[Address]:
        flags = socket.AI_ADDRCONFIG
        try:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        except UnicodeError as error:  # a label that is empty or too long
            raise socket.gaierror(socket.EAI_NONAME, "not a name") from error
        addresses = [(family, address) for family, _, _, _, address in infos]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return addresses

    def _looked_up(self, key: tuple[str, int], lookup: "asyncio.Task[Sequence[Address]]") -> None:
        del self._lookups[key]
        if not lookup.cancelled() and lookup.exception() is None:
            self._found[key] = (self._loop.time() + KEPT_S, lookup.result())


def _literal(host: str, port: int) -> Sequence[Address]:
    """Returns the address that the host is already, in a list; empty for a name."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ()
    return [(family, address) for family, _, _, _, address in infos]
