"""Connects to a provider: races its addresses (RFC 8305, "happy eyeballs"), passes a proxy, and begins TLS.

uvloop tries addresses one after the other, so the race is run here, on sockets.
"""

import asyncio
import functools
import itertools
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import TypeVar

from gateway.upstream.http.addresses import Address, Addresses
from gateway.upstream.http.faults import AddressesFailed, ConnectTimeout, HttpFault, NotConnected, ProxyRefused
from gateway.upstream.http.proxies import Proxy
from gateway.upstream.http.request import Origin

STAGGER_S = 0.25  # after which the next address is tried as well; the RFC's recommendation
_PROXY_HEAD_MOST = 65_536  # bytes of a proxy's answer
_HEAD_END = b"\r\n\r\n"

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


@functools.cache
def system_tls() -> ssl.SSLContext:
    """Returns the context of TLS to providers: the system's certificates, and the name checked. Loading takes tens of
    milliseconds.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Makes connections."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._addresses = Addresses()

    async def connect(self, origin: Origin, proxy: Proxy | None, protocol: _P, most_s: float) -> _P:
        """Connects the protocol within ``most_s``, the lookup, the proxy's answer and TLS included. Raises
        NotConnected.
        """
        try:
            async with asyncio.timeout(most_s):
                return await self._connect(origin, proxy, protocol)
        except HttpFault:
            raise
        except TimeoutError as fault:
            raise ConnectTimeout from fault
        except OSError as fault:
            raise NotConnected from fault

    async def close(self) -> None:
        await self._addresses.close()

    async def _connect(self, origin: Origin, proxy: Proxy | None, protocol: _P) -> _P:
        first = origin if proxy is None else proxy.origin
        connected = await self._socket(first.host, first.port)
        try:
            if proxy is not None and origin.is_tls:
                await self._through(connected, proxy, origin)
            tls, name = (self._tls or system_tls(), origin.host.rstrip(".")) if origin.is_tls else (None, None)
            await self._loop.create_connection(lambda: protocol, sock=connected, ssl=tls, server_hostname=name)
        except BaseException:
            connected.close()
            raise
        return protocol

    async def _socket(self, host: str, port: int) -> socket.socket:
        addresses = interleaved(await self._addresses.of(host, port))
        try:
            return await self._race(addresses)
        except OSError:
            self._addresses.forget(host, port)
            raise

    async def _race(self, addresses: Sequence[Address]) -> socket.socket:
        """Returns the first socket that connects. Tries the next address when one fails, or takes too long."""
        if len(addresses) == 1:
            return await self._attempt(addresses[0])
        waiting, faults = list(addresses), list[OSError]()
        running = set[asyncio.Task[socket.socket]]()
        attempts = set[asyncio.Task[socket.socket]]()
        winner: asyncio.Task[socket.socket] | None = None
        try:
            while waiting or running:
                if waiting:
                    attempt = self._loop.create_task(self._attempt(waiting.pop(0)))
                    running.add(attempt)
                    attempts.add(attempt)
                limit_s = STAGGER_S if waiting else None
                done, running = await asyncio.wait(running, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
                for attempt in done:
                    fault = attempt.exception()
                    if fault is None:
                        winner = attempt
                        return attempt.result()
                    if not isinstance(fault, OSError):
                        raise fault
                    faults.append(fault)
            raise _joined(faults)
        finally:
            await _end(attempts - {winner} if winner else attempts)

    async def _attempt(self, address: Address) -> socket.socket:
        family, place = address
        attempted = socket.socket(family, socket.SOCK_STREAM)
        try:
            attempted.setblocking(False)
            attempted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(attempted, place)
        except BaseException:
            attempted.close()
            raise
        return attempted

    async def _through(self, connected: socket.socket, proxy: Proxy, origin: Origin) -> None:
        """Makes the proxy connect to the provider. Raises ProxyRefused."""
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        authority = f"{host}:{origin.port}".encode()
        head = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (authority, authority, proxy.authorization)
        await self._loop.sock_sendall(connected, head)
        answer = b""
        while _HEAD_END not in answer:
            part = await self._loop.sock_recv(connected, 4096)
            answer += part
            if not part or len(answer) > _PROXY_HEAD_MOST:
                raise ProxyRefused(_status(answer))
        status = _status(answer)
        # Bytes after the head cannot be the provider's: a TLS client speaks first.
        if not 200 <= status < 300 or not answer.endswith(_HEAD_END):
            raise ProxyRefused(status)


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Returns the addresses with families in turn, the first one's first."""
    first = addresses[0][0]
    ours = [address for address in addresses if address[0] == first]
    others = [address for address in addresses if address[0] != first]
    pairs = itertools.zip_longest(ours, others)
    return [address for pair in pairs for address in pair if address is not None]


def _status(answer: bytes) -> int:
    words = answer.split(b"\r\n", 1)[0].split(b" ", 2)
    is_http = len(words) > 1 and words[0] in (b"HTTP/1.0", b"HTTP/1.1") and len(words[1]) == 3 and words[1].isdigit()
    return int(words[1]) if is_http else 0


def _joined(faults: Sequence[OSError]) -> OSError:
    """Returns one error for several."""
    if len({(type(fault), fault.errno) for fault in faults}) == 1:
        return faults[0]
    return AddressesFailed(faults)


async def _end(attempts: Iterable["asyncio.Task[socket.socket]"]) -> None:
    """Cancels attempts, and closes the sockets of those that have connected meanwhile."""
    attempts = [*attempts]
    for attempt in attempts:
        attempt.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()
