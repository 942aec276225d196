"""Answers that providers compress although `identity` was requested reach clients as plain ones do."""

import gzip
import json

import pytest

from tests.gateway.http.test_content_codings import COMPRESS
from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import ANSWER, DONE_EVENT, RawProvider, chunk_event, plain
from tests.support.wire import DONE

CODINGS = list(COMPRESS)
LARGE = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "raw" * 300_000}}]}).encode()
WORDS = [f"word {n} " for n in range(5_000)]
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\ncontent-encoding: %b\r\n\r\n"
)


def chunks(data: bytes, size: int) -> bytes:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def encoded(body: bytes, coding: str, status: str = "200 OK") -> bytes:
    return plain(COMPRESS[coding](body), status, extra=f"content-encoding: {coding}\r\n")


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("body", [ANSWER, LARGE], ids=["small", "large"])
def test_plain_answer_is_decoded(replica: ReplicaProcess, raw_provider: RawProvider, coding: str, body: bytes) -> None:
    raw_provider.answer = encoded(body, coding)
    answer = replica.chat("raw")

    assert (answer.status, answer.body) == (200, body)
    assert "content-encoding" not in answer.headers
    assert b"accept-encoding: identity" in raw_provider.requests[0][0]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [1, 700, 1 << 20])
def test_stream_is_decoded_however_it_is_cut(
    replica: ReplicaProcess, raw_provider: RawProvider, coding: str, size: int
) -> None:
    words = WORDS[:50] if size == 1 else WORDS
    packed = COMPRESS[coding](b"".join(map(chunk_event, words)) + DONE_EVENT)
    raw_provider.answer = HEAD % coding.encode() + chunks(packed, size) + b"0\r\n\r\n"
    answer = replica.chat("raw", stream=True)

    assert (answer.status, answer.content, answer.events[-1]) == (200, "".join(words), DONE)


def test_event_of_a_compressed_stream_arrives_before_the_next_is_sent(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    packer = COMPRESS["gzip"](chunk_event("first")), COMPRESS["gzip"](chunk_event(" last") + DONE_EVENT)
    raw_provider.answer = HEAD % b"gzip" + chunks(packer[0], 1 << 20)
    raw_provider.rest = chunks(packer[1], 1 << 20) + b"0\r\n\r\n"
    with replica.begin_chat("raw", stream=True) as call:
        call.peek_until(b"first")
        raw_provider.go.set()

        assert call.answer().content == "first last"


@pytest.mark.parametrize("coding", CODINGS)
def test_error_is_decoded(replica: ReplicaProcess, raw_provider: RawProvider, coding: str) -> None:
    error = {"message": "no such field", "type": "invalid_request_error", "param": "x", "code": "odd"}
    raw_provider.answer = encoded(json.dumps({"error": error}).encode(), coding, "400 Bad Request")
    answer = replica.chat("raw")

    assert (answer.status, answer.error["message"], answer.error["code"]) == (400, "no such field", "odd")


def test_unknown_coding_is_left_as_it_is(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(ANSWER, extra="content-encoding: utf-8\r\n")

    assert replica.chat("raw").body == ANSWER


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", ["not encoded", "cut"])
def test_damaged_answer_is_saved_by_the_fallback(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, is_stream: bool, coding: str, kind: str
) -> None:
    body = b"\xff" * 40 if kind == "not encoded" else COMPRESS[coding](ANSWER)[:20]
    raw_provider.answer = plain(body, extra=f"content-encoding: {coding}\r\n")
    answer = replica.chat("raw-saved", stream=is_stream)
    cluster.wait_until_idle()

    assert (answer.status, answer.headers.get("x-pllm-fallback")) == (200, "raw-saved>spare")
    assert cluster.deployment("raw-saved")["failures"] == "1"


def test_answer_that_decodes_to_too_many_bytes_is_refused_while_others_are_served(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = plain(gzip.compress(bytes(200_000_000)), extra="content-encoding: gzip\r\n")
    answer = replica.chat("raw")

    assert answer.json()["error"]["attempts"][0]["outcome"] == "cancelled"
    assert "64 MiB" in answer.text
    wait_until(lambda: replica.chat().status == 200)
