"""A stream from its first content to its end: what the client gets depends on its bytes, never on packets."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.calls import Kind
from gateway.upstream.classify import SUCCESS
from gateway.upstream.dialects.chat_as_messages import translation as chat_as_messages
from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat
from gateway.upstream.exchange import Exchange, StreamBroken
from gateway.upstream.sse import translated
from shared_state.records import Outcome
from tests.support.recorded_streams import (
    BLOCK_STOP,
    COMPLETED,
    CREATED,
    DONE,
    FAILED,
    HELLO,
    MESSAGE_END,
    MESSAGE_STOP,
    PING,
    ROLE,
    START,
    TEXT,
    TEXT_BLOCK,
    USAGE,
    data,
    delta,
    event,
)

HI = delta(content="grüße")
ERROR = data({"error": {"message": "no", "code": 500}})
OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
MESSAGE = [START, PING, TEXT_BLOCK, HELLO, BLOCK_STOP]
STREAMS: dict[str, tuple[Kind, list[bytes], Outcome]] = {
    "chat": (Kind.CHAT, [ROLE, HI, delta("stop"), USAGE, DONE], Outcome.SUCCESS),
    "chat without end": (Kind.CHAT, [ROLE, HI, delta("stop"), USAGE.rstrip()], Outcome.SUCCESS),
    "chat error": (Kind.CHAT, [ROLE, HI, ERROR, HI, DONE], Outcome.FAILURE),
    "chat cut": (Kind.CHAT, [ROLE, HI, HI[:20]], Outcome.FAILURE),
    "chat finish reason error": (Kind.CHAT, [ROLE, HI, delta("error"), DONE], Outcome.FAILURE),
    "messages": (Kind.MESSAGE, [*MESSAGE, MESSAGE_END, MESSAGE_STOP, DONE], Outcome.SUCCESS),
    "messages without end": (Kind.MESSAGE, [*MESSAGE, MESSAGE_END], Outcome.SUCCESS),
    "messages error": (Kind.MESSAGE, [*MESSAGE, OVERLOADED], Outcome.OVERLOADED),
    "messages cut": (Kind.MESSAGE, MESSAGE, Outcome.FAILURE),
    "response": (Kind.RESPONSE, [CREATED, TEXT, COMPLETED], Outcome.SUCCESS),
    "response failed": (Kind.RESPONSE, [CREATED, TEXT, FAILED], Outcome.CLIENT_ERROR),
}
CONVERTERS: dict[Kind, Callable[[], Any]] = {Kind.CHAT: messages_as_chat.Stream, Kind.MESSAGE: chat_as_messages.Stream}
UNTOLD = (b'"id":"msg_', b'"created":')  # made up anew for each answer


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_complete_once_the_event_that_ends_it_was_passed_on(name: str) -> None:
    """Codex leaves as soon as it has read that event."""
    wire, events, outcome = STREAMS[name]
    exchange = Exchange(SUCCESS, body=events[0])
    exchange.wire = wire
    exchange.open(Packets(events[1:]))

    async def read() -> list[tuple[bytes, bool]]:
        chunks, seen = exchange.chunks(), []
        with contextlib.suppress(StreamBroken):
            async for chunk in chunks:
                seen.append((chunk, exchange.is_complete))
        return seen

    seen = asyncio.run(read())
    ends = {DONE, MESSAGE_STOP, COMPLETED}
    assert [is_complete for chunk, is_complete in seen if chunk in events and chunk not in ends].count(True) == 0
    assert exchange.is_complete == (outcome is Outcome.SUCCESS and bool(ends & set(events)))


class Packets:
    """The rest of a body."""

    def __init__(self, packets: list[bytes]) -> None:
        self._packets = packets

    async def chunk(self) -> bytes:
        return self._packets.pop(0) if self._packets else b""

    async def pass_on(self, sink: Callable[[bytes], bool]) -> None:
        while self._packets and sink(self._packets.pop(0)):
            pass

    def close(self) -> None:
        """Nothing is open."""


async def received(name: str, cuts: list[int], is_translated: bool, room: int = 0) -> tuple[bytes, Outcome, bool]:
    """Returns the client's bytes of the stream, its outcome, and whether it broke. ``room``: the client takes chunks
    the short way, and has room for that many at a time.
    """
    wire, events, _ = STREAMS[name]
    text = b"".join(events)
    places = [0, *sorted({min(cut, len(text)) for cut in cuts} - {0}), len(text)]
    packets = [text[start:end] for start, end in itertools.pairwise(places) if start < end]

    exchange = Exchange(SUCCESS, body=packets[0])
    exchange.wire = wire
    exchange.convert = translated(CONVERTERS[wire]().feed) if is_translated else None
    exchange.open(Packets(packets[1:]))
    got, has_broken = [], False

    def outlet(chunk: bytes) -> bool:
        got.append(chunk)
        return len(got) % room > 0

    try:
        async for chunk in exchange.chunks(outlet if room else None):
            got.append(chunk)
    except StreamBroken:
        has_broken = True
    return b"".join(got), exchange.outcome, has_broken


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_judged_by_its_end(name: str) -> None:
    assert asyncio.run(received(name, [], False))[1] is STREAMS[name][2]


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(1, 1500), max_size=12))
def test_clients_bytes_do_not_depend_on_packets(name: str, cuts: list[int]) -> None:
    assert asyncio.run(received(name, cuts, False)) == asyncio.run(received(name, [], False))


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(1, 1500), max_size=12), st.integers(1, 9))
def test_short_way_gives_the_same(name: str, cuts: list[int], room: int) -> None:
    assert asyncio.run(received(name, cuts, False, room)) == asyncio.run(received(name, [], False))


@given(
    st.sampled_from(sorted(each for each in STREAMS if "response" not in each)),
    st.lists(st.integers(1, 1500), max_size=12),
)
def test_translation_depends_neither_on_packets_nor_on_the_way(name: str, cuts: list[int]) -> None:
    def undated(answer: tuple[bytes, Outcome, bool]) -> tuple[list[bytes], Outcome, bool]:
        lines = [line for line in answer[0].splitlines() if not any(mark in line for mark in UNTOLD)]
        return lines, *answer[1:]

    expected = undated(asyncio.run(received(name, [], True)))
    assert undated(asyncio.run(received(name, cuts, True))) == expected
    assert undated(asyncio.run(received(name, cuts, True, 3))) == expected


def test_events_before_a_malformed_one_in_the_same_packet_reach_the_client() -> None:
    got, outcome, has_broken = asyncio.run(received("chat finish reason error", [], True))

    assert "grüße".encode() in got
    assert (outcome, has_broken) == (Outcome.FAILURE, True)
