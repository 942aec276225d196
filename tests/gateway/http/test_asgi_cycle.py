"""Chunks that an endpoint passes on without waiting."""

import asyncio
from typing import Any

import pytest

from gateway.http.asgi_cycle import PASS_ON, Cycle, scope_of


class Wire:
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        self.is_over = self.is_full = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    async def drained(self) -> None: ...

    def wants_more(self) -> None: ...

    def answered(self, cycle: Cycle) -> None: ...

    def finished(self, cycle: Cycle) -> None: ...


def body_of(version: str, *, first: bytes = b"one", is_full: bool = False, leaves: bool = False) -> tuple[bytes, bool]:
    """Returns the bytes of a response whose second chunk is passed on, without its head, and what passing returned."""
    rooms: list[bool] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        wire.is_full = is_full
        if leaves:
            cycle.left()
        rooms.append(scope["extensions"][PASS_ON](b"two"))
        rooms.append(scope["extensions"][PASS_ON](b""))
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        cycle.complete()
        cycle.begin(app, asyncio.get_running_loop())
        assert cycle.task is not None
        await cycle.task

    wire = Wire()
    cycle = Cycle(wire, scope_of("POST", b"/", version, [], None, None), keeps_alive=True, awaits_go=False)
    asyncio.run(run())
    assert rooms[0] == rooms[1]
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    return body, rooms[0]


@pytest.mark.parametrize(
    ("version", "body"), [("1.1", b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), ("1.0", b"onetwo")], ids=["1.1", "1.0"]
)
def test_chunk_is_framed_as_any_other(version: str, body: bytes) -> None:
    assert body_of(version) == (body, True)


def test_head_goes_before_a_first_chunk_that_is_passed_on() -> None:
    assert body_of("1.1", first=b"") == (b"3\r\ntwo\r\n0\r\n\r\n", True)


def test_client_that_does_not_read_has_no_room() -> None:
    assert body_of("1.1", is_full=True)[1] is False


def test_nothing_is_written_for_a_client_that_has_left() -> None:
    assert body_of("1.1", leaves=True) == (b"3\r\none\r\n", True)
