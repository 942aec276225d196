"""The listener's own bounds, with times and counts of the test's own."""

import asyncio
import contextlib
import socket

import pytest
import uvloop

from gateway.tls import Tls
from gateway.tls_counts import counts
from gateway.tls_listener import TlsListener
from tests.support.tls_engine import Identity, identity

__all__ = ["identity"]


def reads_to_the_end(identity: Identity, clients: list[bytes], handshake_s: float, most: int) -> bytes:
    """What the first of several clients is sent before its connection ends."""

    async def run() -> bytes:
        sock = socket.create_server(("127.0.0.1", 0))
        listener = TlsListener(sock, 10, Tls(identity.settings()), lambda _: asyncio.Protocol(), handshake_s, most)
        listener.start()
        loop, address = asyncio.get_running_loop(), sock.getsockname()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(listener.close)
            sockets = []
            for sent in clients:
                sockets.append(stack.enter_context(socket.socket()))
                sockets[-1].setblocking(False)
                await loop.sock_connect(sockets[-1], address)
                await loop.sock_sendall(sockets[-1], sent)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(10):
                    return await loop.sock_recv(sockets[0], 100)
        return b""

    return uvloop.run(run())


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00"], ids=["nothing", "a byte", "a head"])
def test_handshake_has_a_bound(identity: Identity, sent: bytes) -> None:
    before = counts.failed["timeout"]

    assert reads_to_the_end(identity, [sent], 0.1, 10) == b""
    assert counts.failed["timeout"] == before + 1


def test_oldest_handshake_makes_room(identity: Identity) -> None:
    before = counts.failed["surplus"]

    assert reads_to_the_end(identity, [b"", b"", b""], 60.0, 2) == b""
    assert counts.failed["surplus"] >= before + 1
