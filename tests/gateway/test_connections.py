"""Kept connections are used again; what they must not be used for is shown in test_provider_http.py."""

import asyncio

from gateway.connections import session

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def connections_for(calls: int) -> int:
    """How many a provider sees that keeps them all."""
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, session(30) as kept:
        for _ in range(calls):
            async with kept.post(url, data=b"x") as response:
                assert await response.read() == b"{}"
    return opened


def test_one_connection_serves_calls_one_after_the_other() -> None:
    assert asyncio.run(connections_for(20)) == 1
