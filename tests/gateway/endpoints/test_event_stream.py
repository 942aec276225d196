"""A stream of events releases its resources, however it ends."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from gateway.endpoints.event_stream import EventStream, event
from tests.support.stores import on_loop

SCOPE: dict[str, Any] = {"type": "http"}


class Client:
    """One end of the wire. ``is_stuck``: takes nothing after the head."""

    def __init__(self, is_stuck: bool = False) -> None:
        self.taken: list[Message] = []
        self.left = asyncio.Event()
        self.is_stuck = is_stuck

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.is_stuck and self.taken:
            await asyncio.Event().wait()
        self.taken.append(message)


class Source:
    """Chunks without end, or so many, or a defect."""

    def __init__(self, most: int | None = None, defect: Exception | None = None) -> None:
        self._most = most
        self._defect = defect
        self.begun = asyncio.Event()
        self.endings: list[str] = []

    async def chunks(self) -> AsyncGenerator[bytes]:
        try:
            count = 0
            while self._most is None or count < self._most:
                count += 1
                yield b"chunk"
                self.begun.set()
                await asyncio.sleep(0)
            if self._defect is not None:
                raise self._defect
        finally:
            self.endings.append("source")

    def closed(self) -> None:
        self.endings.append("closed")


def stream(source: Source, take_most_s: float = 10.0) -> EventStream:
    return EventStream(source.chunks(), source.closed, take_most_s)


@on_loop
async def test_stream_that_ends_is_whole() -> None:
    client, source = Client(), Source(most=2)
    await stream(source)(SCOPE, client.receive, client.send)

    assert dict(client.taken[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in dict(client.taken[0]["headers"])
    assert [message["body"] for message in client.taken[1:]] == [b"chunk", b"chunk", b""]
    assert source.endings == ["source", "closed"]


@on_loop
async def test_client_that_leaves_ends_it() -> None:
    client, source = Client(), Source()
    serving = asyncio.ensure_future(stream(source)(SCOPE, client.receive, client.send))
    await source.begun.wait()
    client.left.set()
    await serving

    assert source.endings == ["source", "closed"]
    assert client.taken[-1]["more_body"] is True


@on_loop
async def test_client_that_reads_nothing_is_disconnected() -> None:
    client, source = Client(is_stuck=True), Source()
    await stream(source, take_most_s=0.01)(SCOPE, client.receive, client.send)

    assert source.endings == ["source", "closed"]


@on_loop
async def test_cancelled_server_gives_it_back() -> None:
    client, source = Client(), Source()
    serving = asyncio.ensure_future(stream(source)(SCOPE, client.receive, client.send))
    await source.begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert source.endings == ["source", "closed"]


@on_loop
async def test_defect_is_raised_to_the_caller_and_the_stream_is_closed() -> None:
    client, source = Client(), Source(most=1, defect=ValueError("a defect"))
    with pytest.raises(ValueError, match="a defect"):
        await stream(source)(SCOPE, client.receive, client.send)

    assert source.endings == ["source", "closed"]


def test_event_has_its_kind_and_its_id() -> None:
    assert event("full", b"{}") == b"event: full\ndata: {}\n\n"
    assert event("transition", b"{}", "1-0") == b"id: 1-0\nevent: transition\ndata: {}\n\n"
