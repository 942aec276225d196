"""HTTP/2 as RFC 9113 and RFC 7541 have it: every case of h2spec (generic, http2, hpack), and what the server makes of
it. Cases that need an answer first, or windows, have tests of their own below the table.

`connection: CODE` is a GOAWAY, after which the connection is closed, `stream: CODE` a RST_STREAM. Where the RFC demands
a stream error, h2spec accepts a connection error of the same code as well, and `h2` makes one of every malformed
request: those rows have `connection`. No row fails by h2spec's measure.
"""

from collections.abc import Iterator

import pytest
from hyperframe.frame import DataFrame

from gateway.http.http2.bounds import STREAMS_MOST
from gateway.http.http2.frames import PREFACE
from tests.support.h2_wire import (
    END_HEADERS,
    END_STREAM,
    GET,
    POST,
    H2Wire,
    block,
    client_context,
    data,
    frame,
    headers,
    number,
    settings,
)
from tests.support.tls_server import Echo, Identity, TlsServer, echoing, identity

__all__ = ["identity"]

PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(2, 10)
ACK = 0x1
PADDED, WITH_PRIORITY = 0x8, 0x20
OPEN = headers(1, POST, END_HEADERS)  # a request whose body is awaited
BLOCK = block()
PROTOCOL, SIZE = "connection: PROTOCOL_ERROR", "connection: FRAME_SIZE_ERROR"
COMPRESSION, FLOW = "connection: COMPRESSION_ERROR", "connection: FLOW_CONTROL_ERROR"
CLOSED, OK = "connection: STREAM_CLOSED", "status 200"
LARGE_WINDOW = number(2**31 - 1)
HUFFMAN = b"\x00\x85\xf2\xb2\x4a\x84\xff"  # a literal whose name is `x-test`, in Huffman's code
TRAILERS = (("x-trailer", "1"),)


def with_(*more: tuple[str, str]) -> bytes:
    return headers(1, (*GET, *more))


def without(name: str) -> bytes:
    return headers(1, tuple(field for field in GET if field[0] != name))


def twice(name: str) -> bytes:
    return headers(1, (*(field for field in GET if field[0] == name), *GET))


def indexed(*bytes_: int) -> bytes:
    """A request with a field more, as HPACK writes it."""
    return frame(0x1, END_STREAM | END_HEADERS, 1, BLOCK + bytes(bytes_))


def literal(first: int, name: bytes = b"") -> bytes:
    named = bytes([len(name)]) + name if name else b""
    return indexed(first, *named, 1, *b"v")


