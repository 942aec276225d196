"""A second request whose head begins together with the first request and continues later, for a server by itself."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.http_text import Address, Refuse

REQUEST = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"
BEGUN = b"GET /other HTTP/1.1\r\nx: "

Drained = Callable[[], Awaitable[None]]
# Serves on the listening socket of this number.
Serve = Callable[[ASGIApp, int, Refuse, Drained], Awaitable[None]]


async def asked_of_the_rest_of_a_head(serve: Serve) -> list[bytes]:
    """Returns what the server took for requests."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def drained() -> None:
        await over.wait()

    def refuse(data: bytes, _client: Address) -> None:
        asked.append(data)

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = asyncio.ensure_future(serve(app, listener.detach(), refuse, drained))
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*address)
        for data in (REQUEST + BEGUN, REQUEST, REQUEST):
            writer.write(data)
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        over.set()
        await server
    return asked
