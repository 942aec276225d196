"""Connections of the uvicorn engine whose clients do not read, without a gateway behind them."""

import asyncio
import socket

from starlette.types import Receive, Scope, Send

from gateway import uvicorn_engine

REQUEST = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"
BEGUN = b"GET /other HTTP/1.1\r\nx: "
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


async def asked_of_the_rest_of_a_head() -> list[bytes]:
    """What was taken to stand alone, when a second head begins together with the first request and goes on later."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def drained() -> None:
        await over.wait()

    def refuse(data: bytes) -> None:
        asked.append(data)

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = asyncio.create_task(uvicorn_engine.serve(app, "", 0, 5, 5, refuse, drained, listener.detach()))
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*address)
        for data in (REQUEST + BEGUN, REQUEST, REQUEST):
            writer.write(data)
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        over.set()
        await server
    return asked


def test_rest_of_a_head_is_no_request_however_it_looks() -> None:
    """A header may hold the line that a request begins with."""
    assert asyncio.run(asked_of_the_rest_of_a_head()) == [REQUEST + BEGUN, REQUEST]


def test_client_that_takes_no_answer_gets_no_further_one_at_once() -> None:
    """Or a connection's answers would pile up in memory."""
    assert asyncio.run(refusals_before_one_is_served()) == 1
