"""Usage that a client did not request is not in its stream."""

import json

import pytest

from gateway.upstream.dialects.usage import without_usage

TEXT = b'{"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}'
COUNTS = b'"usage":{"prompt_tokens":1,"completion_tokens":2}'
ALONE = b'{"id":"c","choices":[],%b}' % COUNTS
DONE = b"data: [DONE]\n\n"


def event(data: bytes, before: bytes = b"", end: bytes = b"\n") -> bytes:
    return before + b"data: " + data + end * 2


def test_stream_without_usage_keeps_its_bytes() -> None:
    events = event(TEXT) + b": ping\n\n" + DONE

    assert without_usage(events) is events


def test_null_as_openai_writes_it_leaves_every_other_byte() -> None:
    events = event(TEXT[:-1] + b',"usage":null,"obfuscation":"x"}') + event(TEXT[:-1] + b',"usage":null}')

    assert without_usage(events) == events.replace(b',"usage":null', b"")


@pytest.mark.parametrize(
    "data",
    [
        TEXT[:-1] + b', "usage": null}',
        TEXT[:-1] + b' ,\t"usage" : null }',
        b'{"usage":null,' + TEXT[1:],
        b'{ "usage": null, ' + TEXT[1:],
        TEXT[:10] + b'"usage": null, ' + TEXT[10:],
        TEXT[:10] + b'\ndata: "usage": null,\ndata:' + TEXT[10:],
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_null_is_taken_out_wherever_it_stands(data: bytes, end: bytes) -> None:
    rest = without_usage(event(data, b"id: 7" + end, end) + DONE)

    assert rest.startswith(b"id: 7" + end + b"data: {")
    assert rest.endswith(DONE)
    assert json.loads(rest.splitlines()[1][5:]) == json.loads(TEXT)
    assert rest.count(b"\n\n") + rest.count(b"\r\n\r\n") == 2


@pytest.mark.parametrize("before", [b"", b"id: 7\n", b"event: message\n", b": counted\nid: 7\n", b"retry: 9\n"])
@pytest.mark.parametrize(
    "data",
    [
        ALONE,
        b'{"choices": [ ], %b}' % COUNTS,
        b'{%b, "choices": []}' % COUNTS,
        b'{"choices": null, %b}' % COUNTS,
        b'{"object": "chunk", %b}' % COUNTS,
        b'{"choices":[],\ndata: %b}' % COUNTS,
    ],
)
def test_chunk_of_nothing_but_usage_is_dropped_with_its_event(data: bytes, before: bytes) -> None:
    assert without_usage(event(TEXT) + event(data, before) + DONE) == event(TEXT) + DONE


@pytest.mark.parametrize(
    "data",
    [
        TEXT[:-1] + b"," + COUNTS + b"}",
        b'{"choices":[{"index":0,"delta":{"content":"\\"usage\\": null"}}]}',
        b'{"choices":[{"index":0,"delta":{},"x":{"usage": null}}]}',
        b'{"error":{"message":"x"},"choices":[],%b}' % COUNTS,
        b'{"usage": null',
        b'["usage", null]',
        b'{"choices":["\xff"],%b}' % COUNTS,
    ],
)
def test_event_with_anything_but_usage_keeps_its_bytes(data: bytes) -> None:
    events = event(data, b"id: 7\n") + DONE

    assert without_usage(events) == events


def test_one_event_of_many_is_dropped() -> None:
    others = event(TEXT) + b": ping\n\n"

    assert without_usage(others + event(ALONE) + others + DONE) == others * 2 + DONE
