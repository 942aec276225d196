"""A stream after its first content: its end, its error and its usage, however its bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.calls import Kind
from gateway.upstream.sse import WholeEvents
from gateway.upstream.stream_progress import Progress
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
from tests.support.token_counts import as_counted

HI = delta(content="hi")
CHAT = [ROLE, HI, delta("stop"), USAGE, DONE]
MESSAGE = [START, PING, TEXT_BLOCK, HELLO, BLOCK_STOP, MESSAGE_END, MESSAGE_STOP]
RESPONSE = [CREATED, TEXT, COMPLETED]


def unnamed(events: list[bytes]) -> list[bytes]:
    return [each[each.index(b"data:") :] for each in events]


WHOLE: dict[str, tuple[Kind, list[bytes]]] = {
    "chat": (Kind.CHAT, CHAT),
    "messages": (Kind.MESSAGE, MESSAGE),
    "messages by type": (Kind.MESSAGE, unnamed(MESSAGE)),
    "responses": (Kind.RESPONSE, RESPONSE),
    "responses by type": (Kind.RESPONSE, unnamed(RESPONSE)),
}


def seen(kind: Kind, text: bytes, cuts: list[int]) -> tuple[Progress, bytes]:
    """After a stream that is cut at these places; and what of it reaches the client."""
    progress, held, passed = Progress(kind), WholeEvents(), b""
    positions = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    for start, end in itertools.pairwise(positions):
        if whole := held.take(text[start:end]):
            passed += progress.see(whole)
    return progress, passed + progress.see(held.rest())


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", WHOLE)
def test_complete_stream_passes_as_it_is_with_its_usage(name: str, line_end: bytes) -> None:
    kind, events = WHOLE[name]
    text = b"".join(events).replace(b"\n", line_end)
    for cuts in ([], list(range(len(text)))):
        progress, passed = seen(kind, text, cuts)

        assert (progress.is_done, progress.error, as_counted(progress.tokens())) == (True, None, (9, 4, 0))
        assert passed.replace(b"\r", b"").replace(b"\n", b"") == text.replace(b"\r", b"").replace(b"\n", b"")


ERROR_EVENTS = {
    "object": data({"error": {"message": "x"}}),
    "with choices": data({"id": "a", "choices": [], "error": {"message": "x"}}),
    "CRLF": b'data: {"error": "x"}\r\n\r\n',
    "two lines": b'data:{"error":\ndata:"x"}\n\n',
    "type": data({"type": "error", "message": "x"}),
    "name": b'event: error\ndata: {"message": "x"}\n\n',
    "detail": data({"detail": "x"}),
}


@given(st.sampled_from(sorted(ERROR_EVENTS)), st.lists(st.integers(0, 600), max_size=10))
def test_events_before_an_error_pass_and_nothing_from_it_on(name: str, cuts: list[int]) -> None:
    progress, passed = seen(Kind.CHAT, ROLE + HI + ERROR_EVENTS[name] + HI + DONE, cuts)

    assert (progress.is_done, progress.has_error) == (False, True)
    assert progress.error is not None
    assert progress.error.message == "x"
    assert passed == ROLE + HI


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 1500), max_size=14))
def test_progress_does_not_depend_on_packets(name: str, cuts: list[int]) -> None:
    kind, events = WHOLE[name]
    text = b"".join(events) + b": bye\n\n" + events[0]
    progress, passed = seen(kind, text, cuts)

    assert (progress.is_done, progress.error, as_counted(progress.tokens())) == (True, None, (9, 4, 0))
    assert passed == b"".join(events)


@pytest.mark.parametrize(
    "text",
    [
        data({"choices": [], "error": None}),
        data({"choices": [{"finish_reason": "error"}]}),
        data({"choices": [{"error": {"message": "of this choice"}}]}),
        data({"choices": [{"delta": {"content": '"error": data: [DONE]\nevent: error'}}]}),
        b": event: error\ndata: {}\n\n",
        b'data: "error" and no JSON\n\n',
    ],
)
def test_text_that_resembles_an_error_passes(text: bytes) -> None:
    progress = Progress(Kind.CHAT)

    assert progress.see(text) == text
    assert (progress.is_done, progress.has_error) == (False, False)


def test_marks_inside_of_an_event_that_goes_by_in_parts_are_no_marks() -> None:
    progress = Progress(Kind.CHAT)
    progress.skip()
    progress.see(b"data: [DONE]")
    progress.see(b'data: [DONE]"}\n\n' + HI)
    assert (progress.is_done, progress.has_error) == (False, False)

    progress.see(DONE)
    assert progress.is_done


@pytest.mark.parametrize(
    ("kind", "events", "has_finished"),
    [
        (Kind.CHAT, [ROLE, HI], False),
        (Kind.CHAT, [ROLE, HI, delta("stop")], True),
        (Kind.CHAT, [ROLE, HI, delta("stop"), USAGE], True),
        (Kind.COMPLETION, [data({"choices": [{"index": 0, "text": "x", "finish_reason": "length"}]})], True),
        (Kind.MESSAGE, [START, TEXT_BLOCK, HELLO, BLOCK_STOP], False),
        (Kind.MESSAGE, [START, TEXT_BLOCK, HELLO, BLOCK_STOP, MESSAGE_END], True),
        (Kind.RESPONSE, [CREATED, TEXT], False),
    ],
)
def test_finish_reason_makes_a_clean_end_complete(kind: Kind, events: list[bytes], has_finished: bool) -> None:
    progress, _ = seen(kind, b"".join(events), [])

    assert (progress.is_done, progress.has_finished) == (False, has_finished)


def test_of_several_answers_each_has_to_finish() -> None:
    progress = Progress(Kind.CHAT, choices=2)
    progress.see(delta("stop"))
    assert not progress.has_finished

    progress.see(data({"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}))
    assert progress.has_finished


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.COMPLETION, Kind.MESSAGE])
def test_missing_terminator_is_one_of_the_dialect(kind: Kind) -> None:
    progress = Progress(kind)
    progress.see(progress.terminator)

    assert progress.is_done


def test_done_behind_the_end_of_a_message_is_dropped_and_one_before_it_ends_nothing() -> None:
    text = b"".join(MESSAGE)
    assert seen(Kind.MESSAGE, text + DONE, [])[1] == text

    progress, _ = seen(Kind.MESSAGE, START + MESSAGE_END + DONE, [])
    assert (progress.is_done, progress.has_finished) == (False, True)


def test_event_behind_a_stop_reason_leaves_the_message_complete() -> None:
    more = event("message_delta", delta={}, usage={"output_tokens": 9})
    progress, _ = seen(Kind.MESSAGE, START + MESSAGE_END + more, [])

    assert progress.has_finished
    assert as_counted(progress.tokens()) == (9, 9, 0)


def test_response_that_failed_is_passed_on_and_complete() -> None:
    progress, passed = seen(Kind.RESPONSE, CREATED + TEXT + FAILED, [])

    assert (progress.is_done, progress.has_error) == (True, False)
    assert progress.error is not None
    assert progress.error.code == "context_length_exceeded"
    assert passed == CREATED + TEXT + FAILED


def test_error_line_of_older_llama_cpp_is_an_error() -> None:
    progress, passed = seen(Kind.CHAT, ROLE + HI + b'error: {"code": 500, "message": "x"}\n\n', [])

    assert progress.error is not None
    assert (progress.error.message, passed) == ("x", ROLE + HI)


def test_byte_order_mark_hides_no_end() -> None:
    progress, _ = seen(Kind.CHAT, b"\xef\xbb\xbf" + delta("stop", content="hi"), [])

    assert progress.has_finished


def test_error_of_a_response_knows_the_number_of_the_event_before_it() -> None:
    progress, _ = seen(Kind.RESPONSE, CREATED + TEXT + event("error", code="server_error", message="x"), [])

    assert progress.has_error
    assert progress.sequence_number == 4


def test_null_choices_of_a_usage_chunk_become_an_empty_list() -> None:
    progress = Progress(Kind.CHAT)
    chunk = b'data: {"id": "c", "choices": null, "usage": {"prompt_tokens": 9, "completion_tokens": 4}}\n\n'

    assert progress.see(chunk) == chunk.replace(b'"choices": null', b'"choices":[]')
    assert as_counted(progress.tokens()) == (9, 4, 0)


def usage_of(kind: Kind, *events: bytes) -> tuple[int, int, int]:
    return as_counted(seen(kind, b"".join(events), [])[0].tokens())


def test_usage_of_messages_has_the_last_value_of_each_field() -> None:
    start = event("message_start", message={"usage": {"input_tokens": 90_000, "output_tokens": 1}})
    usage = {"input_tokens": 500, "cache_read_input_tokens": 89_500, "output_tokens": 10}
    end = event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)

    assert usage_of(Kind.MESSAGE, start, end, MESSAGE_STOP) == (500, 10, 89_500)
    assert usage_of(Kind.MESSAGE, start, MESSAGE_END, MESSAGE_STOP) == (90_000, 4, 0)


def test_null_in_a_later_usage_of_messages_replaces_nothing() -> None:
    end = event("message_delta", delta={}, usage={"input_tokens": None, "output_tokens": 7})

    assert usage_of(Kind.MESSAGE, START, end) == (9, 7, 0)


def test_counts_of_iterations_are_not_those_of_the_call() -> None:
    iterations = [{"input_tokens": 5000, "output_tokens": 600, "cache_read_input_tokens": 70}]
    end = event("message_delta", delta={}, usage={"output_tokens": 7, "iterations": iterations})

    assert usage_of(Kind.MESSAGE, START, end) == (9, 7, 0)


def test_chat_usage_that_is_repeated_is_the_last_one() -> None:
    chunks = [data({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": n}}) for n in (1, 2, 3)]

    assert usage_of(Kind.CHAT, *chunks) == (9, 3, 0)
    assert usage_of(Kind.CHAT, data({"choices": [], "x_groq": {"usage": {"prompt_tokens": 3}}})) == (3, 0, 0)


def test_chat_usage_in_the_last_choice_is_read_where_the_chunk_itself_has_none() -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 9, "completion_tokens": 4}}

    assert usage_of(Kind.CHAT, data({"choices": [choice]})) == (9, 4, 0)
    assert usage_of(Kind.CHAT, data({"choices": [choice], "usage": None})) == (9, 4, 0)
    assert usage_of(Kind.CHAT, data({"choices": [choice], "usage": {"prompt_tokens": 8}})) == (8, 0, 0)
    assert usage_of(Kind.CHAT, data({"choices": [{**choice, "usage": {"prompt_tokens": "3"}}]})) == (3, 0, 0)
    assert usage_of(Kind.CHAT, data({"choices": [{**choice, "usage": None}]}), USAGE) == (9, 4, 0)


def test_usage_in_a_text_is_no_usage() -> None:
    text = delta(content='{"usage": {"completion_tokens": 999}}')

    assert usage_of(Kind.CHAT, text, USAGE) == (9, 4, 0)


@pytest.mark.parametrize(
    ("kind", "event", "tokens"),
    [
        (Kind.CHAT, data({"choices": [], "usage": {"prompt_tokens": "3", "completion_tokens": 4}}), (3, 4, 0)),
        (Kind.CHAT, b'data: {"choices": [], "x": NaN, "usage": {"prompt_tokens": 3}}\n\n', (3, 0, 0)),
        (
            Kind.CHAT,
            data({"choices": [], "usage": ["prompt_tokens"], "x_groq": {"usage": {"prompt_tokens": "3"}}}),
            (3, 0, 0),
        ),
        (Kind.MESSAGE, event("message_delta", usage={"output_tokens": "4", "input_tokens": None}), (0, 4, 0)),
        (Kind.RESPONSE, event("response.completed", response={"usage": {"input_tokens": "3"}}), (3, 0, 0)),
    ],
)
def test_usage_of_imitators_is_read_as_far_as_it_can_be(kind: Kind, event: bytes, tokens: tuple[int, int, int]) -> None:
    assert usage_of(kind, event) == tokens


def test_end_next_to_odd_values_is_an_end() -> None:
    end = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": NaN}]}\n\n'

    assert seen(Kind.CHAT, HI + end, [])[0].has_finished


def test_finish_reason_error_passes_and_counts_against_the_deployment() -> None:
    progress, passed = seen(Kind.CHAT, HI + delta("error") + DONE, [])

    assert progress.error is not None
    assert (progress.is_done, progress.has_error, passed) == (True, False, HI + delta("error") + DONE)
