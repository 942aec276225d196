"""Content codings (RFC 9110, 8.4). Bodies are decoded piece by piece, so that a few bytes which stand for gigabytes
take neither memory nor a turn of the event loop.
"""

import sys
import zlib
from collections.abc import Callable, Iterable
from typing import Protocol

import brotli

from gateway.http.asgi_messages import Header, find

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SLICE = 65_536  # bytes of a body that a codec gets at once: it may copy what it does not use
MEMBERS_MOST = 1_000  # of gzip, frames of zstd: each may be empty, and none is free
WINDOW_LOG_MOST = 23  # zstd: a decoder needs 8 MiB at most (RFC 9659)
_FAULTS = (zlib.error, zstd.ZstdError, brotli.error)
_ALIASES = {"x-gzip": "gzip"}


class NotDecodable(Exception):
    """The bytes are not what their content coding names."""


class _Codec(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        decoded = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = len(decoded) < max_length  # zlib may hold more even when it has used all of its input
        return decoded


class _Deflate:
    """Data in zlib's format, or bare, as some clients send it."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: _Zlib | None = None

    @property
    def eof(self) -> bool:
        return self._inner is not None and self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._inner is None or self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data if self._inner is not None else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._inner is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return b""
            is_zlib = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950, 2.2
            self._inner = _Zlib(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        return self._inner.decompress(data, max_length)


class _Brotli:
    unused_data = b""  # its library refuses bytes after the end

    def __init__(self) -> None:
        self._inner = brotli.Decompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._inner.is_finished())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        # Its buffers double until they hold the limit: 32 KiB, 96, 224, ... The sum can be three times as much.
        decoded = bytes(self._inner.process(data, output_buffer_limit=max_length // 4))
        # It also accepts input while it holds output.
        self.needs_input = not decoded and bool(self._inner.can_accept_more_data())
        return decoded


def _gzip() -> _Codec:
    return _Zlib(16 + zlib.MAX_WBITS)


def _zstd() -> _Codec:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MOST})


# The codec of each coding, and the first bytes of a further member.
_CODECS: dict[str, tuple[Callable[[], _Codec], frozenset[int]]] = {
    "gzip": (_gzip, frozenset((0x1F,))),
    "deflate": (_Deflate, frozenset()),
    "zstd": (_zstd, frozenset((0x28, *range(0x50, 0x60)))),
    "br": (_Brotli, frozenset()),
}
CODINGS = tuple(_CODECS)


def coding_of(headers: Iterable[Header]) -> str:
    """Returns the coding of the body, one of `CODINGS` where it can be decoded; empty without one."""
    if find(headers, b"content-encoding") is None:
        return ""
    values = b",".join(value for name, value in headers if name == b"content-encoding")
    names = [name.strip() for name in values.decode("latin-1").lower().split(",")]
    return ", ".join(_ALIASES.get(name, name) for name in names if name not in ("", "identity"))


class Decoder:
    """Decodes one body. `piece` is called until it returns no bytes, then `feed` with what follows. Bytes after the
    end are ignored.
    """

    def __init__(self, coding: str) -> None:
        self._make, self._again = _CODECS[coding]
        self._codec: _Codec | None = self._make()
        self._data = b""
        self._used = 0  # bytes of the data
        self._members = 1
        self._is_over = False
        self.is_complete = False  # whether the body may end here

    def feed(self, data: bytes) -> None:
        self._data, self._used = data, 0

    def piece(self, most: int) -> bytes:
        """Returns decoded bytes: ``most`` of them, or 32 KiB with brotli if that is more. None are left when it returns
        none. Raises NotDecodable.
        """
        try:
            while codec := self._codec or self._next():
                data = b""
                if codec.needs_input:
                    data = self._data[self._used : self._used + SLICE]
                    if not data:
                        break
                    self._used += len(data)
                decoded = codec.decompress(data, most)
                self.is_complete = False
                if codec.eof:
                    self._used -= len(codec.unused_data)
                    self._codec, self.is_complete = None, True
                if decoded:
                    return decoded
        except _FAULTS as fault:
            raise NotDecodable from fault
        return b""

    def _next(self) -> _Codec | None:
        """Begins the next member; None where none follows."""
        if self._is_over or self._used == len(self._data):
            return None
        if self._data[self._used] not in self._again:
            self._is_over = True
            return None
        self._members += 1
        if self._members > MEMBERS_MOST:
            raise NotDecodable
        self._codec = self._make()
        return self._codec
