"""The gateway's server on TLS with an application of the test's own, in a thread of this process."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypercorn.config
import msgspec
import pytest
import uvloop
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.configuration.tls import TlsSettings
from gateway.http.client_connections import ClientConnections
from gateway.process import http_server
from gateway.tls.identity import Tls
from tests.loadtest.process import PATIENCE_S, wait_until
from tests.support.certificates import Authority


class Identity(msgspec.Struct, frozen=True):
    """An authority, and a server's certificate and key that it has issued."""

    authority: Authority
    certificate: Path
    key: Path

    def settings(self, client_ca: Path | None = None) -> TlsSettings:
        ca = None if client_ca is None else str(client_ca)
        return TlsSettings(certificate=str(self.certificate), key=str(self.key), client_ca=ca)


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    return Identity(authority, *authority.issue("server"))


class Echo:
    """Responds with the request body, or as the path demands. ``left``: paths of requests whose client left;
    ``scopes``: of all requests; ``release`` lets `/held` respond.
    """

    def __init__(self) -> None:
        self.left: list[str] = []
        self.scopes: list[Scope] = []
        self.begun: list[str] = []
        self.taken = 0
        self.release = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.scopes.append(scope)
        self.begun.append(path)
        if path == "/of-connections":
            names = [b"connection", b"keep-alive", b"transfer-encoding", b"x-own"]
            await send({"type": "http.response.start", "status": 204, "headers": [(name, b"x") for name in names]})
            await send({"type": "http.response.body", "body": b"ignored"})
        elif path == "/early":
            await answer(send, b"no", 413)
        elif path == "/held":
            await self._held(receive, send)
        elif path == "/deaf":
            await self._deaf(send)
        elif path.startswith("/send/"):
            await self._send_pieces(path, receive, send)
        elif path == "/defect":
            raise RuntimeError("a defect on purpose")
        else:
            await answer(send, await self._body(path, receive))

    async def _body(self, path: str, receive: Receive) -> bytes:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(path)
                return b""
            body += bytes(message["body"])
            if not message["more_body"]:
                return body

    async def _held(self, receive: Receive, send: Send) -> None:
        """Its head at once, its body when released or never."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        leaving = asyncio.create_task(self._leave(receive))
        while not self.release.is_set() and not leaving.done():
            await asyncio.sleep(0.005)
        if leaving.done():
            self.left.append("/held")
        leaving.cancel()
        await send({"type": "http.response.body", "body": b"last"})

    async def _deaf(self, send: Send) -> None:
        """Reads nothing."""
        while not self.release.is_set():
            await asyncio.sleep(0.005)
        await answer(send, b"deaf")

    async def _leave(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _send_pieces(self, path: str, receive: Receive, send: Send) -> None:
        """`/send/COUNT/SIZE`; ``taken`` counts the pieces that were taken off its hands."""
        count, size = map(int, path.split("/")[2:])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(count):
            message: Message = {"type": "http.response.body", "body": b"x" * size, "more_body": number < count - 1}
            await send(message)
            self.taken += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.append(path)


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-seen", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class TlsServer:
    """``tls``: in use; ``stop`` begins the end, ``is_leaving`` makes it come soon; ``faults``: of the event loop."""

    def __init__(self, app: ASGIApp, tls: TlsSettings, most: float = 100, grace_s: float = 5.0) -> None:
        self._app = app
        self._settings = tls
        self._most = most
        self._grace_s = grace_s
        listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = listener.getsockname()
        self._fd = listener.detach()
        self.is_leaving = False
        self.faults: list[dict[str, Any]] = []
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda _loop, context: self.faults.append(context))
        config = hypercorn.config.Config()
        config.bind = [f"fd://{self._fd}"]
        config.graceful_timeout = self._grace_s
        self.tls = Tls(self._settings, 0.02)
        self.tls.start()

        async def drained() -> None:
            self._is_listening.set()
            await self._stopping.wait()

        connections = ClientConnections(self._most)
        await http_server.serve(
            self._app,
            config,
            lambda _data, _client: None,
            drained,
            connections,
            tls=http_server.OverTls(self.tls, lambda: self.is_leaving),
        )
        await self.tls.stop()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)

    def wait(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def __enter__(self) -> "TlsServer":
        self._thread.start()
        wait_until(self._is_listening.is_set)
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended already
            self.stop()
        self.wait()


@contextlib.contextmanager
def echoing(identity: Identity, **options: Any) -> Iterator[tuple[TlsServer, Echo]]:
    app = Echo()
    with TlsServer(app, identity.settings(), **options) as server:
        yield server, app
    assert server.faults == []
