"""Clients that hold a connection up: each wait for them has an end. The waits are short here."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import hypercorn.config
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.client_clock import Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.process import http_server

LONG = 60.0  # not waited for
LARGE = b"x" * 1_000_000
POST = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\n"


class App:
    """Reads the whole body, then answers ``answer``; remembers what it saw of its clients."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.seen: list[str] = []

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append("left")
                return
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.answer})
        self.seen.append("answered")


async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Does not let the request in: it never reads the body."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Client:
    def __init__(self, address: tuple[str, int]) -> None:
        self._loop = asyncio.get_running_loop()
        self.socket = socket.create_connection(address)
        self.socket.setblocking(False)

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await self._loop.sock_sendall(self.socket, data)

    async def received(self) -> bytes:
        """Until the connection ends."""
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := await self._loop.sock_recv(self.socket, 1_000_000):
                parts.append(part)
        return b"".join(parts)


@contextlib.asynccontextmanager
async def served(app: ASGIApp, timeouts: Timeouts) -> AsyncIterator[Client]:
    listener, over = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
    address, config = listener.getsockname(), hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = 0.05
    serving = http_server.serve(
        app,
        config,
        lambda *_: None,
        over.wait,
        ClientConnections(10),
        timeouts,
    )
    server, client = asyncio.create_task(serving), Client(address)
    try:
        async with asyncio.timeout(10):
            yield client
    finally:
        client.socket.close()
        over.set()
        await server


def hurried(**limits: float) -> Timeouts:
    waits = {"keep_alive": LONG, "head": LONG, "body": LONG, "stall": LONG, "linger": 0.05}
    return Timeouts(**waits | limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_dripping", [False, True], ids=["stops", "drips"])
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"], ids=["first", "second"])
def test_head_that_does_not_end_is_refused(before: bytes, is_dripping: bool) -> None:
    async def run() -> bytes:
        async with served(App(), hurried(head=0.2)) as client:
            await client.send(before + b"GET / HTTP/1.1\r\nx: ")

            async def drip() -> None:
                while is_dripping:
                    await client.send(b"y")
                    await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            received = await client.received()
            dripping.cancel()
            return received

    received = asyncio.run(run())

    assert received.count(b"HTTP/1.1 200 OK") == (1 if before else 0)
    assert received.count(b"HTTP/1.1 408 Request Timeout") == 1
    assert received.endswith(b'"code":"invalid_http"}}')


def test_idle_connection_is_closed_without_a_word() -> None:
    async def run() -> bytes:
        async with served(App(), hurried(keep_alive=0.1)) as client:
            return await client.received()

    assert asyncio.run(run()) == b""


@pytest.mark.parametrize("start", [b"", b"x" * 50_000], ids=["nothing", "half"])
def test_body_that_does_not_come_is_refused(start: bytes) -> None:
    app = App()

    async def run() -> bytes:
        async with served(app, hurried(body=0.1)) as client:
            await client.send(POST + start)
            return await client.received()

    assert asyncio.run(run()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert app.seen == ["left"]


def test_body_that_comes_steadily_is_taken() -> None:
    app = App()

    async def run() -> bytes:
        async with served(app, hurried(body=0.3)) as client:
            await client.send(POST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            for _ in range(10):
                await client.send(b"x" * 10_000)
                await asyncio.sleep(0.08)
            return await client.received()

    assert asyncio.run(run()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert app.seen == ["answered"]


@pytest.mark.parametrize("count", [1, 50], ids=["one", "pipelined"])
def test_answer_that_is_not_taken_ends(count: int) -> None:
    """The connection is cut off, and nothing of the application stays behind."""
    app = App(LARGE * 20)

    async def run() -> int:
        async with served(app, hurried(stall=0.1)) as client:
            await client.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n" * count)
            while not app.seen:
                await asyncio.sleep(0.01)
            return len(await client.received())

    assert 0 < asyncio.run(run()) < len(LARGE) * 20
    assert app.seen == ["answered"]


@pytest.mark.parametrize(
    ("version", "app", "continues"),
    [(b"1.1", App(), True), (b"1.0", App(), False), (b"1.1", refuses, False)],
    ids=["let in", "HTTP/1.0", "refused"],
)
def test_only_an_admitted_client_gets_100_continue(version: bytes, app: ASGIApp, continues: bool) -> None:
    async def run() -> bytes:
        async with served(app, hurried(body=0.1)) as client:
            await client.send(POST.replace(b"1.1", version).replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"))
            return await client.received()

    assert asyncio.run(run()).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408") is continues


def test_refused_client_sees_the_response_whatever_it_still_sends() -> None:
    async def run() -> bytes:
        async with served(App(), hurried(linger=0.5)) as client:
            await client.send(b"nonsense\r\n\r\n")
            sending = asyncio.create_task(client.send(LARGE * 3 + b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"))
            received = await client.received()
            sending.cancel()
            return received

    received = asyncio.run(run())
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
