"""Server-sent events for as long as a client reads them. A client that disconnects, or reads nothing for a while, ends
the stream, which then releases its resources.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

TAKE_MOST_S = 30.0  # for a client to read a chunk


def event(kind: str, data: bytes, event_id: str = "") -> bytes:
    """Returns one event. ``data``: JSON, so it has no line breaks."""
    name = f"id: {event_id}\n" if event_id else ""
    return f"{name}event: {kind}\ndata: ".encode() + data + b"\n\n"


class EventStream(Response):
    """A response that streams ``chunks``. ``close`` is called at the end in every case, even when nothing was sent."""

    media_type = "text/event-stream"

    def __init__(
        self, chunks: AsyncGenerator[bytes], close: Callable[[], None], take_most_s: float = TAKE_MOST_S
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._close = close
        self._take_most_s = take_most_s

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        streaming = asyncio.create_task(self._stream(send), name="event stream")
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((streaming, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            streaming.cancel()
            leaving.cancel()
            await asyncio.gather(streaming, leaving, return_exceptions=True)
            self._close()
        if not streaming.cancelled() and (defect := streaming.exception()) is not None:
            raise defect

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with contextlib.suppress(TimeoutError):
            async with contextlib.aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(self._take_most_s):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
