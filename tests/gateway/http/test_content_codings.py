"""Bodies in every content coding come back as they were, however they are cut; few bytes never become many at once."""

import contextlib
import gzip
import random
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest

from gateway.http.content_codings import CODINGS, MEMBERS_MOST, Decoder, NotDecodable, coding_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
    "br": brotli.compress,
}
RANDOM = random.Random(18)
TEXT = (
    b'{"model": "gpt-4", "messages": [{"role": "user", "content": "' + RANDOM.randbytes(30_000).hex().encode() + b'"}]}'
)
PLAIN = [b"", b"{}", TEXT, bytes(300_000)]


def decoded(decoder: Decoder, parts: list[bytes], most: int = 65_536) -> bytes:
    whole = b""
    for part in parts:
        decoder.feed(part)
        while piece := decoder.piece(most):
            assert len(piece) <= max(most, 32_768)
            whole += piece
    return whole


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def test_every_coding_has_a_case_here() -> None:
    assert tuple(COMPRESS) == CODINGS


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [1, 7, 1_000, 1 << 20])
@pytest.mark.parametrize("plain", PLAIN, ids=["empty", "small", "text", "zeros"])
def test_body_comes_back_however_it_is_cut(coding: str, size: int, plain: bytes) -> None:
    decoder = Decoder(coding)

    assert decoded(decoder, cut(COMPRESS[coding](plain), size), most=10_000) == plain
    assert decoder.is_complete


@pytest.mark.parametrize("size", [1, 2, 1 << 20])
def test_bare_deflate_is_decoded(size: int) -> None:
    decoder = Decoder("deflate")

    assert decoded(decoder, cut(bare_deflate(TEXT), size)) == TEXT
    assert decoder.is_complete


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1, 50, 1 << 20])
def test_members_follow_each_other(coding: str, size: int) -> None:
    parts = [b"one ", b"", TEXT, b" two"]
    decoder = Decoder(coding)

    assert decoded(decoder, cut(b"".join(map(COMPRESS[coding], parts)), size)) == b"".join(parts)
    assert decoder.is_complete


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_without_content_have_a_bound(coding: str) -> None:
    decoder = Decoder(coding)
    with pytest.raises(NotDecodable):
        decoded(decoder, [COMPRESS[coding](b"") * (MEMBERS_MOST + 1)])

    assert decoded(Decoder(coding), [COMPRESS[coding](b"") * MEMBERS_MOST]) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_padding_after_the_end_is_ignored(coding: str) -> None:
    decoder = Decoder(coding)

    assert decoded(decoder, [COMPRESS[coding](TEXT) + b"\0" * 20, b"\x1f\x8b more"]) == TEXT


@pytest.mark.parametrize("coding", CODINGS)
def test_body_that_is_cut_off_is_not_complete(coding: str) -> None:
    packed = COMPRESS[coding](TEXT)
    for length in (0, 1, 5, len(packed) // 2, len(packed) - 1):
        decoder = Decoder(coding)
        got = decoded(decoder, [packed[:length]])

        assert TEXT.startswith(got)
        assert not decoder.is_complete


@pytest.mark.parametrize("coding", CODINGS)
def test_changed_bytes_are_refused_or_decoded_and_raise_nothing_else(coding: str) -> None:
    packed = COMPRESS[coding](TEXT[:3_000])
    for _ in range(300):
        changed = bytearray(packed)
        for _ in range(RANDOM.randint(1, 4)):
            changed[RANDOM.randrange(len(changed))] = RANDOM.randrange(256)
        with contextlib.suppress(NotDecodable):
            assert len(decoded(Decoder(coding), [bytes(changed)])) < 100_000_000


def test_zstd_that_needs_a_large_window_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    with pytest.raises(NotDecodable):
        decoded(Decoder("zstd"), [zstd.compress(bytes(1 << 25), options=options)])


@pytest.mark.parametrize("coding", CODINGS)
def test_pieces_of_a_bomb_are_small(coding: str) -> None:
    decoder = Decoder(coding)
    decoder.feed(COMPRESS[coding](bytes(50_000_000)))

    assert all(0 < len(decoder.piece(65_536)) <= 65_536 for _ in range(100))


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ([], ""),
        ([b""], ""),
        ([b"identity"], ""),
        ([b"GZip"], "gzip"),
        ([b"x-gzip"], "gzip"),
        ([b" identity, br "], "br"),
        ([b"gzip, zstd"], "gzip, zstd"),
        ([b"gzip", b"gzip"], "gzip, gzip"),
        ([b"identity", b"deflate"], "deflate"),
        ([b"compress"], "compress"),
        ([b"\xff"], "\xff"),
    ],
)
def test_coding_is_read_from_all_its_headers(values: list[bytes], coding: str) -> None:
    headers = [(b"content-type", b"application/json"), *((b"content-encoding", value) for value in values)]

    assert coding_of(headers) == coding
