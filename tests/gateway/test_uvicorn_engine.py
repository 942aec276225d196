"""Connections of the uvicorn engine whose clients do not read, without a gateway behind them."""

import asyncio
import socket

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import uvicorn_engine
from gateway.http_text import Refuse
from tests.support.rest_of_a_head import BEGUN, REQUEST, Drained, asked_of_the_rest_of_a_head

TOO_MUCH = b"x" * 20_000_000  # for all buffers on its way


async def refusals_before_one_is_served() -> int:
    """The client sends one request after the other and takes no answer."""
    refused, served = 0, asyncio.Event()

    def refuse(_data: bytes) -> bytes:
        nonlocal refused
        refused += 1
        return TOO_MUCH

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        served.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def drained() -> None:
        await served.wait()

    listener = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(listener.getsockname(), timeout=5) as client:
        serving = uvicorn_engine.serve(app, "", 0, 5, 5, refuse, drained, listener.detach())
        server = asyncio.create_task(serving)
        async with asyncio.timeout(10):
            for number in range(1, 4):
                client.sendall(REQUEST)
                while refused < number and not served.is_set():
                    await asyncio.sleep(0.01)
    served.set()
    await server
    return refused


async def serve(app: ASGIApp, listener: int, refuse: Refuse, drained: Drained) -> None:
    await uvicorn_engine.serve(app, "", 0, 5, 5, refuse, drained, listener)


def test_rest_of_a_head_is_no_request_however_it_looks() -> None:
    """A header may hold the line that a request begins with."""
    assert asyncio.run(asked_of_the_rest_of_a_head(serve)) == [REQUEST + BEGUN, REQUEST]


def test_client_that_takes_no_answer_gets_no_further_one_at_once() -> None:
    """Or a connection's answers would pile up in memory."""
    assert asyncio.run(refusals_before_one_is_served()) == 1
