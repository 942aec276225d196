"""The framing of event streams, without a socket."""

import pytest

from gateway.upstream.sse import WholeEvents, begins_like_events, events, parsed, split, whole_events_end

EVENT = b'data: {"choices": []}\n\n'


@pytest.mark.parametrize(
    ("buffer", "end"),
    [
        (b"", 0),
        (b"data: a", 0),
        (EVENT, len(EVENT)),
        (EVENT + b"data", len(EVENT)),
        (b"a\r\n\r\nb\n", 5),
        (b"a\r\rb\r", 3),
        (b"a\n\r\nb", 4),
        (b"a\r\n\r", 0),
        (b"a\r\n\r\nb\n\nc", 8),
    ],
)
def test_whole_events_end_after_the_last_complete_one(buffer: bytes, end: int) -> None:
    assert whole_events_end(buffer) == end


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_whole_events_are_the_same_however_the_stream_is_cut(line_end: bytes, size: int) -> None:
    text = (b": a\n\n" + EVENT * 3 + b"data: rest").replace(b"\n", line_end)
    held, whole = WholeEvents(), []
    for position in range(0, len(text), size):
        whole.append(held.take(text[position : position + size]))

    assert b"".join(whole) == text.removesuffix(b"data: rest")
    assert all(not each or each.endswith(line_end * 2) for each in whole)
    assert (held.size, held.rest(), held.size) == (10, b"data: rest", 0)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_events_are_split_with_their_ends(line_end: bytes) -> None:
    parts = [each.replace(b"\n", line_end) for each in (b": a\n\n", EVENT, b"data: rest")]

    assert list(split(b"".join(parts))) == parts


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_events_are_taken_apart(line_end: bytes) -> None:
    text = b'\xef\xbb\xbfevent: a\ndata: {"x":\ndata: 1}\n\n: ping\n\nid: 1\nretry: 5\n\ndata:[DONE]\n\n'

    assert list(events(text.replace(b"\n", line_end))) == [("a", b'{"x":\n1}'), ("", b"[DONE]")]


@pytest.mark.parametrize("event", [b"", b": ping", b"event: x", b"data:", b"data: ", b"\n\n"])
def test_event_without_data_is_ignored(event: bytes) -> None:
    assert parsed(event) is None


@pytest.mark.parametrize(
    ("data", "is_like_events"),
    [
        (b"", True), (b"d", True), (b"data: x", True), (b":", True), (b"event: a\n", True), (b"\r\ndata: x", True),
        (b"\xef\xbb\xbfid: 1", True), (b"{", False), (b"<html>", False), (b"hello", False), (b" data: x", False),
    ],
)  # fmt: skip
def test_first_line_shows_whether_events_follow(data: bytes, is_like_events: bool) -> None:
    assert begins_like_events(data) is is_like_events
