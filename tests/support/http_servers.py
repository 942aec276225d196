"""Servers for the HTTP client, and the client's view of their answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.request import request
from gateway.upstream.http.response import Response

CONNECT_S = 5.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handle: Handler, host: str = "127.0.0.1", port: int = 0, **options: object) -> AsyncIterator[int]:
    """Serves each connection by ``handle``, then closes it; yields the port."""

    serving = set[asyncio.Task[None]]()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await handle(reader, writer)
        finally:
            writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(served(reader, writer)))

    server = await asyncio.start_server(accepted, host, port, **options)  # type: ignore[arg-type]
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """Returns a whole request. Raises IncompleteReadError at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    return head + (await reader.readexactly(int(sizes[0])) if sizes else b"")


def answering(*segments: bytes, is_kept: bool = False) -> Handler:
    """Returns a handler that sends these segments one by one; ``is_kept``: for each request, else once."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            for segment in segments:
                writer.write(segment)
                await writer.drain()
                await asyncio.sleep(0)
            if not is_kept:
                return

    return handle


async def whole(response: Response) -> bytes:
    parts = []
    while part := await response.chunk():
        parts.append(part)
    return b"".join(parts)


async def fetched(http: HttpClient, url: str, body: bytes = b"{}") -> tuple[int, bytes]:
    """Returns status and body of an answer. Raises HttpFault."""
    response = await http.send(request("POST", url), body, CONNECT_S)
    try:
        return response.status, await whole(response)
    finally:
        response.close()


async def received(*segments: bytes, calls: int = 1) -> list[tuple[int, bytes]]:
    """Returns status and body of each of these calls to a server that sends the segments. Raises HttpFault."""
    async with listening(answering(*segments)) as port, HttpClient() as http:
        return [await fetched(http, f"http://127.0.0.1:{port}/") for _ in range(calls)]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Returns the data in segments that end at these places."""
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]
