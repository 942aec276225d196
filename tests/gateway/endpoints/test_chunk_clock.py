"""The gaps between chunks, and pings for clients whose dialect has no sign of a model that thinks."""

import time

from gateway.endpoints.chunk_clock import ChunkClock
from gateway.http.asgi_cycle import PASS_ON
from shared_state.histogram import Histogram


def clock(ping: bytes = b"", ping_s: float = 60.0) -> tuple[ChunkClock, Histogram]:
    gaps = Histogram((1.0,))
    return ChunkClock(gaps, ping, ping_s), gaps


def test_gaps_between_chunks_are_counted_on_both_ways() -> None:
    timed, gaps = clock()
    written: list[bytes] = []

    def write(chunk: bytes) -> bool:
        written.append(chunk)
        return True

    outlet = timed.outlet({"extensions": {PASS_ON: write}})
    assert outlet is not None
    timed.passed(b"a")
    has_room = outlet(b"b")
    timed.passed(b"c")

    assert (has_room, written, sum(gaps.counts)) == (True, [b"b"], 2)


def test_client_without_room_is_no_chunk() -> None:
    timed, gaps = clock(b"ping", 0.0)
    outlet = timed.outlet({"extensions": {PASS_ON: lambda _chunk: False}})
    assert outlet is not None
    timed.passed(b"a")
    has_room = outlet(b"b")

    assert (has_room, timed.passed(b""), sum(gaps.counts)) == (False, b"", 1)


def test_connection_without_the_extension_has_no_short_way() -> None:
    assert clock()[0].outlet({}) is None


def test_silence_towards_the_client_becomes_a_ping() -> None:
    early, late = clock(b"ping", 60.0)[0], clock(b"ping", 1e-9)[0]
    until_s = time.perf_counter() + 1e-6
    while time.perf_counter() < until_s:
        pass

    assert (early.passed(b""), late.passed(b""), late.passed(b"a")) == (b"", b"ping", b"a")
