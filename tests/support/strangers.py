"""What may listen at a store's address and is not a store: it accepts connections, and that is all they have in common
with one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def close_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A balancer without a backend."""
    writer.close()


async def close_at_first_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A sidecar that connects to its backend when there is something to send."""
    await reader.read(100)
    writer.close()


async def reset_at_first_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.transport.abort()


async def refuse_for_now(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that has as many clients as it may."""
    writer.write(b"-ERR max number of clients reached\r\n")
    writer.close()


async def refuse_strangers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server in protected mode."""
    writer.write(b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n")
    writer.close()


async def alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A TLS port."""
    await reader.read(100)
    writer.write(b"\x15\x03\x03\x00\x02\x02\x16")
    writer.close()


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    writer.close()


async def agree_to_everything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        writer.write(b"+OK\r\n" * 64)


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


STRANGERS: dict[str, tuple[Serve, str]] = {
    "balancer": (close_at_once, "(?i)closed|reset"),
    "sidecar": (close_at_first_bytes, "(?i)closed|reset"),
    "reset": (reset_at_first_bytes, "(?i)closed|reset"),
    "full": (refuse_for_now, "max number of clients reached"),
    "protected": (refuse_strangers, "DENIED"),
    "tls": (alert, "does not speak the Redis protocol but TLS: rediss://"),
    "http": (speak_http, "does not speak the Redis protocol"),
}


@contextlib.asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """The port."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await serve(reader, writer)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
