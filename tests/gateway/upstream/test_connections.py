"""Kept connections are used again; test_provider_http.py shows when they must not be."""

import asyncio

import aiohttp
import pytest

from gateway.upstream.connections import fresh_connection, is_closed_unanswered, session

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def connections_for(calls: int) -> int:
    """Returns the number of connections that a provider sees, which keeps them all open."""
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


async def kept_and_closed(begun: bytes) -> list[bool | int]:
    """Returns, for a call whose kept connection is closed after ``begun`` of an answer and for one whose new connection
    is closed at once: whether each was closed unanswered; and the connections that three calls within
    ``fresh_connection`` open.
    """
    opened, is_closing = 0, False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(begun if is_closing else ANSWER)
            if is_closing:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    results: list[bool | int] = []
    async with server, session(30) as kept:

        async def call() -> None:
            async with kept.post(url) as response:
                await response.read()

        await call()
        is_closing = True
        for _ in range(2):
            with pytest.raises((aiohttp.ClientError, OSError)):
                await call()
            results.append(is_closed_unanswered())
        is_closing, opened = False, 0
        with fresh_connection():
            for _ in range(3):
                await call()
    return [*results, opened]


@pytest.mark.parametrize(("begun", "is_unanswered"), [(b"", True), (b"HTTP/1.1 200 OK\r\nx", False)])
def test_only_a_kept_connection_is_closed_unanswered(begun: bytes, is_unanswered: bool) -> None:
    assert asyncio.run(kept_and_closed(begun)) == [is_unanswered, False, 3]
