"""Providers with odd HTTP: legal responses are understood, illegal ones are failures, and none reaches a client."""

import json
from collections.abc import Iterator

import pytest

from loadtest.bench.rig import cpu_s
from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import (
    ANSWER,
    DONE_EVENT,
    FLOOD_MOST,
    RawProvider,
    chunk_event,
    plain,
    running_raw_provider,
    stream,
)
from tests.support.wire import DONE

PLAIN = plain(ANSWER)
STREAM = stream(chunk_event("raw"), DONE_EVENT)
LENGTH = b"content-length: %d" % len(ANSWER)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = chunk_event("raw") + DONE_EVENT


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
        b"HTTP/1.1 103 Early Hints\r\nset-cookie: a=b\r\n\r\n" * 20 + PLAIN,
        b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER,
        b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER,
        b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n\r\n" + ANSWER,
        b"HTTP/1.1 200 \xff\r\n" + LENGTH + b"\r\n\r\n" + ANSWER,
        plain(ANSWER, "201 Created"),
        CHUNKED + b"%x;a=b\r\n%b\r\n0\r\nset-cookie: a=b\r\n\r\n" % (len(ANSWER), ANSWER),
        PLAIN + plain(b'{"choices": ["of another call"]}'),
    ],
    ids=[
        "100",
        "103s",
        "1.0 without length",
        "without length",
        "no reason",
        "strange reason",
        "201",
        "extension and trailer",
        "two answers",
    ],
)
def test_odd_but_legal_answer_is_understood(replica: ReplicaProcess, raw_provider: RawProvider, answer: bytes) -> None:
    raw_provider.answer = answer
    response = replica.chat("raw")

    assert (response.status, response.body) == (200, ANSWER)
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + STREAM,
        b"HTTP/1.0 200 OK\r\n\r\n" + EVENTS,
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(EVENTS) + EVENTS,
        STREAM + STREAM,
    ],
    ids=["103", "1.0", "length", "two answers"],
)
def test_odd_but_legal_stream_is_understood(replica: ReplicaProcess, raw_provider: RawProvider, answer: bytes) -> None:
    raw_provider.answer = answer
    response = replica.chat("raw", stream=True)

    assert (response.status, response.content, response.events.count(DONE)) == (200, "raw", 1)


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        EVENTS,
        PLAIN.replace(b"HTTP/1.1", b"ICY"),
        PLAIN.replace(b"200 OK", b"2xx OK"),
        PLAIN.replace(b"200 OK", b"1000 OK"),
        PLAIN.replace(LENGTH, LENGTH + b"\r\n" + LENGTH),
        PLAIN.replace(LENGTH, LENGTH + b"\r\ncontent-length: 5"),
        PLAIN.replace(LENGTH, b"content-length: -5"),
        PLAIN.replace(LENGTH, b"content-length: 99999999999999999999999"),
        PLAIN.replace(LENGTH, b"content-length: 999999"),
        PLAIN.replace(LENGTH, LENGTH + b"\r\ntransfer-encoding: chunked"),
        CHUNKED + b"-1\r\n",
        CHUNKED + b"fffffffffffffffff\r\n" + ANSWER,
        PLAIN.replace(b"json", b"json\x00"),
        PLAIN.replace(b"json", b"json\rset-cookie: a=b"),
        plain(ANSWER, extra="x: y\r\n" * 5000),
        plain(ANSWER, "205 Reset Content"),
        plain(ANSWER, "206 Partial Content"),
        plain(ANSWER, "304 Not Modified"),
    ],
    ids=["0.9", "0.9 stream", "protocol", "status letters", "status digits", "length twice", "two lengths",
         "negative length", "endless length", "length too long", "length and chunks", "negative chunk",
         "endless chunk", "NUL in a header", "CR in a header", "headers", "205", "206", "304"],
)  # fmt: skip
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_response_that_is_not_an_answer_is_saved_by_the_fallback(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, answer: bytes, is_stream: bool
) -> None:
    raw_provider.answer = answer
    response = replica.chat("raw-saved", stream=is_stream)
    cluster.wait_until_idle()

    assert (response.status, response.headers.get("x-pllm-fallback")) == (200, "raw-saved>spare")
    assert cluster.deployment("raw-saved")["failures"] == "1"
    assert len(raw_provider.requests) == 1


