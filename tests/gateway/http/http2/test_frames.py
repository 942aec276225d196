"""Frames as they come off the wire, and what a client may send of those that carry nothing."""

import pytest
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.http2.frames import (
    CREDIT_MOST,
    CREDIT_PER_S,
    FRAME_MOST,
    PREFACE,
    TINY,
    Frame,
    Frames,
    Violation,
    goaway,
)
from tests.support.h2_wire import END_HEADERS, END_STREAM, data, frame, settings

PING = frame(0x6, 0, 0, bytes(8))
SPENT = int(CREDIT_MOST)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def taken(frames: Frames, sent: bytes, most: int = 1_000_000) -> list[Frame]:
    frames.receive(sent)
    return list(frames.complete(most))


def begun(clock: Clock | None = None) -> Frames:
    """One credit is spent, on SETTINGS."""
    frames = Frames(clock or Clock())
    assert [each.data for each in taken(frames, PREFACE + settings())] == [settings()]
    return frames


@given(st.lists(st.integers(min_value=1, max_value=40)))
def test_frames_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    sent, frames, found = PREFACE + settings([(3, 1)]) + data(1, b"body", END_STREAM) + PING, Frames(Clock()), []
    for size in [*cuts, len(sent)]:
        found += taken(frames, sent[:size])
        sent = sent[size:]

    assert [(each.kind, each.stream_id) for each in found] == [(0x4, 0), (0x0, 1), (0x6, 0)]
    assert frames.unfinished == 0


def test_only_some_are_taken_at_once() -> None:
    frames = begun()

    assert [len(taken(frames, PING * 5, 3)), len(taken(frames, b""))] == [3, 2]


def test_frame_that_is_too_large_is_refused_by_its_head() -> None:
    with pytest.raises(Violation) as refused:
        taken(begun(), frame(0x0, 0, 1, length=FRAME_MOST + 1))

    assert refused.value.code == ErrorCodes.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    ("sent", "is_unfinished"),
    [
        (b"", False),
        (PING[:3], True),
        (PING[:12], True),
        (data(1, b"slow body")[:12], False),
        (frame(0x1, END_STREAM, 1, b"block"), True),
        (frame(0x1, END_STREAM, 1, b"block") + frame(0x9, END_HEADERS, 1, b"rest"), False),
    ],
    ids=["nothing", "a head", "a PING", "DATA", "an open block", "a whole block"],
)
def test_what_has_to_be_finished_soon(sent: bytes, is_unfinished: bool) -> None:
    frames = begun()
    taken(frames, sent)

    assert bool(frames.unfinished) is is_unfinished


def test_each_unfinished_frame_has_its_own_time() -> None:
    frames = begun()
    taken(frames, PING[:3])
    first = frames.unfinished
    taken(frames, PING[3:] + PING[:3])

    assert 0 < first < frames.unfinished


def test_continuations_have_the_time_of_their_block() -> None:
    frames = begun()
    taken(frames, frame(0x1, END_STREAM, 1, b"block"))
    first = frames.unfinished
    taken(frames, frame(0x9, 0, 1, b"rest"))

    assert first == frames.unfinished


class TestCredit:
    def test_flood_is_refused(self) -> None:
        with pytest.raises(Violation) as refused:
            taken(begun(), PING * SPENT)

        assert refused.value.code == ErrorCodes.ENHANCE_YOUR_CALM

    def test_time_gives_credit(self) -> None:
        clock = Clock()
        frames = begun(clock)
        taken(frames, PING * (SPENT - 1))
        clock.now_s += 10 / CREDIT_PER_S

        assert len(taken(frames, PING * 10)) == 10
        with pytest.raises(Violation):
            taken(frames, PING)

    def test_each_frame_of_an_answer_pays_for_updates_of_both_windows(self) -> None:
        frames, update = begun(), frame(0x8, 0, 1, bytes(3) + b"\x01")
        taken(frames, PING * (SPENT - 1))
        for _ in range(10):
            frames.sent()
            assert len(taken(frames, 2 * update)) == 2

    @pytest.mark.parametrize("body", [data(1, bytes(TINY + 1)), data(1, b"", END_STREAM)])
    def test_bodies_cost_nothing(self, body: bytes) -> None:
        assert len(taken(begun(), body * 2 * SPENT)) == 2 * SPENT

    def test_bodies_in_tiny_frames_cost_as_much_as_frames_that_carry_nothing(self) -> None:
        with pytest.raises(Violation):
            taken(begun(), data(1, bytes(TINY)) * SPENT)


def test_goodbye_is_a_frame() -> None:
    assert goaway(7, ErrorCodes.ENHANCE_YOUR_CALM) == frame(0x7, 0, 0, (7).to_bytes(4, "big") + (11).to_bytes(4, "big"))
