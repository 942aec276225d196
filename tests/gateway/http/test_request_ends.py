"""What a request leaves behind once it has been answered: nothing."""

import asyncio
import gc
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.http.asgi_messages import ON_LEFT
from gateway.http.client_clock import Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.http.http1 import Http1

REQUESTS = 50
GET = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"


class Client(asyncio.Transport):
    """A client that reads at once."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.received += bytes(data)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Watches its client, as the endpoints do."""
    scope[ON_LEFT](lambda: None)
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


class Left:
    """What is left of some requests, each answered before the next was sent."""

    def __init__(self) -> None:
        self.defects: list[dict[str, Any]] = []
        self.closed = 0
        self.circles = 0
        self.answered = 0

    async def serve(self, request: bytes) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.defects.append(context))
        client, connections = Client(), ClientConnections(10)
        connection = Http1(app, lambda *_: None, Timeouts(), connections, self._note_closed)
        connection.connection_made(client)
        await self._request(connection, request)  # what the first one leaves is kept for all
        gc.collect()
        gc.disable()
        try:
            for _ in range(REQUESTS):
                await self._request(connection, request)
            self.circles = gc.collect()
        finally:
            gc.enable()
        connection.connection_lost(None)
        self.answered = client.received.count(b"200 OK")

    async def _request(self, connection: Http1, request: bytes) -> None:
        connection.data_received(request)
        for _ in range(5):
            await asyncio.sleep(0)

    def _note_closed(self, _connection: Http1) -> None:
        self.closed += 1


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
def test_answered_requests_leave_nothing(request_bytes: bytes) -> None:
    left = Left()
    asyncio.run(left.serve(request_bytes))

    assert left.answered == 1 + REQUESTS
    assert left.defects == []
    assert left.closed == 1  # with a request that has not ended, it would wait for that
    assert left.circles == 0