# Suite, section, what is sent, the bytes, the outcome.
RULES: tuple[tuple[str, str, str, bytes, str], ...] = (
    ("generic", "1", "preface and SETTINGS", b"", "ignored"),
    ("generic", "2", "PRIORITY on an idle stream", frame(PRIORITY, 0, 1, number(0) + b"\xff") + headers(1), OK),
    ("generic", "2", "WINDOW_UPDATE, half-closed", headers(1) + frame(WINDOW_UPDATE, 0, 1, number(100)), OK),
    ("generic", "2", "PRIORITY, half-closed", headers(1) + frame(PRIORITY, 0, 1, number(0) + b"\xff"), OK),
    ("generic", "2", "RST_STREAM, half-closed", headers(1) + frame(RST_STREAM, 0, 1, number(8)), "ignored"),
    (
        *("generic", "2", "PRIORITY on a closed stream"),
        OPEN + frame(RST_STREAM, 0, 1, number(8)) + frame(PRIORITY, 0, 1, number(0) + b"\xff"),
        "ignored",
    ),
    ("generic", "3.1", "DATA", OPEN + data(1, b"test", END_STREAM), OK),
    ("generic", "3.1", "several DATA", OPEN + data(1, b"test") + data(1, b"test", END_STREAM), OK),
    ("generic", "3.1", "padded DATA", OPEN + data(1, b"\x06test" + bytes(6), END_STREAM | PADDED), OK),
    ("generic", "3.2", "HEADERS", headers(1), OK),
    ("generic", "3.2", "padded HEADERS", frame(1, 0x5 | PADDED, 1, b"\x06" + BLOCK + bytes(6)), OK),
    ("generic", "3.2", "HEADERS with priority", frame(1, 0x5 | WITH_PRIORITY, 1, number(0) + b"\xff" + BLOCK), OK),
    ("generic", "3.3", "PRIORITY, weight 1", frame(PRIORITY, 0, 1, number(0) + b"\x00") + headers(1), OK),
    ("generic", "3.3", "PRIORITY, weight 256", frame(PRIORITY, 0, 1, number(0) + b"\xff") + headers(1), OK),
    ("generic", "3.3", "PRIORITY with a dependency", frame(PRIORITY, 0, 1, number(3) + b"\xff") + headers(1), OK),
    (
        *("generic", "3.3", "exclusive PRIORITY"),
        frame(PRIORITY, 0, 1, number(2**31 + 3) + b"\xff") + headers(1),
        OK,
    ),
    (
        *("generic", "3.3", "PRIORITY on an idle stream, HEADERS on a lower one"),
        frame(PRIORITY, 0, 5, number(0) + b"\xff") + headers(3),
        OK,
    ),
    ("generic", "3.4", "RST_STREAM", OPEN + frame(RST_STREAM, 0, 1, number(8)), "ignored"),
    ("generic", "3.5", "SETTINGS", settings([(3, 100)]), "ignored"),
    ("generic", "3.7", "PING", frame(PING, 0, 0, b"h2spec\0\0"), "ignored"),
    ("generic", "3.8", "GOAWAY", frame(GOAWAY, 0, 0, number(0) + number(0)), "closed"),
    ("generic", "3.9", "WINDOW_UPDATE on stream 0", frame(WINDOW_UPDATE, 0, 0, number(1)) + headers(1), OK),
    ("generic", "3.9", "WINDOW_UPDATE on stream 1", OPEN + frame(WINDOW_UPDATE, 0, 1, number(1)), "ignored"),
    ("generic", "3.10", "CONTINUATION", frame(1, 1, 1, BLOCK[:4]) + frame(CONTINUATION, 4, 1, BLOCK[4:]), OK),
    (
        *("generic", "3.10", "several CONTINUATION"),
        frame(1, 1, 1, BLOCK[:4]) + frame(CONTINUATION, 0, 1, BLOCK[4:9]) + frame(CONTINUATION, 4, 1, BLOCK[9:]),
        OK,
    ),
    ("generic", "4", "GET", headers(1), OK),
    ("generic", "4", "HEAD", headers(1, ((":method", "HEAD"), *GET[1:])), OK),
    ("generic", "4", "POST", OPEN + data(1, b"test", END_STREAM), OK),
    ("generic", "4", "POST with trailers", OPEN + data(1, b"test") + headers(1, TRAILERS), OK),
    ("generic", "5", "indexed field", indexed(0x90), OK),
    ("generic", "5", "literal, incremental, indexed name", literal(0x60), OK),
    ("generic", "5", "literal, incremental, new name", literal(0x40, name=b"x-test"), OK),
    ("generic", "5", "literal, not indexed, indexed name", indexed(0x0F, 4, 1, *b"v"), OK),
    ("generic", "5", "literal, not indexed, new name", literal(0x00, name=b"x-test"), OK),
    ("generic", "5", "literal, never indexed, indexed name", indexed(0x1F, 4, 1, *b"v"), OK),
    ("generic", "5", "literal, never indexed, new name", literal(0x10, name=b"x-test"), OK),
    ("generic", "5", "update of the table's size", frame(1, 5, 1, b"\x20" + BLOCK), OK),
    ("generic", "5", "two updates of the table's size", frame(1, 5, 1, b"\x20\x30" + BLOCK), OK),
    ("http2", "4.1", "frame of unknown type", frame(0xFF, 0, 0, bytes(8)), "ignored"),
    ("http2", "4.1", "undefined flags", frame(PING, 0x16, 0, bytes(8)), "ignored"),
    ("http2", "4.1", "reserved bit", frame(PING, 0, 2**31, bytes(8)), "ignored"),
    ("http2", "4.2", "DATA of 2^14 bytes", OPEN + data(1, bytes(2**14), END_STREAM), OK),
    ("http2", "4.2", "DATA that is too large", OPEN + data(1, bytes(2**14 + 1), END_STREAM), SIZE),
    ("http2", "4.2", "HEADERS that are too large", frame(1, 5, 1, bytes(2**14 + 1)), SIZE),
    ("http2", "4.3", "invalid block of headers", frame(1, 5, 1, b"\x82\x04\x84\x80"), COMPRESSION),
    ("http2", "4.3", "PRIORITY inside a block", frame(1, 1, 1, BLOCK) + frame(PRIORITY, 0, 1, bytes(5)), PROTOCOL),
    ("http2", "4.3", "HEADERS of another stream inside a block", frame(1, 1, 1, BLOCK) + headers(3), PROTOCOL),
    ("http2", "5.1", "idle: DATA", data(1, b"test", END_STREAM), PROTOCOL),
    ("http2", "5.1", "idle: RST_STREAM", frame(RST_STREAM, 0, 1, number(8)), PROTOCOL),
    ("http2", "5.1", "idle: WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 1, number(100)), PROTOCOL),
    ("http2", "5.1", "idle: CONTINUATION", frame(CONTINUATION, 4, 1, BLOCK), PROTOCOL),
    ("http2", "5.1", "half-closed: DATA", headers(1) + data(1, b"test", END_STREAM), "stream: STREAM_CLOSED"),
    ("http2", "5.1", "half-closed: HEADERS", headers(1) + headers(1), "stream: STREAM_CLOSED"),
    ("http2", "5.1", "half-closed: CONTINUATION", headers(1) + frame(CONTINUATION, 4, 1, BLOCK), PROTOCOL),
    (
        *("http2", "5.1", "closed by RST_STREAM: DATA"),
        OPEN + frame(RST_STREAM, 0, 1, number(8)) + data(1, b"test", END_STREAM),
        "stream: STREAM_CLOSED",
    ),
    (
        *("http2", "5.1", "closed by RST_STREAM: HEADERS"),
        OPEN + frame(RST_STREAM, 0, 1, number(8)) + headers(1),
        "stream: STREAM_CLOSED",
    ),
    (
        *("http2", "5.1", "closed by RST_STREAM: CONTINUATION"),
        OPEN + frame(RST_STREAM, 0, 1, number(8)) + frame(CONTINUATION, 4, 1, BLOCK),
        PROTOCOL,
    ),
    ("http2", "5.1.1", "even stream", headers(2), PROTOCOL),
    ("http2", "5.1.1", "lower stream than before", OPEN.replace(number(1), number(5), 1) + headers(3), PROTOCOL),
    ("http2", "5.3.1", "HEADERS that depend on themselves", frame(1, 0x25, 1, number(1) + b"\xff" + BLOCK), PROTOCOL),
    ("http2", "5.3.1", "PRIORITY that depends on itself", frame(PRIORITY, 0, 1, number(1) + b"\xff"), PROTOCOL),
    ("http2", "5.4.1", "invalid PING", frame(PING, 0, 0, bytes(6)), SIZE),
    ("http2", "5.5", "unknown extension frame", frame(0x16, 0, 0, bytes(8)), "ignored"),
    ("http2", "5.5", "the same inside a block", frame(1, 1, 1, BLOCK) + frame(0x16, 0, 1, bytes(8)), PROTOCOL),
    ("http2", "6.1", "DATA on stream 0", OPEN + data(0, b"test", END_STREAM), PROTOCOL),
    ("http2", "6.1", "DATA on a half-closed stream", headers(1) + data(1, b"test"), "stream: STREAM_CLOSED"),
    ("http2", "6.1", "DATA with too much padding", OPEN + data(1, b"\x06test", END_STREAM | PADDED), PROTOCOL),
    ("http2", "6.2", "HEADERS, then PRIORITY", frame(1, 1, 1, BLOCK) + frame(PRIORITY, 0, 3, bytes(5)), PROTOCOL),
    ("http2", "6.2", "HEADERS, then HEADERS of another", frame(1, 1, 1, BLOCK) + headers(3), PROTOCOL),
    ("http2", "6.2", "HEADERS on stream 0", headers(0), PROTOCOL),
    ("http2", "6.2", "HEADERS with too much padding", frame(1, 5 | PADDED, 1, b"\xff" + BLOCK), PROTOCOL),
    ("http2", "6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    ("http2", "6.3", "PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, bytes(4)), SIZE),
    ("http2", "6.4", "RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, number(8)), PROTOCOL),
    ("http2", "6.4", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, number(8)), PROTOCOL),
    ("http2", "6.4", "RST_STREAM of 3 bytes", OPEN + frame(RST_STREAM, 0, 1, bytes(3)), SIZE),
    ("http2", "6.5", "SETTINGS ACK with a payload", frame(SETTINGS, ACK, 0, bytes(1)), SIZE),
    ("http2", "6.5", "SETTINGS on stream 1", frame(SETTINGS, 0, 1, bytes(6)), PROTOCOL),
    ("http2", "6.5", "SETTINGS of 3 bytes", frame(SETTINGS, 0, 0, bytes(3)), SIZE),
    ("http2", "6.5.2", "ENABLE_PUSH 2", settings([(2, 2)]), PROTOCOL),
    ("http2", "6.5.2", "INITIAL_WINDOW_SIZE 2^31", settings([(4, 2**31)]), FLOW),
    ("http2", "6.5.2", "MAX_FRAME_SIZE 2^14 - 1", settings([(5, 2**14 - 1)]), PROTOCOL),
    ("http2", "6.5.2", "MAX_FRAME_SIZE 2^24", settings([(5, 2**24)]), PROTOCOL),
    ("http2", "6.5.2", "unknown setting", settings([(0xFF, 1)]), "ignored"),
    ("http2", "6.7", "PING with ACK", frame(PING, ACK, 0, b"invalid\0"), "ignored"),
    ("http2", "6.7", "PING on stream 1", frame(PING, 0, 1, bytes(8)), PROTOCOL),
    ("http2", "6.7", "PING of 6 bytes", frame(PING, 0, 0, bytes(6)), SIZE),
    ("http2", "6.8", "GOAWAY on stream 1", frame(GOAWAY, 0, 1, number(0) + number(0)), PROTOCOL),
    ("http2", "6.9", "WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, 0, 0, number(0)), PROTOCOL),
    ("http2", "6.9", "WINDOW_UPDATE of 0 on a stream", OPEN + frame(WINDOW_UPDATE, 0, 1, number(0)), PROTOCOL),
    ("http2", "6.9", "WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    ("http2", "6.9.1", "window above 2^31 - 1", frame(WINDOW_UPDATE, 0, 0, LARGE_WINDOW) * 2, FLOW),
    (
        *("http2", "6.9.1", "window of a stream above 2^31 - 1"),
        OPEN + frame(WINDOW_UPDATE, 0, 1, LARGE_WINDOW) * 2,
        "stream: FLOW_CONTROL_ERROR",
    ),
    ("http2", "6.9.2", "window at start above 2^31 - 1", settings([(4, 2**32 - 1)]), FLOW),
    (
        *("http2", "6.10", "HEADERS and several CONTINUATION"),
        frame(1, 1, 1, BLOCK[:4]) + frame(CONTINUATION, 0, 1, BLOCK[4:9]) + frame(CONTINUATION, 4, 1, BLOCK[9:]),
        OK,
    ),
    (
        *("http2", "6.10", "CONTINUATION, then DATA"),
        frame(1, 0, 1, BLOCK[:4]) + frame(CONTINUATION, 0, 1, BLOCK[4:9]) + data(1, b"test"),
        PROTOCOL,
    ),
    ("http2", "6.10", "CONTINUATION on stream 0", frame(1, 0, 1, BLOCK) + frame(CONTINUATION, 4, 0), PROTOCOL),
    ("http2", "6.10", "CONTINUATION after END_HEADERS", OPEN + frame(CONTINUATION, 4, 1, BLOCK), PROTOCOL),
    (
        *("http2", "6.10", "CONTINUATION after a CONTINUATION with END_HEADERS"),
        frame(1, 0, 1, BLOCK[:4]) + frame(CONTINUATION, 4, 1, BLOCK[4:]) + frame(CONTINUATION, 4, 1, BLOCK),
        PROTOCOL,
    ),
    ("http2", "6.10", "CONTINUATION after DATA", OPEN + data(1, b"t") + frame(CONTINUATION, 4, 1, BLOCK), PROTOCOL),
    ("http2", "7", "GOAWAY of unknown code", frame(GOAWAY, 0, 0, number(0) + number(0xFF)), "closed"),
    ("http2", "7", "RST_STREAM of unknown code", OPEN + frame(RST_STREAM, 0, 1, number(0xFF)), "ignored"),
    ("http2", "8.1", "HEADERS in the midst of a request", OPEN + headers(1, TRAILERS, END_HEADERS), PROTOCOL),
    ("http2", "8.2.1", "field name in capitals", with_(("X-TEST", "ok")), PROTOCOL),
    ("http2", "8.3", "unknown pseudo-header", with_((":test", "ok")), PROTOCOL),
    ("http2", "8.3", "pseudo-header of responses", with_((":status", "200")), PROTOCOL),
    ("http2", "8.3", "pseudo-header in trailers", OPEN + data(1, b"t") + headers(1, ((":method", "GET"),)), PROTOCOL),
    ("http2", "8.3", "pseudo-header after another field", headers(1, (("x", "1"), *GET)), PROTOCOL),
    ("http2", "8.2.2", "field of connections", with_(("connection", "keep-alive")), PROTOCOL),
    ("http2", "8.2.2", "te other than trailers", with_(("te", "trailers, deflate")), PROTOCOL),
    ("http2", "8.3.1", "empty :path", headers(1, ((":path", ""), *GET[:2], GET[3])), PROTOCOL),
    ("http2", "8.3.1", "no :method", without(":method"), PROTOCOL),
    ("http2", "8.3.1", "no :scheme", without(":scheme"), PROTOCOL),
    ("http2", "8.3.1", "no :path", without(":path"), PROTOCOL),
    ("http2", "8.3.1", "two :method", twice(":method"), PROTOCOL),
    ("http2", "8.3.1", "two :scheme", twice(":scheme"), PROTOCOL),
    ("http2", "8.3.1", "two :path", twice(":path"), PROTOCOL),
    (
        *("http2", "8.1.1", "content-length other than the DATA"),
        headers(1, (*POST, ("content-length", "1")), END_HEADERS) + data(1, b"test", END_STREAM),
        PROTOCOL,
    ),
    (
        *("http2", "8.1.1", "content-length other than several DATA"),
        headers(1, (*POST, ("content-length", "1")), END_HEADERS) + data(1, b"te") + data(1, b"st", END_STREAM),
        PROTOCOL,
    ),
    ("http2", "8.4", "PUSH_PROMISE", OPEN + frame(PUSH_PROMISE, 4, 1, number(3) + BLOCK), PROTOCOL),
    ("hpack", "2.3.3", "index beyond the tables", indexed(0xC6), COMPRESSION),
    ("hpack", "2.3.3", "literal with an index beyond the tables", literal(0x7E), COMPRESSION),
    ("hpack", "4.2", "update of the table's size at the end", indexed(0x20), COMPRESSION),
    ("hpack", "5.2", "more than 7 bits of padding", indexed(*HUFFMAN, 0x84, *b"\x49\x50\x9f\xff"), COMPRESSION),
    ("hpack", "5.2", "padding with zeros", indexed(*HUFFMAN, 0x83, *b"\x49\x50\x90"), COMPRESSION),
    (
        "hpack",
        "5.2",
        "end of string symbol",
        indexed(*HUFFMAN, 0x87, *b"\x49\x51\xff\xff\xff\xfa\x7f"),
        COMPRESSION,
    ),
    ("hpack", "6.1", "index 0", indexed(0x80), COMPRESSION),
    ("hpack", "6.3", "table larger than ours", frame(1, 5, 1, b"\x3f\xe1\xff\x03" + BLOCK), COMPRESSION),
)


@pytest.fixture(scope="module")
def served(identity: Identity) -> Iterator[tuple[TlsServer, Echo]]:
    with echoing(identity) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [row[3:] for row in RULES],
    ids=[f"{suite} {section}: {what}" for suite, section, what, *_ in RULES],
)
def test_case_of_h2spec(served: tuple[TlsServer, Echo], identity: Identity, sent: bytes, outcome: str) -> None:
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate)) as wire:
        wire.send(sent)

        assert wire.outcome() == outcome
        if outcome.startswith("connection"):
            assert wire.next() is None


