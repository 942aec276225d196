"""Connections of the hypercorn engine that end badly, without a gateway behind them."""

import asyncio
import socket

import hypercorn.config
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import hypercorn_engine
from gateway.http_text import Refuse
from tests.support.rest_of_a_head import BEGUN, REQUEST, Drained, asked_of_the_rest_of_a_head

TOO_MUCH = b"x" * 20_000_000


async def bytes_of_an_answer_given_up() -> int:
    """What a client can read of it that begins to when its connection has ended at the other side."""
    over, begun = asyncio.Event(), asyncio.Event()

    async def give_up(_scope: Scope, _receive: Receive, send: Send) -> None:
        begun.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.wait_for(send({"type": "http.response.body", "body": TOO_MUCH, "more_body": True}), 0.01)

    async def drained() -> None:
        await over.wait()

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 0.01
    config.errorlog = None
    with socket.create_connection(address, timeout=5) as client:
        server = asyncio.create_task(hypercorn_engine.serve(give_up, config, lambda _data: None, drained))
        client.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        await begun.wait()
        async with asyncio.timeout(10):
            while len(asyncio.all_tasks()) > 2:  # the server's and this one
                await asyncio.sleep(0.01)
        over.set()
        await server
        return len(b"".join(iter(lambda: client.recv(1_000_000), b"")))


async def serve(app: ASGIApp, listener: int, refuse: Refuse, drained: Drained) -> None:
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener}"]
    await hypercorn_engine.serve(app, config, refuse, drained)


def test_rest_of_a_head_is_no_request_however_it_looks() -> None:
    """A header may hold the line that a request begins with."""
    assert asyncio.run(asked_of_the_rest_of_a_head(serve)) == [REQUEST + BEGUN, REQUEST]


def test_connection_of_a_client_that_reads_nothing_is_given_up() -> None:
    """Its answer stays incomplete, so nothing may follow it, and what is left of it would wait to be taken for ever."""
    assert 0 < asyncio.run(bytes_of_an_answer_given_up()) < len(TOO_MUCH)
