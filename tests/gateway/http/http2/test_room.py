"""Responses that wait in memory for the client of one HTTP/2 connection share one bound."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

from gateway.http.client_clock import Timeouts
from gateway.http.http2.bounds import STREAMS_MOST, WAITING_MOST
from gateway.http.http2.room import Room
from gateway.http.http2.stream import OUT_MOST, Http2Stream
from tests.loadtest.process import wait_until
from tests.support.h2_alone import Alone
from tests.support.h2_wire import GET, H2Wire, headers, settings
from tests.support.tls_server import Echo

SIZE = 40_000  # of /openapi.json
IDS = range(1, 2 * STREAMS_MOST, 2)
CLOSED = settings([(4, 0)])
INITIAL_WINDOW = 65_535


def get(stream_id: int, size: int = SIZE) -> bytes:
    return headers(stream_id, (*GET[:2], (":path", f"/send/1/{size}"), GET[3]))


@pytest.fixture
def alone() -> Iterator[Alone]:
    with Alone(Echo(), Timeouts()) as served:
        yield served


@pytest.fixture
def wire(alone: Alone) -> Iterator[H2Wire]:
    """The most possible responses have begun, and their client reads none of them."""
    with H2Wire(alone.address, None) as connected:
        connected.send(CLOSED, *map(get, IDS))
        for stream_id in IDS:
            assert connected.until(HeadersFrame, stream_id=stream_id) is not None
        yield connected


def waiting(alone: Alone) -> int:
    return sum(len(stream.out) for stream in list(alone.made[0]._streams.values()))


def ended(wire: H2Wire) -> list[int]:
    return [each.stream_id for each in wire.seen if isinstance(each, DataFrame) and "END_STREAM" in each.flags]


def test_answers_that_no_client_takes_have_a_bound(alone: Alone, wire: H2Wire) -> None:
    assert wire.pong()

    assert WAITING_MOST <= waiting(alone) < WAITING_MOST + OUT_MOST < SIZE * STREAMS_MOST


def test_streams_complete_in_order_once_the_windows_open(wire: H2Wire) -> None:
    wire.window(0, SIZE * STREAMS_MOST)
    wire.send(settings([(4, SIZE)]))
    wire.answer(IDS[-1])

    assert ended(wire) == list(IDS)
    assert {len(wire.bodies[stream_id]) for stream_id in IDS} == {SIZE}


def test_window_of_the_connection_alone_lets_all_complete(alone: Alone) -> None:
    with H2Wire(alone.address, None) as wire:
        wire.send(settings([(4, SIZE)]), *map(get, IDS))
        taken = 0
        while len(ended(wire)) < STREAMS_MOST:
            made = wire.until(DataFrame)
            assert isinstance(made, DataFrame)
            taken += len(made.data)
            if taken >= INITIAL_WINDOW // 2:
                wire.window(0, taken)
                taken = 0

    assert {len(wire.bodies[stream_id]) for stream_id in IDS} == {SIZE}


def test_stream_that_its_client_takes_does_not_wait_for_others(alone: Alone, wire: H2Wire) -> None:
    wire.window(IDS[-1], SIZE)

    assert wire.answer(IDS[-1])[1] == b"x" * SIZE
    assert ended(wire) == [IDS[-1]]
    assert waiting(alone) >= WAITING_MOST


def test_streams_that_are_reset_leave_their_room_to_others(alone: Alone, wire: H2Wire) -> None:
    for stream_id in IDS[:20]:
        wire.reset(stream_id)
    for stream_id in IDS[-5:]:  # they wait
        wire.reset(stream_id)
    wait_until(lambda: len(alone.made[0]._running) == STREAMS_MOST - 25)

    wait_until(lambda: WAITING_MOST <= waiting(alone) < WAITING_MOST + OUT_MOST)


def test_large_answer_has_the_bound_of_a_stream(alone: Alone) -> None:
    with H2Wire(alone.address, None) as wire:
        wire.send(CLOSED, get(1, 50 * OUT_MOST))
        wire.until(HeadersFrame, stream_id=1)
        assert wire.pong()
        assert waiting(alone) <= 2 * OUT_MOST
        wire.window(0, 50 * OUT_MOST)
        wire.window(1, 50 * OUT_MOST)

        assert len(wire.answer(1)[1]) == 50 * OUT_MOST


def test_end_of_the_connection_ends_every_wait(alone: Alone, wire: H2Wire) -> None:
    wire.socket.close()

    wait_until(lambda: alone.closed == 1)
    assert alone.made[0]._running == set()


def test_client_that_takes_nothing_loses_those_that_wait_as_well() -> None:
    """All at the same time: none is let in for another while."""
    app = Echo()
    with Alone(app, Timeouts(stall=1.0)) as alone, H2Wire(alone.address, None) as wire:
        begun_s = time.monotonic()
        wire.send(CLOSED, *map(get, IDS))
        resets = set[int]()
        while len(resets) < STREAMS_MOST:
            made = wire.until(RstStreamFrame)
            assert made is not None
            resets.add(made.stream_id)
        assert time.monotonic() - begun_s < 2.0

        wait_until(lambda: len(app.left) == STREAMS_MOST)
        wire.send(settings([(4, SIZE)]), get(IDS[-1] + 2))
        assert wire.answer(IDS[-1] + 2)[1] == b"x" * SIZE


# -- the room by itself -------------------------------------------------------------------------------------------


class Stream:
    def __init__(self, window: int = 0) -> None:
        self.window = window
        self.is_gone = False


def test_wait_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    async def run() -> list[str]:
        size, order = WAITING_MOST, list[str]()
        room = Room(lambda: size, lambda stream: cast(Any, stream).window)
        streams = {name: cast(Http2Stream, Stream()) for name in "abc"}

        async def wait(name: str) -> None:
            assert await room.wait(streams[name]) == OUT_MOST
            order.append(name)

        tasks = {name: asyncio.create_task(wait(name)) for name in streams}
        await asyncio.sleep(0)
        size -= 1
        room.wake()
        tasks["a"].cancel()
        await asyncio.wait(tasks.values(), timeout=5)
        return order

    assert asyncio.run(run()) == ["b", "c"]


def test_new_stream_does_not_overtake_those_that_wait() -> None:
    async def run() -> tuple[int, int, int]:
        size = WAITING_MOST
        room = Room(lambda: size, lambda stream: cast(Any, stream).window)
        first, late, open_one = (cast(Http2Stream, Stream(window)) for window in (0, 0, 7))
        task = asyncio.create_task(room.wait(first))
        await asyncio.sleep(0)
        size = 0
        sizes = room.of(late), room.of(open_one)
        room.wake()
        return *sizes, await task

    assert asyncio.run(run()) == (0, 7, OUT_MOST)