@pytest.mark.parametrize("begun", [b"INVALID CONNECTION PREFACE\r\n\r\n", PREFACE + headers(1)])
def test_other_preface_ends_the_connection(served: tuple[TlsServer, Echo], identity: Identity, begun: bytes) -> None:
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate), begins=False) as wire:
        wire.send(begun)

        assert wire.outcome() == PROTOCOL


@pytest.mark.parametrize(
    ("sent", "outcomes"),
    [
        (data(1, b"test", END_STREAM), {"stream: STREAM_CLOSED"}),
        (headers(1), {CLOSED}),
        (frame(CONTINUATION, 4, 1, BLOCK), {PROTOCOL, CLOSED}),
    ],
    ids=["DATA", "HEADERS", "CONTINUATION"],
)
def test_stream_that_has_ended_takes_no_frame(
    served: tuple[TlsServer, Echo], identity: Identity, sent: bytes, outcomes: set[str]
) -> None:
    """RFC 9113, section 5.1: an error, of the stream or of the connection."""
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate)) as wire:
        wire.send(headers(1))
        wire.answer(1)
        wire.send(sent)

        assert wire.outcome() in outcomes


def test_answer_keeps_to_a_window_of_one_byte(served: tuple[TlsServer, Echo], identity: Identity) -> None:
    """Section 6.9.1."""
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate)) as wire:
        wire.send(settings([(4, 1)]), OPEN, data(1, b"test", END_STREAM))
        wire.until(DataFrame, stream_id=1)
        assert wire.pong()
        assert wire.bodies[1] == b"t"
        wire.window(1, 2)
        wire.until(DataFrame, stream_id=1)
        assert wire.pong()
        assert wire.bodies[1] == b"tes"
        wire.window(1, 1)

        assert wire.answer(1) == ("200", b"test")


