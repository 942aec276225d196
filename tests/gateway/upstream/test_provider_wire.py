"""Whole answers of any framing arrive whole, however late their reader is; the bounds are in test_provider_http.py."""

import asyncio
import random
from collections.abc import Callable

import pytest

from gateway.upstream.connections import session

BODY = random.Random(7).randbytes(3_000_000)


def chunked(size: int) -> bytes:
    parts = (BODY[at : at + size] for at in range(0, len(BODY), size))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    "large chunks": chunked(1_000_000),
    "small chunks": chunked(50),
    "after interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 90 + chunked(5000),
}


async def received(answer: bytes, pause: Callable[[], float]) -> bytes:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    parts = []
    async with server, session(30) as kept, kept.post(url, data=b"x") as response:
        while part := await response.content.readany():
            parts.append(part)
            await asyncio.sleep(pause())
    return b"".join(parts)


@pytest.mark.parametrize("longest_s", [0.0, 0.002], ids=["ready", "late"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_arrives_whole(answer: bytes, longest_s: float) -> None:
    rng = random.Random(3)

    assert asyncio.run(received(answer, lambda: rng.random() * longest_s)) == BODY
