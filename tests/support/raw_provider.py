"""A provider that answers with exactly the bytes it is told, and keeps exactly the bytes it was sent: for answers no
HTTP library would send, and for claims about bytes.
"""

import contextlib
import json
import math
import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.wire import Address

Parts = Sequence[bytes]
FLOOD_MOST = 200 * 1_048_576
STUCK_S = 0.3
GO_S = 10.0
DRIP_S = 0.05

ANSWER = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "raw"}}]}).encode()


def plain(body: bytes, status: str = "200 OK", content_type: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def stream(*events: bytes) -> bytes:
    """Events in chunks of their own, then the end of the body."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )


def chunk_event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


DONE_EVENT = b"data: [DONE]\n\n"


class RawProvider:
    """Answers every request with ``answer`` and closes the connection. ``requests`` holds head and body of each.
    ``keeps``: that many answers leave the connection open for the next request; ``connections``: accepted so far;
    ``is_resetting``: a connection whose request gets an empty answer ends in a reset.

    ``then``: the answers of the requests after the first, in their order. ``flood`` is sent after an answer, over and
    over up to FLOOD_MOST bytes or until nothing was taken for ``stuck_most_s`` in all; ``ending`` follows. ``flooded``
    bytes have been taken so far, and none for ``stuck_s``. ``drips`` follow the
    answer one by one, ``rest`` does once ``go`` is set.
    ``is_holding``: the connection stays open until the gateway closes it; ``left`` counts how often that has happened.
    """

    def __init__(self) -> None:
        self.forget()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._thread = threading.Thread(target=self._run, name="raw provider", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        address: Address = self._listener.getsockname()
        return address

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def answer_in_two(self, first: bytes, *others: bytes) -> None:
        """A stream whose other events come when ``go`` is set."""
        whole, self.answer = stream(first, *others), stream(first).removesuffix(b"0\r\n\r\n")
        self.rest = whole[len(self.answer) :]

    def answer_in_drips(self, *events: bytes) -> None:
        """A stream whose provider is never silent for longer than DRIP_S."""
        head, *parts = (stream(event).removesuffix(b"0\r\n\r\n") for event in events)
        body_at = head.index(b"\r\n\r\n") + 4
        self.answer, self.drips = head, [*(part[body_at:] for part in parts), b"0\r\n\r\n"]

    @property
    def last_body(self) -> bytes:
        return self.requests[-1][1]

    def forget(self) -> None:
        self.answer = plain(ANSWER)
        self.then: list[bytes] = []
        self.rest = b""
        self.drips = []
        self.go = threading.Event()
        self.requests: list[tuple[bytes, bytes]] = []
        self.flood = b""
        self.flooded = 0
        self.ending = b""
        self.stuck_s = 0.0
        self.stuck_most_s = math.inf
        self.is_holding = False
        self.left = 0
        self.keeps = 0
        self.connections = 0
        self.is_resetting = False

    def close(self) -> None:
        # Waking accept: closing a listener does not end a wait on it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                while self._serve(connection):
                    pass

    def _serve(self, connection: socket.socket) -> bool:
        """Answers one request. Returns whether the connection is kept for the next one."""
        self.requests.append(_read_request(connection))
        is_later = self.then and len(self.requests) > 1
        is_kept, self.keeps = self.keeps > 0, self.keeps - 1
        answer = self.then.pop(0) if is_later else self.answer
        if self.is_resetting and not answer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(answer)
        for drip in self.drips:
            self.go.wait(DRIP_S)
            connection.sendall(drip)
        if self.rest and self.go.wait(GO_S):
            connection.sendall(self.rest)
        self._flood(connection)
        if self.is_holding:
            self._hold(connection)
        return is_kept

    def _flood(self, connection: socket.socket) -> None:
        part = b""
        while self.flood and self.flooded < FLOOD_MOST and self.stuck_s < self.stuck_most_s:
            if not select.select([], [connection], [], STUCK_S)[1]:
                self.stuck_s += STUCK_S
                continue
            part = part or self.flood
            sent = connection.send(part, socket.MSG_DONTWAIT)
            part = part[sent:]
            self.flooded += sent
        connection.sendall(part + self.ending)

    @property
    def is_stuck(self) -> bool:
        """The gateway has taken nothing for a while."""
        return self.stuck_s > 0

    def _hold(self, connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                pass
        self.left += 1


def _read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    length = next(lengths, 0)
    while len(body) < length:
        body += _more(connection)
    return head, body


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionResetError
    return part


@contextlib.contextmanager
def running_raw_provider() -> Iterator[RawProvider]:
    provider = RawProvider()
    try:
        yield provider
    finally:
        provider.close()


def body_of(**fields: Any) -> bytes:
    return json.dumps(fields).encode()
