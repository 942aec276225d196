"""Bytes of a request that belong to no body."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.byte_bounds import HEAD_MOST, HEAD_TOO_LARGE, OTHER_MOST, OTHER_TOO_LARGE, ByteBounds

HEAD = b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"


class Reader:
    """Feeds a parser as a connection does, until the bounds are exceeded."""

    def __init__(self) -> None:
        self.bounds = ByteBounds()
        self.headers: list[tuple[bytes, bytes]] = []
        self.fits = True
        self.is_ended = False
        self.parser = httptools.HttpRequestParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.bounds.is_in_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.fits = self.bounds.fits_head(b"/", self.headers)

    def on_body(self, data: bytes) -> None:
        self.bounds.body(len(data))

    def on_chunk_complete(self) -> None:
        self.bounds.chunk()

    def on_message_complete(self) -> None:
        self.bounds.end()
        self.is_ended = True

    def excess(self, *segments: bytes) -> tuple[int, bytes] | None:
        for segment in segments:
            self.bounds.received(len(segment))
            self.parser.feed_data(segment)
            if self.bounds.excess() is not None:
                return self.bounds.excess()
        return None


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1000, 70_000, 262_144], ids=["pieces", "large pieces", "whole reads"])
@pytest.mark.parametrize(
    ("text", "excess"),
    [
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 400_000, HEAD_TOO_LARGE),
        (b"GET /" + b"y" * 400_000, HEAD_TOO_LARGE),
        (b"\r\n" * 200_000, HEAD_TOO_LARGE),
        (HEAD + b"1;x=" + b"y" * 400_000, OTHER_TOO_LARGE),
        (HEAD + b"1;" + b"a=b;" * 100_000, OTHER_TOO_LARGE),
        (HEAD + b"0\r\nx: " + b"y" * 400_000, OTHER_TOO_LARGE),
        (HEAD + b"0\r\n" + b"x: y\r\n" * 70_000, OTHER_TOO_LARGE),
        (HEAD + b"1\r\nx\r\n" * 100_000, OTHER_TOO_LARGE),
    ],
    ids=["header", "target", "line ends", "extension", "extensions", "trailer", "trailers", "tiny chunks"],
)  # fmt: skip
def test_endless_bytes_exceed_the_bound(text: bytes, excess: tuple[int, bytes], size: int) -> None:
    assert Reader().excess(*cut(text, size)) == excess


@pytest.mark.parametrize("size", [1, 20, 1000, 1_000_000])
def test_head_at_the_bound_is_taken_and_a_larger_one_is_not(size: int) -> None:
    frame = b"GET / HTTP/1.1\r\nx: %b\r\n\r\n"
    largest, larger = Reader(), Reader()

    assert largest.excess(*cut(frame % (b"y" * (HEAD_MOST - len(frame) + 2)), size)) is None
    assert largest.is_ended
    assert largest.fits
    assert larger.excess(*cut(frame % (b"y" * HEAD_MOST), size)) == HEAD_TOO_LARGE or not larger.fits


@given(
    sizes=st.lists(st.integers(20, 3000), min_size=1, max_size=60),
    cuts=st.integers(1, 5000),
    extension=st.sampled_from([b"", b";a=b"]),
)
def test_body_in_chunks_is_taken_however_it_is_cut(sizes: list[int], cuts: int, extension: bytes) -> None:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (size, extension, b"x" * size) for size in sizes)
    reader = Reader()

    assert reader.excess(*cut(HEAD + chunks + b"0\r\nx-sum: 1\r\n\r\n", cuts)) is None
    assert reader.is_ended


def test_large_body_in_small_chunks_is_taken() -> None:
    """As clients send that stream a file of 20 MB in pieces of 1 KiB."""
    reader = Reader()

    assert reader.excess(HEAD, *([b"400\r\n" + b"x" * 1024 + b"\r\n"] * 20_000), b"0\r\n\r\n") is None
    assert reader.is_ended


def test_each_request_has_bounds_of_its_own() -> None:
    request = HEAD + b"1;x=" + b"y" * (OTHER_MOST // 2) + b"\r\nx\r\n0\r\n\r\n"

    assert Reader().excess(*cut(request * 5, 10_000)) is None
