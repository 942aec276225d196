"""The position of a stream's first content, however its bytes are cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.calls import Kind
from gateway.upstream.sse import NotEvents
from gateway.upstream.stream_content import EVENT_MOST, HOLD_MOST, Preamble
from tests.support.recorded_streams import (
    CALL_ITEM,
    COMPLETED,
    CREATED,
    DONE,
    FAILED,
    HELLO,
    IN_PROGRESS,
    ITEM,
    MESSAGE_END,
    MESSAGE_STOP,
    PART,
    PING,
    ROLE,
    START,
    TEXT,
    TEXT_BLOCK,
    THINKING_BLOCK,
    TOOL_BLOCK,
    USAGE,
    data,
    delta,
    event,
)

ERROR = data({"error": {"message": "no", "code": 429}})
MESSAGE_ERROR = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
COMMENT = b": OPENROUTER PROCESSING\n\n"
FILTERED = data({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]})

# What is held, and then what ends the preamble: content, or an error.
STREAMS: dict[str, tuple[Kind, list[bytes], bytes]] = {
    "text": (Kind.CHAT, [COMMENT, ROLE], delta(content="hi")),
    "reasoning": (Kind.CHAT, [ROLE], delta(content=None, reasoning_content="hm")),
    "call": (Kind.CHAT, [ROLE, delta(content="", tool_calls=[])], delta(tool_calls=[{"index": 0}])),
    "refusal": (Kind.CHAT, [ROLE], delta(refusal="no")),
    "audio": (Kind.CHAT, [ROLE], delta(audio={"id": "a"})),
    "half a surrogate pair": (Kind.CHAT, [ROLE], b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n'),
    "no number": (Kind.CHAT, [ROLE], b'data: {"choices": [{"delta": {"content": "a"}, "logprobs": NaN}]}\n\n'),
    "blank error": (Kind.CHAT, [ROLE], data({"choices": [{"text": "a"}], "error": {"message": "", "code": None}})),
    "text before an error": (Kind.CHAT, [ROLE], delta("error", content="a")),
    "image": (Kind.CHAT, [ROLE], delta(content="", images=[{"type": "image_url"}])),
    "end": (Kind.CHAT, [ROLE, FILTERED], delta("stop")),
    "terminator": (Kind.CHAT, [ROLE, USAGE], DONE),
    "chat error": (Kind.CHAT, [COMMENT, ROLE], ERROR),
    "error with choices": (Kind.CHAT, [ROLE], data({"choices": [], "error": {"message": "x"}})),
    "named error": (Kind.CHAT, [ROLE], b'event: error\ndata: {"message": "x"}\n\n'),
    "error without words": (Kind.CHAT, [ROLE], delta("error")),
    "named error of another type": (Kind.CHAT, [ROLE], b'event: error\ndata: {"type": "server_error"}\n\n'),
    "detail": (Kind.CHAT, [], data({"detail": "Not Found"})),
    "completion": (Kind.COMPLETION, [data({"choices": [{"text": ""}]})], data({"choices": [{"text": "hi"}]})),
    "message text": (Kind.MESSAGE, [START, PING, TEXT_BLOCK], HELLO),
    "thinking": (
        Kind.MESSAGE,
        [START, THINKING_BLOCK],
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
    ),
    "message call": (Kind.MESSAGE, [START, PING], TOOL_BLOCK),
    "message end": (Kind.MESSAGE, [START], MESSAGE_END),
    "message stop": (Kind.MESSAGE, [START], MESSAGE_STOP),
    "message error": (Kind.MESSAGE, [START, PING], MESSAGE_ERROR),
    "unnamed message": (Kind.MESSAGE, [START[START.index(b"data:") :]], HELLO[HELLO.index(b"data:") :]),
    "response text": (Kind.RESPONSE, [CREATED, IN_PROGRESS, event("keepalive", sequence_number=2), ITEM, PART], TEXT),
    "response call": (Kind.RESPONSE, [CREATED], CALL_ITEM),
    "response end": (Kind.RESPONSE, [CREATED, IN_PROGRESS], COMPLETED),
    "response incomplete": (Kind.RESPONSE, [CREATED], event("response.incomplete", response={"error": None})),
    "response failed": (Kind.RESPONSE, [CREATED, IN_PROGRESS], FAILED),
    "response error": (Kind.RESPONSE, [CREATED], event("error", code="server_error", message="x")),
    "empty delta": (Kind.RESPONSE, [CREATED, event("response.output_text.delta", delta="")], TEXT),
}
_CONTENT = {"blank error", "text before an error"}
ERRORS = {name for name in STREAMS if "error" in name or name in ("detail", "response failed")} - _CONTENT


def read(wire: Kind, body: bytes, cuts: list[int]) -> tuple[int, bool, bool]:
    """After how many bytes the preamble was over (-1: never), with an error or not, documented or not."""
    preamble, positions = Preamble(wire), [0, *sorted({min(cut, len(body)) for cut in cuts}), len(body)]
    for start, end in itertools.pairwise(positions):
        if start < end and preamble.feed(body[start:end]):
            return len(preamble.body), preamble.error is not None, preamble.is_documented_end
    return -1, preamble.error is not None, preamble.is_documented_end


@pytest.mark.parametrize("name", STREAMS)
def test_preamble_is_held_and_ends_with_the_first_content_or_error(name: str) -> None:
    wire, held, last = STREAMS[name]

    assert read(wire, b"".join(held), []) == (-1, False, False)
    assert read(wire, b"".join(held) + last, [])[1:] == (name in ERRORS, name == "response failed")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", STREAMS)
def test_byte_by_byte_it_is_over_with_the_event_and_not_earlier(name: str, line_end: bytes) -> None:
    wire, held, last = STREAMS[name]
    body = (b"".join(held) + last).replace(b"\n", line_end)
    over, has_error, is_documented = read(wire, body, list(range(len(body))))

    assert over == len(body)
    assert (has_error, is_documented) == (name in ERRORS, name == "response failed")


@given(
    st.sampled_from(sorted(STREAMS)),
    st.lists(st.integers(0, 2000), max_size=12),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_judgement_does_not_depend_on_packets(name: str, cuts: list[int], mark: bytes) -> None:
    """Also where content and an error come in one packet: the content was first."""
    wire, held, last = STREAMS[name]
    more = {Kind.MESSAGE: MESSAGE_ERROR, Kind.RESPONSE: FAILED}.get(wire, ERROR)
    body = mark + b"".join(held) + last + more + last

    whole, cut = read(wire, body, []), read(wire, body, cuts)

    assert cut[1:] == whole[1:] == (name in ERRORS, name == "response failed")
    assert cut[0] >= len(mark + b"".join(held) + last)


@pytest.mark.parametrize("cut", [1, 1000, 65_536, 65_537, 200_000])
def test_preamble_longer_than_64_kib_is_committed_whatever_follows(cut: int) -> None:
    body = COMMENT * (HOLD_MOST // len(COMMENT) + 1) + ERROR
    over, has_error, _ = read(Kind.CHAT, body, list(range(0, len(body), cut)))

    assert over > HOLD_MOST
    assert not has_error


@pytest.mark.parametrize("cut", [1000, 65_536, 2_500_000])
def test_first_event_of_several_megabytes_passes(cut: int) -> None:
    body = delta(content="x" * 2_000_000)
    over, has_error, _ = read(Kind.CHAT, body, list(range(0, len(body), cut)))

    assert EVENT_MOST < over <= max(EVENT_MOST + cut, len(body) if cut > len(body) else 0)
    assert not has_error


@pytest.mark.parametrize("cut", [1000, 65_536, 2_500_000])
def test_event_of_several_megabytes_is_no_error_however_it_is_cut(cut: int) -> None:
    body = data({"error": {"message": "x" * 2_000_000}})

    assert not read(Kind.CHAT, body, list(range(0, len(body), cut)))[1]


@pytest.mark.parametrize("cut", [1000, 65_537, 1_000_000])
def test_long_preamble_event_and_the_error_after_it_are_judged(cut: int) -> None:
    """`response.created` repeats the instructions of the request."""
    created = event("response.created", response={"id": "r", "error": None, "instructions": "x" * 60_000})
    body = created + FAILED

    assert read(Kind.RESPONSE, body, list(range(0, len(body), cut))) == (len(body), True, True)


@pytest.mark.parametrize(
    "body",
    [b"hello", b"data: [DONE]\n\n", b"data: {\n\n", b"data: []\n\n", b"data: 1\n\n", b'data: "\xff"\n\n',
     b"data: " + b"[" * 10_000 + b"\n\n", b"<html>", b'{"choices": []}', b"\xef\xbb\xbfhello\n\n"],
)  # fmt: skip
def test_body_that_is_no_event_stream_is_known_however_it_is_cut(body: bytes) -> None:
    with pytest.raises(NotEvents):
        read(Kind.CHAT, body, [])
    with pytest.raises(NotEvents):
        read(Kind.CHAT, body, list(range(len(body))))


@pytest.mark.parametrize("body", [b"", b"d", b"data: {}", b"data: {}\n", b"data: {}\r\n\r", b": ping\n\ndata", b"\xef"])
def test_event_without_its_end_is_awaited(body: bytes) -> None:
    assert read(Kind.CHAT, body, []) == (-1, False, False)


def test_event_without_a_blank_line_counts_at_the_end_of_the_body() -> None:
    preamble = Preamble(Kind.CHAT)

    assert not preamble.feed(ROLE + delta(content="hi").rstrip())
    assert preamble.end()


def test_many_comments_are_read_in_a_time_that_grows_with_their_number() -> None:
    """Each byte is looked at once; searched from the start at each read, half a megabyte took minutes."""
    preamble, searched = Preamble(Kind.CHAT), 0
    for _ in range(HOLD_MOST // 8):
        assert not preamble.feed(b": x\n\n")
        searched += 1

    assert preamble.feed(delta(content="hi"))
    assert searched == HOLD_MOST // 8


def test_keep_alive_data_without_a_value_is_no_first_event() -> None:
    assert read(Kind.CHAT, b"data: \n\n" + delta(content="hi"), []) == (
        len(b"data: \n\n" + delta(content="hi")),
        False,
        False,
    )


def test_words_of_the_error_are_kept() -> None:
    preamble = Preamble(Kind.RESPONSE)
    preamble.feed(CREATED + FAILED)

    assert preamble.error is not None
    assert (preamble.error.code, preamble.error.message) == ("context_length_exceeded", "too long")
    assert json.loads(FAILED.split(b"data: ")[1])["response"]["error"]["message"] == preamble.error.message
