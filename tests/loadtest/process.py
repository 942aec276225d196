"""A fake provider in a process of its own, and the sockets to talk to it."""

import contextlib
import http.client
import json
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

from tests.support.ending import end

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
PATIENCE_S = 30.0
ANTHROPIC = {"anthropic-version": "2023-06-01"}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One request on a socket of its own, which can be left at any moment."""

    def __init__(self, address: tuple[str, int], path: str, body: bytes, *, sent: int | None = None) -> None:
        head = f"POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.sendall(head + body[:sent])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def read_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            part = self.socket.recv(65536)
            assert part, f"closed before {mark!r}: {data!r}"
            data += part
        return data

    def has_data(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    def leave(self) -> None:
        self.socket.close()


class ProviderProcess:
    def __init__(self, process: subprocess.Popen[str], ready_line: str) -> None:
        self.process = process
        self.ready_line = ready_line
        self.port = int(ready_line.rsplit(":", 1)[1])
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """`body` is sent as it is if bytes, else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)) as connection:
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())

    def chat(self, **fields: Any) -> Reply:
        return self.request("POST", CHAT, chat_body(**fields))

    def message(self, **fields: Any) -> Reply:
        return self.request("POST", MESSAGES, message_body(**fields), ANTHROPIC)

    def call(self, *, path: str = CHAT, sent: int | None = None, **fields: Any) -> Caller:
        return Caller(self.address, path, json.dumps(chat_body(**fields)).encode(), sent=sent)

    def behave(self, **patch: Any) -> dict[str, Any]:
        reply = self.request("PATCH", "/control", patch)
        assert reply.status == 200, reply.body
        behaviour: dict[str, Any] = reply.json()["behaviour"]
        return behaviour

    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self.request("GET", "/control").json()["counts"]
        return counts

    def wait_for(self, **expected: Any) -> dict[str, Any]:
        """Until the counts hold what is expected."""
        wait_until(lambda: self.counts().items() >= expected.items(), lambda: f"{expected}: {self.counts()}")
        return self.counts()


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}], **fields}


def message_body(**fields: Any) -> dict[str, Any]:
    return {**chat_body(), "model": "claude", "max_tokens": 5, **fields}


def wait_until(
    is_so: Callable[[], bool], describe: Callable[[], str] = lambda: "", patience_s: float = PATIENCE_S
) -> None:
    ends_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < ends_s, f"still not so after {patience_s} s {describe()}"
        time.sleep(0.005)


@contextlib.contextmanager
def running_provider(*flags: str) -> Iterator[ProviderProcess]:
    command = [sys.executable, "-m", "loadtest.provider", "--port", "0", "--die-with-parent", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert re.fullmatch(r"provider \S+ listening on http://127\.0\.0\.1:\d+\n", line), line
            yield ProviderProcess(process, line.strip())
        finally:
            end(process)
