"""The listener's own bounds, with times and counts of the test's own."""

import asyncio
import contextlib
import errno
import socket

import pytest
import uvloop

from gateway.http.tls_counts import counts
from gateway.tls.identity import Tls
from gateway.tls.listener import TlsListener
from tests.support.tls_server import Identity, identity

__all__ = ["identity"]


def reads_to_the_end(identity: Identity, clients: list[bytes], handshake_s: float, most: int) -> bytes:
    """Returns the bytes that the first of several clients receives before its connection ends."""

    async def run() -> bytes:
        sock = socket.create_server(("127.0.0.1", 0))
        tls = Tls(identity.settings())
        listener = TlsListener(sock, 10, tls, lambda _: asyncio.Protocol(), lambda: most, handshake_s)
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


def test_handshakes_are_bounded_however_fast_clients_come(identity: Identity) -> None:
    async def run() -> int:
        sock = socket.create_server(("127.0.0.1", 0), backlog=100)
        tls = Tls(identity.settings())
        listener = TlsListener(sock, 100, tls, lambda _: asyncio.Protocol(), lambda: 2, 60.0)
        async with contextlib.AsyncExitStack() as stack:
            sockets = [stack.enter_context(socket.create_connection(sock.getsockname())) for _ in range(50)]
            stack.push_async_callback(listener.close)
            listener.start()
            loop, most = asyncio.get_running_loop(), 0
            sockets[-1].setblocking(False)
            for each in sockets[:-2]:
                each.setblocking(False)
                async with asyncio.timeout(10):
                    assert await loop.sock_recv(each, 100) == b""
                most = max(most, len(listener._handshakes))
            return most

    assert uvloop.run(run()) == 2


def test_handshake_without_a_descriptor_is_counted_and_logged(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dup(_socket: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "dup", dup)
    before = counts.failed["accept"]

    assert reads_to_the_end(identity, [b"\x16"], 60.0, 2) == b""
    assert counts.failed["accept"] == before + 1
    assert "a connection cannot be accepted: Too many open files" in caplog.text
    assert "Traceback" not in caplog.text