@pytest.fixture
def elsewhere() -> Iterator[RawProvider]:
    """A host that answers whatever it is sent, and keeps it."""
    with running_raw_provider() as running:
        yield running


@pytest.mark.parametrize("model", ["raw-saved", "raw-claude", "azure-new"], ids=["bearer", "x-api-key", "api-key"])
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_redirect_takes_neither_key_nor_prompt_to_another_host(
    replica: ReplicaProcess,
    raw_provider: RawProvider,
    elsewhere: RawProvider,
    model: str,
    status: str,
    is_stream: bool,
) -> None:
    elsewhere.answer = STREAM if is_stream else PLAIN
    location = f"location: {elsewhere.url}/v1/chat/completions\r\n"
    raw_provider.answer = plain(b"", status, extra=location)
    answer = replica.chat(model, stream=is_stream)

    assert elsewhere.requests == []
    assert len(raw_provider.requests) == 1
    assert (answer.status, answer.headers.get("x-pllm-fallback")) in [(200, "raw-saved>spare"), (502, None)]


@pytest.mark.parametrize(("path", "model"), [("/v1/messages", "raw"), ("/v1/messages", "raw-claude")])
def test_nothing_of_a_providers_headers_reaches_a_client(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str, model: str
) -> None:
    theirs = {"set-cookie": "a=b", "x-api-key": "provider-secret", "server": "theirs", "request-id": "theirs-1"}
    extra = "".join(f"{name}: {value}\r\n" for name, value in theirs.items())
    raw_provider.answer = plain(b'{"error": {"message": "no"}}', "400 Bad", extra=extra)
    response = replica.request(
        "POST",
        path,
        b'{"model": "%b", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}' % model.encode(),
    )

    assert (response.status, response.json()["type"]) == (400, "error")
    assert response.headers["x-pllm-provider-request-id"] == "theirs-1"
    assert not set(theirs.values()) & set(response.headers.values()) - {"theirs-1"}


@pytest.mark.parametrize(
    "unasked",
    [plain(b'{"choices": ["of another call"]}'), b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", b"garbage"],
    ids=["an answer", "half a head", "garbage"],
)
def test_unrequested_bytes_are_not_the_answer_to_the_next_call(
    replica: ReplicaProcess, raw_provider: RawProvider, unasked: bytes
) -> None:
    """On a connection that waits for it: which may be another tenant's."""
    raw_provider.answer, raw_provider.rest, raw_provider.is_holding = PLAIN, unasked, True
    first = replica.chat("raw")
    raw_provider.go.set()
    wait_until(lambda: raw_provider.left == 1)
    raw_provider.rest, raw_provider.is_holding = b"", False
    second = replica.chat("raw")

    assert (first.body, second.body) == (ANSWER, ANSWER)


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("size", [0, 300_000], ids=["small", "large"])
def test_answer_behind_the_last_packet_of_another_is_not_the_next_ones(
    replica: ReplicaProcess, raw_provider: RawProvider, is_stream: bool, size: int
) -> None:
    """The connection is released while that packet is parsed."""
    whole = STREAM if is_stream else CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ANSWER), ANSWER)
    start = whole.removesuffix(b"0\r\n\r\n")
    other = plain(b'{"choices": ["of another call"]}') + b"\r\n" * size
    raw_provider.answer, raw_provider.drips, raw_provider.keeps = start, [b"0\r\n\r\n" + other], 1
    first = replica.chat("raw", stream=is_stream)
    raw_provider.answer, raw_provider.drips = PLAIN, []
    second = replica.chat("raw")

    assert (first.status, first.content, second.body) == (200, "raw", ANSWER)


@pytest.mark.parametrize("content_type", ["text/html", "\x01\x7f", "x" * 8000])
def test_content_type_is_ours(replica: ReplicaProcess, raw_provider: RawProvider, content_type: str) -> None:
    raw_provider.answer = plain(ANSWER, content_type=content_type)

    assert replica.chat("raw").headers["content-type"] == "application/json"


