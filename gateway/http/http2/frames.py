"""Cuts the bytes of an HTTP/2 client into frames and bounds them before `h2` sees them: `h2` buffers a frame of 16 MiB
before it refuses it, does not count frames that carry no data, and serves no stream after a GOAWAY.
"""

import time
from collections.abc import Callable, Iterator

import msgspec
from h2.errors import ErrorCodes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_MOST = 16_384  # the default of SETTINGS_MAX_FRAME_SIZE, which is ours
DATA, HEADERS, SETTINGS, GOAWAY, CONTINUATION = 0x0, 0x1, 0x4, 0x7, 0x9
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_HEAD = 9
TINY = 64  # bytes of a DATA frame that costs more to parse than it carries
CREDIT_MOST, CREDIT_PER_S = 1_000.0, 100.0  # frames without data: pings, resets, settings, window updates
CREDIT_PER_SENT = 4.0  # a client may follow each frame of ours with updates of both windows, and a ping to measure


def goaway(last_stream_id: int, code: ErrorCodes) -> bytes:
    head = b"\x00\x00\x08" + bytes([GOAWAY, 0]) + bytes(4)
    return head + last_stream_id.to_bytes(4, "big") + int(code).to_bytes(4, "big")


class Frame(msgspec.Struct, frozen=True):
    """One complete frame."""

    kind: int
    stream_id: int
    data: bytes  # with its head


class Violation(Exception):
    """Ends the connection with a GOAWAY of this code."""

    def __init__(self, code: ErrorCodes) -> None:
        super().__init__(code.name)
        self.code = code


class Frames:
    """The received bytes that are not handled yet, and the credit of their sender."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buffer = bytearray()
        self._has_preface = self._is_begun = False
        self._is_block_open = False
        self._number = 1
        self._credit = CREDIT_MOST
        self._counted_s = now()

    def receive(self, data: bytes) -> None:
        self._buffer += data

    @property
    def unfinished(self) -> int:
        """The number of the incomplete preface, header block or frame other than DATA, else 0."""
        is_partial = len(self._buffer) > 0 and (len(self._buffer) < _HEAD or self._buffer[3] != DATA)
        return self._number if self._is_block_open or not self._is_begun or is_partial else 0

    def sent(self) -> None:
        """Credits the client for a frame with a part of a response."""
        self._credit = min(CREDIT_MOST, self._credit + CREDIT_PER_SENT)

    def complete(self, most: int) -> Iterator[Frame]:
        """Yields at most ``most`` complete frames. Raises Violation."""
        if not self._has_preface:
            self._read_preface()
        while most and self._has_preface and len(self._buffer) >= _HEAD:
            length = int.from_bytes(self._buffer[:3], "big")
            if length > FRAME_MOST:
                raise Violation(ErrorCodes.FRAME_SIZE_ERROR)
            if len(self._buffer) < _HEAD + length:
                return
            data = bytes(self._buffer[: _HEAD + length])
            del self._buffer[: _HEAD + length]
            kind, flags = data[3], data[4]
            if kind == SETTINGS and flags & _ACK and length:
                raise Violation(ErrorCodes.FRAME_SIZE_ERROR)
            if not self._is_begun and (kind != SETTINGS or flags & _ACK):
                raise Violation(ErrorCodes.PROTOCOL_ERROR)  # it belongs to the preface
            self._is_begun = True
            self._weigh(kind, flags, length)
            self._number += not self._is_block_open
            most -= 1
            yield Frame(kind, int.from_bytes(data[5:9], "big") & 0x7FFF_FFFF, data)

    def _read_preface(self) -> None:
        begun = bytes(self._buffer[: len(PREFACE)])
        if not PREFACE.startswith(begun):
            raise Violation(ErrorCodes.PROTOCOL_ERROR)
        if len(begun) == len(PREFACE):
            del self._buffer[: len(PREFACE)]
            self._has_preface = True

    def _weigh(self, kind: int, flags: int, length: int) -> None:
        if kind in (HEADERS, CONTINUATION):
            self._is_block_open = not flags & _END_HEADERS
            if kind == HEADERS:
                return  # a refused request is charged when it is refused
        elif kind == DATA and (length > TINY or flags & _END_STREAM):
            return
        self.charge()

    def charge(self) -> None:
        """Takes credit for a frame without data. Raises Violation when none is left."""
        now = self._now()
        self._credit = min(CREDIT_MOST, self._credit + (now - self._counted_s) * CREDIT_PER_S) - 1
        self._counted_s = now
        if self._credit < 0:
            raise Violation(ErrorCodes.ENHANCE_YOUR_CALM)
