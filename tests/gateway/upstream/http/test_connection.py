"""RFC 9112 for a client, as a table: what is an answer, what is not, and where an answer ends."""

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.fault_words import fault_words
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.connection import Connection
from gateway.upstream.http.faults import BodyBroken, Disconnected, EndlessAnswer, HeadTooLarge, HttpFault, NotHttp
from gateway.upstream.http.request import request
from gateway.upstream.http.response import Response
from tests.support.http_servers import CONNECT_S, answering, cut, fetched, listening, received, request_of

OK = b"HTTP/1.1 200 OK\r\n"
GOOD = OK + b"content-length: 2\r\n\r\n{}"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"

ANSWERS: dict[str, tuple[bytes, tuple[int, bytes]]] = {
    "length": (GOOD, (200, b"{}")),
    "length of nothing": (OK + b"content-length: 0\r\n\r\n", (200, b"")),
    "no reason": (GOOD.replace(b" OK", b""), (200, b"{}")),
    "bytes above 127 in the reason": (GOOD.replace(b"OK", b"\xff\xfe"), (200, b"{}")),
    "bytes above 127 in a value": (OK + b"x: \xff\r\ncontent-length: 2\r\n\r\n{}", (200, b"{}")),
    "spaces around a value": (OK + b"content-length: \t 2 \t\r\n\r\n{}", (200, b"{}")),
    "empty value": (OK + b"x:\r\ncontent-length: 2\r\n\r\n{}", (200, b"{}")),
    "names in capitals": (OK + b"CONTENT-LENGTH: 2\r\n\r\n{}", (200, b"{}")),
    "folded header": (OK + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\n{}", (200, b"{}")),
    "control byte in a value": (OK + b"x: a\x01b\r\ncontent-length: 2\r\n\r\n{}", (200, b"{}")),
    "space before a colon": (OK + b"Content-Length : 2\r\n\r\n{}", (200, b"{}")),
    "space before the colon of chunks": (
        OK + b"transfer-encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        (200, b"{}"),
    ),
    "line ends without CR": (GOOD.replace(b"\r", b""), (200, b"{}")),
    "blank lines before": (b"\r\n\r\n" + GOOD, (200, b"{}")),
    "until the end": (OK + b"\r\n{}", (200, b"{}")),
    "1.0 until the end": (b"HTTP/1.0 200 OK\r\n\r\n{}", (200, b"{}")),
    "1.0 with length": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", (200, b"{}")),
    "identity": (OK + b"transfer-encoding: identity\r\n\r\n{}", (200, b"{}")),
    "chunks": (CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", (200, b"{}")),
    "Chunked": (CHUNKED.replace(b"chunked", b"Chunked") + b"2\r\n{}\r\n0\r\n\r\n", (200, b"{}")),
    "chunked twice": (
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        (200, b"{}"),
    ),
    "size in capitals": (CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", (200, b"0123456789")),
    "size with zeros": (CHUNKED + b"0002\r\n{}\r\n000\r\n\r\n", (200, b"{}")),
    "padded size": (CHUNKED + b"2   \r\n{}\r\n0\r\n\r\n", (200, b"{}")),
    "extensions": (CHUNKED + b'2;a;b=c;d="e;f"\r\n{}\r\n0;x\r\n\r\n', (200, b"{}")),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\nx: y\r\n\r\n", (200, b"{}")),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n" + GOOD, (200, b"{}")),
    "interim answer with a length": (b"HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\n" + GOOD, (200, b"{}")),
    "101": (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{}", (101, b"")),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{}", (204, b"")),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n", (304, b"")),
    "599": (b"HTTP/1.1 599 Odd\r\ncontent-length: 2\r\n\r\n{}", (599, b"{}")),
    "bytes after it": (GOOD + b"garbage", (200, b"{}")),
    "bytes after it although it closes": (
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\n{}garbage",
        (200, b"{}"),
    ),
    "another answer after it": (GOOD + OK + b"content-length: 3\r\n\r\nbad", (200, b"{}")),
}
FAULTS: dict[str, tuple[bytes, type[HttpFault], str]] = {
    "nothing": (b"", Disconnected, "connection closed before the answer"),
    "a byte": (b"H", Disconnected, "connection closed before the answer"),
    "half a head": (OK + b"x: y\r\n", Disconnected, "connection closed before the answer"),
    "interim answers only": (b"HTTP/1.1 100 Continue\r\n\r\n", Disconnected, "connection closed before the answer"),
    "0.9": (b"{}", NotHttp, "answer is not HTTP"),
    "version 0.9": (b"HTTP/0.9 200 OK\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "version 1.2": (b"HTTP/1.2 200 OK\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "version 2.0": (b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "RTSP": (b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "ICE": (b"ICE/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "ICY": (b"ICY 200 OK\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "http": (b"http/1.1 200 OK\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "two digits": (b"HTTP/1.1 20 OK\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "four digits": (b"HTTP/1.1 2000 OK\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "099": (b"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "space before the colon": (OK + b"x : 2\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "no colon": (OK + b"x\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "no name": (OK + b": x\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "CR in a value": (OK + b"x: y\rz: a\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "NUL in a value": (OK + b"x: \0\r\ncontent-length: 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "two equal lengths": (OK + b"content-length: 2\r\n" * 2 + b"\r\n{}", NotHttp, "answer is not HTTP"),
    "two lengths": (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "list of lengths": (OK + b"content-length: 2, 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "folded length": (OK + b"content-length: 2\r\n 2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "empty length": (OK + b"content-length:\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "signed length": (OK + b"content-length: +2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "negative length": (OK + b"content-length: -2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "length in hex": (OK + b"content-length: 0x2\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "huge length": (OK + b"content-length: 99999999999999999999\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "length, then chunks": (
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        NotHttp,
        "answer is not HTTP",
    ),
    "chunks, then length": (
        OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        NotHttp,
        "answer is not HTTP",
    ),
    "gzip, chunked": (OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", NotHttp, "answer is not HTTP"),
    "chunked, gzip": (OK + b"transfer-encoding: chunked, gzip\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "unknown coding": (OK + b"transfer-encoding: xchunked\r\n\r\n{}", NotHttp, "answer is not HTTP"),
    "line too long": (OK + b"x: " + b"y" * 140_000 + b"\r\n\r\n", HeadTooLarge, "answer headers too long"),
    "too many headers": (OK + b"x: y\r\n" * 513 + b"\r\n", HeadTooLarge, "answer headers too long"),
    "too many interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\n" * 101 + GOOD,
        EndlessAnswer,
        "answer with headers, trailers or chunks without end",
    ),
    "body cut": (OK + b"content-length: 3\r\n\r\n{}", BodyBroken, "answer cut short"),
    "chunk cut": (CHUNKED + b"3\r\n{}", BodyBroken, "answer cut short"),
    "no last chunk": (CHUNKED + b"2\r\n{}\r\n", BodyBroken, "answer cut short"),
    "half a last chunk": (CHUNKED + b"2\r\n{}\r\n0\r\n\r", BodyBroken, "answer cut short"),
    "chunk longer than its size": (CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n", BodyBroken, "answer cut short"),
    "no size": (CHUNKED + b"\r\n{}\r\n", BodyBroken, "answer cut short"),
    "size in letters": (CHUNKED + b"zz\r\n", BodyBroken, "answer cut short"),
    "negative size": (CHUNKED + b"-1\r\n", BodyBroken, "answer cut short"),
    "size with 0x": (CHUNKED + b"0x2\r\n{}\r\n", BodyBroken, "answer cut short"),
    "huge size": (CHUNKED + b"fffffffffffffffff\r\n", BodyBroken, "answer cut short"),
    "size without CR": (CHUNKED + b"2\n{}\n0\n\n", BodyBroken, "answer cut short"),
    "extension without end": (
        CHUNKED + b"2;" + b"x" * 60_000,
        EndlessAnswer,
        "answer with headers, trailers or chunks without end",
    ),
    "trailers without end": (
        CHUNKED + b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 10_000,
        EndlessAnswer,
        "answer with headers, trailers or chunks without end",
    ),
}


@pytest.mark.parametrize(("sent", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_answer_is_understood(sent: bytes, answer: tuple[int, bytes]) -> None:
    assert asyncio.run(received(sent)) == [answer]


@pytest.mark.parametrize(("sent", "kind", "words"), FAULTS.values(), ids=FAULTS)
def test_fault_is_named(sent: bytes, kind: type[HttpFault], words: str) -> None:
    with pytest.raises(HttpFault) as caught:
        asyncio.run(received(sent))

    assert (type(caught.value), fault_words(caught.value)) == (kind, words)


class Owned:
    """A connection without a network, and what becomes of it."""

    def __init__(self) -> None:
        self.connection = Connection(self)
        self.pipe = Pipe()
        self.connection.connection_made(self.pipe)
        self.kept = 0
        self.is_lost = False

    def finished(self, connection: Connection, keep_alive_s: int | None) -> None:
        self.kept += 1

    def lost(self, connection: Connection) -> None:
        self.is_lost = True


class Pipe(asyncio.Transport):
    """A transport that writes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unwritten = 0
        self.is_closed = False
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


async def outcome(segments: list[bytes]) -> tuple[object, bytes, bool]:
    """Returns status or fault, body and whether the connection is kept, of an answer in these segments before the
    server closes.
    """
    owned = Owned()
    sending = asyncio.create_task(owned.connection.send(b"", b""))
    await asyncio.sleep(0)
    for segment in segments:
        if not owned.pipe.is_closed:
            owned.connection.data_received(segment)
    is_kept = owned.kept == 1 and not owned.pipe.is_closed
    owned.connection.connection_lost(None)
    body = b""
    try:
        response = await sending
        while part := await response.chunk():
            body += part
    except HttpFault as fault:
        return fault_words(fault), body, is_kept
    return response.status, body, is_kept


SENT = [*(sent for sent, _ in ANSWERS.values()), *(sent for sent, _, _ in FAULTS.values() if len(sent) < 2000)]


@given(st.sampled_from(SENT), st.lists(st.integers(1, 120), max_size=8))
def test_outcome_does_not_depend_on_segments(sent: bytes, places: list[int]) -> None:
    async def compared() -> tuple[object, object]:
        return await outcome([sent] if sent else []), await outcome(cut(sent, places) if sent else [])

    at_once, in_parts = asyncio.run(compared())

    assert in_parts == at_once


KEPT: dict[str, tuple[bytes, bool]] = {
    "length": (GOOD, True),
    "chunks": (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "close": (OK + b"connection: close\r\ncontent-length: 2\r\n\r\n{}", False),
    "close among others": (OK + b"connection: x, Close\r\ncontent-length: 2\r\n\r\n{}", False),
    "1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", False),
    "1.0 keep-alive": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}", True),
    "101": (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", False),
    "another answer": (GOOD + GOOD, False),
    "garbage": (GOOD + b"x", False),
}


@pytest.mark.parametrize(("sent", "is_kept"), KEPT.values(), ids=KEPT)
def test_connection_is_kept_only_after_an_answer_that_allows_it_and_ends_it(sent: bytes, is_kept: bool) -> None:
    assert asyncio.run(outcome([sent]))[2] is is_kept


def test_connection_whose_request_is_not_sent_as_a_whole_is_not_kept() -> None:
    async def run() -> tuple[int, bool]:
        owned = Owned()
        sending = asyncio.create_task(owned.connection.send(b"", b""))
        await asyncio.sleep(0)
        owned.pipe.unwritten = 1
        owned.connection.data_received(GOOD)
        await sending
        return owned.kept, owned.pipe.is_closed

    assert asyncio.run(run()) == (0, True)


def test_bytes_close_a_connection_that_is_idle() -> None:
    async def run() -> bool:
        owned = Owned()
        owned.connection.data_received(GOOD)
        return owned.pipe.is_closed

    assert asyncio.run(run())


@pytest.mark.parametrize("is_complete", [False, True])
def test_cancelled_call_closes_its_connection_but_not_the_next_calls(is_complete: bool) -> None:
    """A complete answer releases its connection at once, so another call may have it before the cancellation comes."""

    async def run() -> tuple[bool, bool]:
        owned = Owned()
        first = asyncio.create_task(owned.connection.send(b"", b""))
        await asyncio.sleep(0)
        owned.connection.data_received(GOOD if is_complete else GOOD[:-1])
        second = None
        if is_complete:
            second = asyncio.create_task(owned.connection.send(b"", b""))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        was_closed = owned.pipe.is_closed
        if second is None:
            return was_closed, False
        owned.connection.data_received(GOOD)
        return was_closed, (await second).status == 200

    assert asyncio.run(run()) == ((False, True) if is_complete else (True, False))


def test_head_that_arrives_between_a_cancellation_and_its_effect_closes_the_connection() -> None:
    async def run() -> bool:
        owned = Owned()
        sending = asyncio.create_task(owned.connection.send(b"", b""))
        await asyncio.sleep(0)
        sending.cancel()
        owned.connection.data_received(GOOD[:-1])
        with pytest.raises(asyncio.CancelledError):
            await sending
        return owned.pipe.is_closed

    assert asyncio.run(run())


def test_late_reader_pauses_the_connection() -> None:
    async def run() -> list[bool]:
        owned = Owned()
        sending = asyncio.create_task(owned.connection.send(b"", b""))
        await asyncio.sleep(0)
        owned.connection.data_received(OK + b"content-length: 9000000\r\n\r\n")
        response = await sending
        paused = []
        for _ in range(2):
            owned.connection.data_received(b"x" * 8192 * 8)
            paused.append(owned.pipe.is_paused)
        owned.connection.data_received(b"x")
        paused.append(owned.pipe.is_paused)
        await response.chunk()
        await asyncio.sleep(0)
        paused.append(owned.pipe.is_paused)
        return paused

    assert asyncio.run(run()) == [False, False, True, False]


def test_defect_of_a_sink_belongs_to_its_reader() -> None:
    def broken(_: bytes) -> bool:
        raise KeyError("a defect")

    async def run() -> Response:
        async with listening(answering(OK + b"content-length: 4\r\n\r\n{}", b"{}")) as port, HttpClient() as http:
            response = await http.send(request("POST", f"http://127.0.0.1:{port}/"), b"", CONNECT_S)
            try:
                await response.pass_on(broken)
            finally:
                response.close()
            return response

    with pytest.raises(KeyError, match="a defect"):
        asyncio.run(run())


BODY = random.Random(7).randbytes(3_000_000)


def chunked(size: int) -> bytes:
    parts = (BODY[at : at + size] for at in range(0, len(BODY), size))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return CHUNKED + chunks + b"0\r\n\r\n"


LARGE = {
    "length": OK + b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "until the end": OK + b"\r\n" + BODY,
    "large chunks": chunked(1_000_000),
    "small chunks": chunked(50),
    "after interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 90 + chunked(5000),
}


async def read_late(answer: bytes, pause: Callable[[], float]) -> bytes:
    parts = []
    async with listening(answering(answer)) as port, HttpClient() as http:
        response = await http.send(request("POST", f"http://127.0.0.1:{port}/"), b"x", CONNECT_S)
        while part := await response.chunk():
            parts.append(part)
            await asyncio.sleep(pause())
    return b"".join(parts)


@pytest.mark.parametrize("longest_s", [0.0, 0.002], ids=["ready", "late"])
@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE)
def test_large_answer_arrives_whole_however_late_its_reader_is(answer: bytes, longest_s: float) -> None:
    rng = random.Random(3)

    assert asyncio.run(read_late(answer, lambda: rng.random() * longest_s)) == BODY


def test_large_request_is_sent_whole() -> None:
    seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(GOOD)

    async def run() -> tuple[int, bytes]:
        async with listening(handle) as port, HttpClient() as http:
            return await fetched(http, f"http://127.0.0.1:{port}/", BODY)

    assert asyncio.run(run()) == (200, b"{}")
    assert seen[0].partition(b"\r\n\r\n")[2] == BODY
