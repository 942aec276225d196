"""A provider whose tokens expire, with the server that issues them: `GET /token` returns a valid one."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "served"}, "finish_reason": "stop"}]}
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "served"}]}
_KEY_HEADERS = ("authorization", "x-api-key", "api-key")


class TokenProvider:
    """``calls``: path, name of the header with the key, and status, of each call; ``issued``: tokens so far. An
    expired token gets ``refusal``, which repeats it.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.issued: list[str] = []
        self.valid: set[str] = set()
        self.refusal = 401
        self.is_issuing = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def issue(self) -> str:
        """Makes a token, the only valid one from now on."""
        self.issued.append(f"ya29.token-number-{len(self.issued)}")
        self.valid = {self.issued[-1]}
        return self.issued[-1]

    def expire(self) -> None:
        self.valid = set()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def running_token_provider() -> Iterator[TokenProvider]:
    running = TokenProvider()
    try:
        yield running
    finally:
        running.close()


def _handler(provider: TokenProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/token" and provider.is_issuing:
                self._answer(200, (sorted(provider.valid) or [provider.issue()])[0].encode() + b"\n")
            else:
                self._answer(503, b"")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            name = next((name for name in _KEY_HEADERS if name in self.headers), "")
            token = self.headers.get(name, "").removeprefix("Bearer ")
            status = 200 if token in provider.valid else provider.refusal
            provider.calls.append((self.path, name, status))
            answer: dict[str, Any] = MESSAGE if self.path.endswith(("/messages", ":rawPredict")) else CHAT
            if status != 200:
                answer = {"error": {"message": f"The token {token} has expired", "code": "unauthenticated"}}
            self._answer(status, json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    return Handler
