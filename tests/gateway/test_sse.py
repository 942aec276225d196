"""Looking into event streams, without a socket."""

import pytest

from gateway.calls import Kind
from gateway.sse import FirstEvent, NotEvents, Progress, WholeEvents, events, whole_events_end

EVENT = b'data: {"choices": []}\n\n'


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b": ping\n\n",
        b"\n\n",
        b"event: start\nid: 1\nretry: 5\n\n",
        b": a\r\n\r\n",
        b"\xef\xbb\xbf",
        b": a\r\n\n",
        b": a\n\r\n",
    ],
)  # fmt: skip
def test_first_event_is_the_first_that_holds_data(before: bytes) -> None:
    assert FirstEvent().end(before + EVENT + EVENT) == len(before + EVENT)


@pytest.mark.parametrize("buffer", [b"", b"d", b"data: {}", b"data: {}\n", b"data: {}\r\n\r", b": ping\n\ndata"])
def test_event_without_its_end_is_awaited(buffer: bytes) -> None:
    assert FirstEvent().end(buffer) == -1


@pytest.mark.parametrize(
    "event",
    [b"hello", b"data: [DONE]", b"data: {", b"data: []", b"data: 1", b'data: "\xff"',
     b"data: " + b"[" * 10_000, b"<html>"],
)  # fmt: skip
def test_stream_that_begins_wrong_is_malformed(event: bytes) -> None:
    with pytest.raises(NotEvents):
        FirstEvent().end(event + b"\n\n")


def test_first_event_is_found_in_pieces_after_many_comments() -> None:
    """In a time that grows with their number, not with its square: half a megabyte of them took minutes."""
    before, first, buffer = b": x\n\n" * 100_000, FirstEvent(), bytearray()
    ends = []
    for position in range(0, len(before), 1000):
        buffer += before[position : position + 1000]
        ends.append(first.end(buffer))
    buffer += EVENT

    assert set(ends) == {-1}
    assert first.end(buffer) == len(buffer)


def test_megabyte_without_an_event_is_malformed() -> None:
    with pytest.raises(NotEvents):
        FirstEvent().end(b"x" * 1_048_577)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_data_of_several_lines_is_one_event(line_end: bytes) -> None:
    event = b'data: {"choices":' + line_end + b"data: []}" + line_end * 2

    assert FirstEvent().end(event) == len(event)


@pytest.mark.parametrize(
    ("buffer", "end"),
    [(b"", 0), (b"data: a", 0), (EVENT, len(EVENT)), (EVENT + b"data", len(EVENT)), (b"a\r\n\r\nb\n", 5)],
)
def test_whole_events_end_after_the_last_complete_one(buffer: bytes, end: int) -> None:
    assert whole_events_end(buffer) == end


def seen(kind: Kind, text: bytes, size: int) -> tuple[Progress, bytes]:
    """After a stream that comes in pieces of this size; and what of it may be passed on."""
    progress, held, passed = Progress(kind), WholeEvents(), b""
    for position in range(0, len(text), size):
        if whole := held.take(text[position : position + size]):
            passed += progress.see(whole)
    return progress, passed + progress.see(held.rest())


STREAM = EVENT + b'data: {"usage": {"completion_tokens": 12}}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_progress_is_the_same_however_the_stream_is_cut(size: int) -> None:
    progress, passed = seen(Kind.CHAT, STREAM, size)

    assert (progress.is_done, progress.has_error, progress.output_tokens) == (True, False, 12)
    assert passed == STREAM


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error": {"message": "x"}}\n\n',
        b'data: {"id": "a", "choices": [], "error": {"message": "x"}}\n\n',
        b'data: {"error": "x"}\r\n\r\n',
        b'data:{"error":\ndata:"x"}\n\n',
        b'data: {"type": "error", "message": "x"}\n\n',
        b'event: error\ndata: {"message": "x"}\n\n',
        b"id: 1\nevent:error\ndata: x\n\n",
    ],
)
def test_nothing_passes_from_an_error_on_however_the_stream_is_cut(size: int, error: bytes) -> None:
    progress, passed = seen(Kind.CHAT, EVENT + error, size)

    assert (progress.is_done, progress.has_error) == (False, True)
    assert passed == EVENT


def test_events_before_an_error_pass() -> None:
    text = EVENT * 2 + b'data: {"error": "x"}\n\n' + EVENT

    assert Progress(Kind.CHAT).see(text) == EVENT * 2


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices": [], "error": null}\n\n',
        b'data: {"choices": [{"finish_reason": "error"}]}\n\n',
        b'data: {"choices": [{"error": {"message": "of this choice"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\\"error\\": data: [DONE]\\nevent: error"}}]}\n\n',
        b": event: error\ndata: {}\n\n",
        b'data: "error" and no JSON\n\n',
    ],
)
def test_what_only_looks_like_an_error_passes(event: bytes) -> None:
    progress = Progress(Kind.CHAT)

    assert progress.see(event) == event
    assert (progress.is_done, progress.has_error) == (False, False)


def test_marks_inside_of_text_are_no_marks() -> None:
    """Even where an event goes by in parts, and its last one happens to begin with a mark."""
    progress = Progress(Kind.CHAT)
    progress.skip()
    progress.see(b'data: [DONE]"}\n\n')

    assert (progress.is_done, progress.has_error) == (False, False)


MESSAGES = (
    b'event: message_start\ndata: {"type": "message_start", "message": {"usage": {"output_tokens": 1}}}\n\n'
    b'event: message_delta\ndata: {"type": "message_delta", "usage": {"output_tokens": 12}}\n\n'
    b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
)
RESPONSES = (
    b'event: response.created\ndata: {"type": "response.created"}\n\n'
    b'event: response.completed\ndata: {"response": {"usage": {"output_tokens": 12}}}\n\n'
)


@pytest.mark.parametrize(("kind", "text"), [(Kind.MESSAGE, MESSAGES), (Kind.RESPONSE, RESPONSES)])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_each_dialect_has_its_marks(kind: Kind, text: bytes, size: int) -> None:
    progress, _ = seen(kind, text, size)

    assert (progress.is_done, progress.has_error, progress.output_tokens) == (True, False, 12)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_tokens_of_a_cache_are_counted_apart_and_once(size: int) -> None:
    usage = b'"usage": {"input_tokens": 5, "cache_creation_input_tokens": 11, "cache_read_input_tokens": 13}'
    text = MESSAGES.replace(b'"usage": {"output_tokens": 1}', usage).replace(
        b'"usage": {"output', usage[:-1] + b', "output'
    )
    progress, _ = seen(Kind.MESSAGE, text, size)

    assert (progress.input_tokens, progress.cached_tokens, progress.output_tokens) == (5, 24, 12)


@pytest.mark.parametrize(
    ("kind", "event"),
    [(Kind.MESSAGE, b"error"), (Kind.RESPONSE, b"error"), (Kind.RESPONSE, b"response.failed")],
)
def test_error_event_of_each_dialect_is_seen(kind: Kind, event: bytes) -> None:
    progress = Progress(kind)
    progress.see(b"event: %b\ndata: {}\n\n" % event)

    assert progress.has_error


def test_events_are_taken_apart() -> None:
    text = b'event: a\r\ndata: {"x":\r\ndata: 1}\r\n\r\n: ping\n\ndata:[DONE]\n\n'

    assert list(events(text)) == [("a", b'{"x":\n1}'), ("", b"[DONE]")]
