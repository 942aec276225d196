"""A provider that answers each call with the content of its last message, and remembers what it was called with."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from tests.support.raw_provider import plain


class EchoProvider:
    """``bodies``: of all calls so far; ``strange``: heads that are no call of the gateway's."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.strange: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._thread = threading.Thread(target=self._run, name="echo provider", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            rest = b""
            while True:
                head, body, rest = _request(connection, rest)
                self.bodies.append(body)
                if not head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n"):
                    self.strange.append(head)
                connection.sendall(plain(_reply(body)))


def _request(connection: socket.socket, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns head, body and what has been read behind them. Raises ConnectionResetError at the end."""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, data = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(data) < length:
        data += _more(connection)
    return head, data[:length], data[length:]


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(262_144)
    if not part:
        raise ConnectionResetError
    return part


def _reply(body: bytes) -> bytes:
    content: Any = "none"
    with contextlib.suppress(ValueError, LookupError, TypeError):
        content = json.loads(body)["messages"][-1]["content"]
    message = {"role": "assistant", "content": content if isinstance(content, str) else "none"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()


@contextlib.contextmanager
def running_echo_provider() -> Iterator[EchoProvider]:
    provider = EchoProvider()
    try:
        yield provider
    finally:
        provider.close()
