"""Connections of the HTTP server that end badly, without a gateway behind them."""

import asyncio
import contextlib
import socket

import hypercorn.config
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.client_clock import Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.http.http_text import Refuse
from gateway.http.surplus_calls import surplus_calls
from gateway.process import http_server
from tests.support.rest_of_a_head import BEGUN, REQUEST, Drained, asked_of_the_rest_of_a_head

TOO_MUCH = b"x" * 20_000_000


async def bytes_of_an_aborted_response() -> int:
    """Returns how many bytes a client can read that starts reading after the server has ended its connection."""
    over, begun = asyncio.Event(), asyncio.Event()

    async def abort(_scope: Scope, _receive: Receive, send: Send) -> None:
        begun.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.wait_for(send({"type": "http.response.body", "body": TOO_MUCH, "more_body": True}), 0.01)

    async def drained() -> None:
        await over.wait()

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    with socket.create_connection(address, timeout=5) as client:
        connections, hurried = ClientConnections(10), Timeouts(linger=0.01, stall=0.01)
        serving = http_server.serve(abort, config, lambda *_: None, drained, connections, hurried)
        server = asyncio.create_task(serving)
        client.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        await begun.wait()
        async with asyncio.timeout(10):
            while len(asyncio.all_tasks()) > 2:  # the server's and this one
                await asyncio.sleep(0.01)
        over.set()
        await server
        return len(b"".join(iter(lambda: client.recv(1_000_000), b"")))


class Served:
    """One application on the server, and a client's connection to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.over = asyncio.Event()

    async def __aenter__(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(listener.getsockname(), timeout=5)

        async def drained() -> None:
            await self.over.wait()

        self.server = asyncio.create_task(serve(self._app, listener.detach(), lambda *_: None, drained))
        return self.client

    async def __aexit__(self, *_error: object) -> None:
        self.over.set()
        await self.server
        self.client.close()


async def sent_of_an_unread_body() -> tuple[int, bytes]:
    """Returns how many bytes the client can send, and the bytes that it receives once the application answers."""
    begun, answer = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        begun.set()
        await answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with asyncio.timeout(10), Served(app) as client:
        loop, sent = asyncio.get_running_loop(), 0
        client.setblocking(False)
        await loop.sock_sendall(client, b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000000\r\n\r\n")
        await begun.wait()
        full_since = loop.time()
        while loop.time() - full_since < 0.2:
            try:
                sent += client.send(TOO_MUCH[:100_000])
                full_since = loop.time()
            except BlockingIOError:
                await asyncio.sleep(0.01)
        answer.set()
        return sent, await loop.sock_recv(client, 10_000)


async def read_from(app: ASGIApp) -> bytes:
    async with asyncio.timeout(10), Served(app) as client:
        loop, text = asyncio.get_running_loop(), b""
        client.setblocking(False)
        await loop.sock_sendall(client, REQUEST)
        while data := await loop.sock_recv(client, 10_000):
            text += data
        return text


async def ends_when_cut_off() -> list[str]:
    """Returns what happened to an application that does not end with the server."""
    events, begun = list[str](), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("cancelled")

    async with asyncio.timeout(10), Served(app) as client:
        client.sendall(REQUEST)
        await begun.wait()
    return events


async def serve(app: ASGIApp, listener: int, refuse: Refuse, drained: Drained) -> None:
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener}"]
    config.graceful_timeout = 0.05
    await http_server.serve(app, config, refuse, drained, ClientConnections(10))


async def answers_beyond_the_limit() -> list[bytes]:
    """Returns the responses to a probe and a call on a second connection, where the limit is one and the first is busy,
    then to the call on the first.
    """
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    address, config = listener.getsockname(), hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]

    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            begun.set()
            await go_on.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(client: socket.socket, method: str) -> None:
        await loop.sock_sendall(client, f"{method} /x HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n".encode())

    serving = http_server.serve(app, config, lambda *_: None, over.wait, ClientConnections(1))
    server = asyncio.create_task(serving)
    async with asyncio.timeout(10):
        answers = []
        with contextlib.ExitStack() as clients:

            def connect() -> socket.socket:
                client = clients.enter_context(socket.create_connection(address))
                client.setblocking(False)
                return client

            first = connect()
            await send(first, "POST")
            await begun.wait()
            second = connect()
            for method in ("GET", "POST"):
                await send(second, method)
                answers.append(await loop.sock_recv(second, 10_000))
            assert await loop.sock_recv(second, 10_000) == b""
            go_on.set()
            answers.append(await loop.sock_recv(first, 10_000))
        over.set()
        await server
    return answers


def test_call_on_a_connection_too_many_is_refused_and_a_probe_is_answered() -> None:
    before = surplus_calls.count
    probe, refused, first = asyncio.run(answers_beyond_the_limit())

    assert surplus_calls.count == before + 1
    assert [answer.split(b" ")[1] for answer in (probe, refused, first)] == [b"204", b"503", b"204"]
    assert b"retry-after: 1\r\n" in refused
    assert b"cache-control: no-store\r\n" in refused
    assert b"server_is_overloaded" in refused


def test_rest_of_a_head_is_no_request_however_it_looks() -> None:
    """A header may hold the line that a request begins with."""
    assert asyncio.run(asked_of_the_rest_of_a_head(serve)) == [REQUEST + BEGUN, REQUEST]


def test_connection_of_a_client_that_reads_nothing_is_aborted() -> None:
    """Its response stays incomplete: no other may follow it, and its rest would wait in memory without a bound."""
    assert 0 < asyncio.run(bytes_of_an_aborted_response()) < len(TOO_MUCH)


def test_unread_body_stays_with_its_client() -> None:
    sent, answer = asyncio.run(sent_of_an_unread_body())

    assert sent < 100_000_000  # what two sockets hold, and a little
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"connection: close\r\n" in answer


async def breaks(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("a defect")


async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await breaks(scope, receive, send)


def test_application_that_breaks_is_a_500_and_the_end_of_the_connection() -> None:
    head, _, body = asyncio.run(read_from(breaks)).partition(b"\r\n\r\n")

    assert (head.partition(b"\r\n")[0], body) == (b"HTTP/1.1 500 Internal Server Error", b"")
    assert b"connection: close" in head


def test_answer_that_breaks_off_is_not_whole() -> None:
    assert asyncio.run(read_from(breaks_off)).endswith(b"\r\n\r\n4\r\nhalf\r\n")


def test_application_that_does_not_end_is_cancelled_and_awaited() -> None:
    assert asyncio.run(ends_when_cut_off()) == ["cancelled"]
