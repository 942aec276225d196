"""Accepts TLS connections on one socket and makes their handshakes, because `loop.create_server` keeps the certificate
that it began with and reports neither a failed handshake nor a client that speaks plain HTTP.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial

from gateway.http.http_text import refusal
from gateway.http.tls_counts import counts
from gateway.tls.alerts import alert_of
from gateway.tls.identity import Tls
from shared_state.background import Kept

HANDSHAKE_S = 10.0
SHUTDOWN_S = 2.0  # for a client to close its side
ACCEPT_PAUSE_S = 0.1  # while no file descriptor is free
LOG_EVERY_S = 1.0
HTTPS_PLEASE = refusal(400, b"This port speaks TLS. Use an https:// address.")
_HANDSHAKE_RECORD = b"\x16"
_READ_MOST = 65_536
_OWN_FAULTS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Takes the ALPN protocol that was agreed upon, if any. Returns the protocol of the connection.
Accepted = Callable[[str | None], asyncio.Protocol]

_log = logging.getLogger("pllm.tls")


class _NotTls(Exception):
    """The client does not speak TLS."""


class _Handover(asyncio.Protocol):
    """Replaces itself by the protocol that was agreed upon in the handshake."""

    def __init__(self, accepted: Accepted) -> None:
        self._accepted = accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._accepted(transport.get_extra_info("ssl_object").selected_alpn_protocol())
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class TlsListener:
    """Listens from ``start`` to ``close``. ``accepted`` makes the protocol of a connection after its handshake.
    ``handshakes_most`` returns how many handshakes may be under way; beyond, the oldest is cancelled.
    """

    def __init__(
        self,
        sock: socket.socket,
        backlog: int,
        tls: Tls,
        accepted: Accepted,
        handshakes_most: Callable[[], int],
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        self._socket = sock
        self._handshake_s = handshake_s
        self._handshakes_most = handshakes_most
        self._backlog = backlog
        self._tls = tls
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._logged_s, self._unlogged = float("-inf"), 0

    def start(self) -> None:
        self._socket.setblocking(False)
        self._socket.listen(self._backlog)
        self._kept = Kept("TLS listener", self._accept)

    async def close(self) -> None:
        """Stops listening and cancels the handshakes. Established connections stay open."""
        await self._kept.stop()
        self._socket.close()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            try:
                client, address = await self._loop.sock_accept(self._socket)
            except OSError as error:
                self._failed("accept", f"a connection cannot be accepted: {error.strerror}")
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            self._make_room()
            task = self._loop.create_task(self._admit(client, address))
            self._handshakes[task] = None
            task.add_done_callback(partial(self._ended, client))

    def _make_room(self) -> None:
        most = self._handshakes_most()
        while len(self._handshakes) >= most:
            oldest = next(iter(self._handshakes))
            del self._handshakes[
                oldest
            ]  # at once: the task ends two turns of the loop later, and each turn may accept clients
            oldest.cancel()

    def _ended(self, client: socket.socket, task: "asyncio.Task[None]") -> None:
        self._handshakes.pop(task, None)
        if task.cancelled():  # maybe before it began
            client.close()
            self._failed("surplus", "a handshake made room for another")

    async def _admit(self, client: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "a local socket"
        with contextlib.ExitStack() as stack:
            try:
                async with asyncio.timeout(self._handshake_s):
                    await self._begun(client)
                    twin = stack.enter_context(client.dup())  # the loop closes the original when the handshake fails
                    await self._shake_hands(client)
            except _NotTls:
                self._failed("not_tls", f"{host} does not speak TLS")
                await self._send_last(client, HTTPS_PLEASE)
            except TimeoutError:
                self._failed("timeout", f"{host} did not complete its handshake within {self._handshake_s:g} s")
            except ssl.SSLError as error:
                self._failed(*_reason(error, host))
                await self._send_last(twin, alert_of(error))
                return
            except OSError as error:
                self._failed(*_fault(error, host))
            else:
                return
            client.close()

    async def _begun(self, client: socket.socket) -> None:
        """Returns when the first byte of a handshake has arrived. Raises _NotTls, OSError."""
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = await self._first_byte(client)
        if not first:
            raise ConnectionResetError
        if first != _HANDSHAKE_RECORD:
            raise _NotTls

    async def _shake_hands(self, client: socket.socket) -> None:
        """Makes the handshake. Raises OSError, of which SSLError is one."""
        await self._loop.connect_accepted_socket(
            partial(_Handover, self._accepted),
            client,
            ssl=self._tls.context,
            ssl_handshake_timeout=2 * self._handshake_s,  # the bound above comes first
            ssl_shutdown_timeout=SHUTDOWN_S,
        )

    async def _first_byte(self, client: socket.socket) -> bytes:
        """Returns the first byte and leaves it in the socket's buffer."""
        while True:
            with contextlib.suppress(BlockingIOError):
                return client.recv(1, socket.MSG_PEEK)
            arrived, fd = asyncio.Event(), client.fileno()
            self._loop.add_reader(fd, arrived.set)
            try:
                await arrived.wait()
            finally:
                self._loop.remove_reader(fd)

    async def _send_last(self, client: socket.socket, words: bytes) -> None:
        """Sends the last bytes, then discards the client's: with unread bytes the client would see a reset instead."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(SHUTDOWN_S):
                await self._loop.sock_sendall(client, words)
                client.shutdown(socket.SHUT_WR)
                while await self._loop.sock_recv(client, _READ_MOST):
                    pass

    def _failed(self, reason: str, line: str) -> None:
        """Counts all failures; logs at most one a second, because any client can cause them."""
        counts.failed[reason] += 1
        now = self._loop.time()
        if now - self._logged_s < LOG_EVERY_S:
            self._unlogged += 1
            return
        more = f", and {self._unlogged} more since the last line" if self._unlogged else ""
        _log.warning("no TLS connection: %s%s", line, more)
        self._logged_s, self._unlogged = now, 0


def _reason(error: ssl.SSLError, host: str) -> tuple[str, str]:
    if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "no_certificate", f"{host} presented no certificate, which server.tls.client_ca demands"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate", f"the certificate of {host} is refused: {error.verify_message}"
    words = (error.reason or "handshake failure").replace("_", " ").lower()
    return "handshake", f"the handshake of {host} failed: {words}"


def _fault(error: OSError, host: str) -> tuple[str, str]:
    if error.errno in _OWN_FAULTS:
        return "accept", f"a connection cannot be accepted: {error.strerror}"
    return "left", f"{host} left during its handshake"
