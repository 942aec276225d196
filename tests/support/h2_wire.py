"""HTTP/2 frame by frame over TLS: a client that can break every rule."""

import contextlib
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from hpack import Encoder
from hpack.hpack import Decoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from gateway.http.http2.frames import PREFACE
from tests.loadtest.process import PATIENCE_S

Header = tuple[str, str]
GET: tuple[Header, ...] = ((":method", "GET"), (":scheme", "https"), (":path", "/x"), (":authority", "localhost"))
POST: tuple[Header, ...] = ((":method", "POST"), *GET[1:])
END_STREAM, END_HEADERS = 0x1, 0x4
MARK = b"are you "


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any bytes as a frame. ``length``: when the head is to state another."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def block(headers: Iterable[Header] = GET) -> bytes:
    """A block of headers that leaves the dynamic table as it was."""
    return Encoder().encode([(name, value, True) for name, value in headers], huffman=False)


def headers(stream_id: int, fields: Iterable[Header] = GET, flags: int = END_STREAM | END_HEADERS) -> bytes:
    return frame(0x1, flags, stream_id, block(fields))


def data(stream_id: int, body: bytes = b"", flags: int = 0) -> bytes:
    return frame(0x0, flags, stream_id, body)


def settings(values: Iterable[tuple[int, int]] = (), flags: int = 0) -> bytes:
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values)
    return frame(0x4, flags, 0, payload)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


PING = frame(0x6, 0, 0, MARK)


def client_context(authority: Path, protocols: Iterable[str] = ("h2",)) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    context.set_alpn_protocols(list(protocols))
    return context


class H2Wire:
    """One connection on which the handshake is over and nothing was sent unless it ``begins``."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext | None, begins: bool = True) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._buffer = b""
        self._decoder = Decoder()
        self._decoder.max_allowed_table_size = 2**32  # whatever the settings that a test sends allow
        self.seen: list[Frame] = []
        self.bodies: dict[int, bytes] = {}
        self.fields: dict[int, dict[str, str]] = {}
        if begins:
            self.send(PREFACE, settings())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """What the server still takes: it may have closed already."""
        with contextlib.suppress(OSError):
            self.socket.sendall(b"".join(parts))

    def next(self) -> Frame | None:
        """None at the end of the connection."""
        while True:
            if len(self._buffer) >= 9:
                made, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
                if len(self._buffer) >= 9 + length:
                    made.parse_body(memoryview(self._buffer[9 : 9 + length]))
                    self._buffer = self._buffer[9 + length :]
                    self._note(made)
                    return made
            try:
                part = self.socket.recv(65_536)
            except (ConnectionError, ssl.SSLError):
                part = b""
            if not part:
                return None
            self._buffer += part

    def _note(self, made: Frame) -> None:
        self.seen.append(made)
        if isinstance(made, DataFrame):
            self.bodies[made.stream_id] = self.bodies.get(made.stream_id, b"") + made.data
        elif isinstance(made, HeadersFrame):
            fields: Iterable[Any] = self._decoder.decode(made.data)
            self.fields.setdefault(made.stream_id, {}).update({str(name): str(value) for name, value in fields})
        elif isinstance(made, SettingsFrame) and "ACK" not in made.flags:
            self.send(settings(flags=1))

    def until(self, *kinds: type[Frame], stream_id: int | None = None, ended: bool = False) -> Frame | None:
        """The next frame of one of these kinds; None at the end of the connection. ``ended``: with END_STREAM."""
        while (made := self.next()) is not None:
            is_of_stream = stream_id is None or made.stream_id == stream_id
            if isinstance(made, kinds) and is_of_stream and (not ended or "END_STREAM" in made.flags):
                return made
        return None

    def pong(self) -> bool:
        """Is the connection alive, and everything before taken?"""
        self.send(PING)
        while (made := self.next()) is not None:
            if isinstance(made, PingFrame) and "ACK" in made.flags:
                return True
        return False

    def answer(self, stream_id: int) -> tuple[str, bytes]:
        """Status and body."""
        assert self.until(DataFrame, HeadersFrame, stream_id=stream_id, ended=True) is not None, self.seen
        return self.fields[stream_id][":status"], self.bodies.get(stream_id, b"")

    def outcome(self) -> str:
        """What the server makes of all that was sent: `connection: CODE`, `stream: CODE`, `status 200`, or `ignored`
        when the connection is alive and nothing else has come.
        """
        self.send(PING)
        has_pong = False
        while (made := self.next()) is not None:
            if isinstance(made, GoAwayFrame):
                return f"connection: {_NAMES[made.error_code]}"
            if isinstance(made, RstStreamFrame):
                return f"stream: {_NAMES[made.error_code]}"
            if isinstance(made, HeadersFrame):
                return f"status {self.fields[made.stream_id][':status']}"
            if isinstance(made, PingFrame) and "ACK" in made.flags and made.opaque_data == MARK:
                if has_pong:
                    return "ignored"
                has_pong = True
                self.send(PING)  # what a task of the server would write has had its turn by then
        return "closed"

    def window(self, stream_id: int, size: int) -> None:
        self.send(WindowUpdateFrame(stream_id, window_increment=size).serialize())

    def reset(self, stream_id: int, code: int = 8) -> None:
        self.send(RstStreamFrame(stream_id, error_code=code).serialize())


_NAMES = [
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"),
    *("FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
    *("INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"),
]