def test_refusal_is_bounded_and_without_our_key(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    error = {"message": "provider-secret is wrong " + "x" * 9000, "type": "t" * 9000, "code": "provider-secret"}
    raw_provider.answer = plain(json.dumps({"error": error | {"param": "p" * 9000}}).encode(), "400 Bad Request")
    response = replica.chat("raw")

    assert (response.status, response.error["code"], response.error["message"][:12]) == (400, "***", "*** is wrong")
    assert len(response.body) < 3000


FLOODS = (b" " * 65_536, b"data: " * 10_000, b": ping\n\n" * 8000)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize(
    ("is_stream", "status", "flood"),
    [
        *((False, status, flood) for status in ("200 OK", "500 Oops") for flood in FLOODS),
        *((True, "500 Oops", flood) for flood in FLOODS),
        (True, "200 OK", FLOODS[0]),
    ],
)
def test_answer_without_end_is_given_up_before_it_fills_the_memory(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str, is_stream: bool, status: str, flood: bytes
) -> None:
    raw_provider.answer = f"HTTP/1.1 {status}\r\nserver: raw\r\n\r\n".encode()
    raw_provider.flood = flood
    body = {"model": "raw-saved", "stream": is_stream, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = replica.request("POST", path, json.dumps(body).encode())

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-saved>spare")
    assert raw_provider.flooded < FLOOD_MOST // 2


@pytest.mark.parametrize("flood", FLOODS[1:], ids=["data", "pings"])
def test_stream_that_is_too_long_to_be_held_is_passed_on(
    replica: ReplicaProcess, raw_provider: RawProvider, flood: bytes
) -> None:
    raw_provider.answer = b"HTTP/1.1 200 OK\r\nserver: raw\r\n\r\n"
    raw_provider.flood = flood
    with replica.begin_chat("raw-saved", stream=True) as call:
        head = call.read_until(b"\r\n\r\n")

    assert b"x-pllm-deployment: raw-saved" in head


ENDLESS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "line of an interim answer": (b"HTTP/1.1 103 Early Hints\r\nx: ", b"y" * 65_536),
    "blank lines": (b"", b"\r\n" * 30_000),
    "reason": (b"HTTP/1.1 200 ", b"y" * 65_536),
    "header": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65_536),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 8000),
    "extension": (CHUNKED + b"5;", b"y" * 65_536),
    "tiny chunks": (CHUNKED, b"1\r\n \r\n" * 8000),
    "trailer": (CHUNKED + b"%x\r\n%b\r\n0\r\nx: " % (len(ANSWER), ANSWER), b"y" * 65_536),
    "trailers": (CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(ANSWER), ANSWER), b"x: y\r\n" * 8000),
}


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("start", "more"), ENDLESS.values(), ids=ENDLESS)
def test_bytes_without_end_that_are_no_body_break_an_answer(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, start: bytes, more: bytes, is_stream: bool
) -> None:
    raw_provider.answer, raw_provider.flood = start, more
    before = cpu_s(replica.process.pid)
    answer = replica.chat("raw-saved", stream=is_stream)
    cluster.wait_until_idle()

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-saved>spare")
    assert raw_provider.flooded < 16 * 1_048_576  # what the system's buffers hold is among it
    assert cpu_s(replica.process.pid) - before < 1.0


@pytest.mark.parametrize(("count", "is_saved"), [(100, False), (101, True)])
def test_at_most_a_hundred_interim_answers_are_read(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, count: int, is_saved: bool
) -> None:
    raw_provider.answer = b"HTTP/1.1 100 Continue\r\n\r\n" * count + PLAIN
    answer = replica.chat("raw-saved")
    cluster.wait_until_idle()

    assert (answer.status, "x-pllm-fallback" in answer.headers) == (200, is_saved)


def test_chunk_that_is_malformed_in_a_later_packet_ends_the_answer_at_once(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer, raw_provider.drips = CHUNKED + b"1\r\n \r\n", [b"-1\r\n"]
    raw_provider.is_holding = True
    answer = replica.chat("raw-saved")
    cluster.wait_until_idle()

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-saved>spare")


def test_one_byte_a_chunk_is_an_answer(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    body = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 6_000}}]}).encode()
    raw_provider.answer = CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    assert replica.chat("raw").body == body


def test_bytes_after_an_answer_do_not_affect_it(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(ANSWER, extra="connection: keep-alive\r\n") + b"garbage" * 100

    assert replica.chat("raw").body == ANSWER
