"""The short way of a chunk: it reaches the client in the callback that received it, or takes the long way."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.json.malformed import Malformed
from gateway.request.calls import Kind
from gateway.request.off_loop import LARGE_CHUNK
from gateway.upstream.http.response import Response
from gateway.upstream.shortcut import Shortcut
from gateway.upstream.sse import WholeEvents
from gateway.upstream.stream_progress import Progress
from tests.support.recorded_streams import DONE, data, delta

HI = delta(content="hi")
ERROR = data({"error": {"message": "no"}})


class Line:
    """A connection of which nothing is expected."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...


async def passed(
    *chunks: bytes, room: int = 99, convert: Callable[[bytes], bytes] | None = None
) -> tuple[list[bytes], bool | None, bytes]:
    """Returns what the client has directly after these chunks; whether the short way stopped for want of its room, None
    while it goes on; and the chunk that is left for the long way.
    """
    response, taken = Response(Line(), 200, []), list[bytes]()

    def outlet(chunk: bytes) -> bool:
        taken.append(chunk)
        return len(taken) < room

    shortcut = Shortcut(Progress(Kind.CHAT), WholeEvents(), convert, outlet)
    passing = asyncio.create_task(shortcut.is_stopped_by_reader(response))
    await asyncio.sleep(0)
    for chunk in chunks:
        response.feed(chunk)
    at_once = list(taken)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if not passing.done():
        passing.cancel()
        return at_once, None, b""
    return at_once, passing.result(), shortcut.taken()


def test_chunks_pass_in_the_callback() -> None:
    assert asyncio.run(passed(HI, HI)) == ([HI, HI], None, b"")


def test_only_whole_events_pass_and_a_part_is_a_sign() -> None:
    assert asyncio.run(passed(HI[:9], HI[9:] + HI[:5])) == ([b"", HI], None, b"")


def test_end_stops_the_short_way() -> None:
    assert asyncio.run(passed(HI + DONE, HI)) == ([HI + DONE], False, b"")


def test_error_stops_it_before_it_reaches_the_client() -> None:
    assert asyncio.run(passed(HI + ERROR, HI)) == ([HI], False, b"")


def test_client_without_room_stops_it() -> None:
    assert asyncio.run(passed(HI, HI, HI, room=2)) == ([HI, HI], True, b"")


@pytest.mark.parametrize("held", [b"", HI[:9]])
def test_large_chunk_is_left_for_the_long_way(held: bytes) -> None:
    """Together with what is held: it may hold thousands of events."""
    large = b"x" * (LARGE_CHUNK + 1 - len(held))
    taken, is_full, left = asyncio.run(passed(*([held] if held else []), large, HI))

    assert (taken, is_full, left) == ([b""] if held else [], False, large)


def test_translation_is_done_on_the_way_and_its_faults_reach_the_reader() -> None:
    def fails(_: bytes) -> bytes:
        raise Malformed("no")

    assert asyncio.run(passed(HI, convert=lambda events: events * 2)) == ([HI * 2], None, b"")
    with pytest.raises(Malformed):
        asyncio.run(passed(HI, convert=fails))