def test_window_changes_with_settings_and_may_be_negative(served: tuple[TlsServer, Echo], identity: Identity) -> None:
    """Section 6.9.2: from 3 to 2 after three bytes it is at -1, and two more open it by one."""
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate)) as wire:
        wire.send(settings([(4, 3)]), OPEN, data(1, b"test", END_STREAM))
        wire.until(DataFrame, stream_id=1)
        wire.send(settings([(4, 2)]))
        assert wire.pong()
        wire.window(1, 1)
        assert wire.pong()
        assert wire.bodies[1] == b"tes"
        wire.window(1, 1)

        assert wire.answer(1) == ("200", b"test")


def test_last_of_several_equal_settings_holds(served: tuple[TlsServer, Echo], identity: Identity) -> None:
    """Section 6.5.3."""
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate)) as wire:
        wire.send(settings([(4, 100), (4, 1)]), OPEN, data(1, b"test", END_STREAM))
        wire.until(DataFrame, stream_id=1)
        assert wire.pong()

        assert wire.bodies[1] == b"t"


def test_streams_beyond_the_limit_are_refused_one_by_one(served: tuple[TlsServer, Echo], identity: Identity) -> None:
    """Section 5.1.2, by a client that has not acknowledged the limit yet: such a request may be sent again."""
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate)) as wire:
        wire.send(*(headers(1 + 2 * each, POST, END_HEADERS) for each in range(STREAMS_MOST + 1)))

        assert wire.outcome() == "stream: REFUSED_STREAM"
        wire.send(data(1, b"test", END_STREAM))
        assert wire.answer(1) == ("200", b"test")


def test_streams_beyond_an_acknowledged_limit_end_the_connection(
    served: tuple[TlsServer, Echo], identity: Identity
) -> None:
    server, _ = served
    with H2Wire(server.address, client_context(identity.authority.certificate)) as wire:
        assert wire.pong()  # the limit is acknowledged
        wire.send(*(headers(1 + 2 * each, POST, END_HEADERS) for each in range(STREAMS_MOST + 1)))

        assert wire.outcome() == PROTOCOL
