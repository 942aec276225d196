"""HTTP over a bare socket: a call that can be half sent, held, read bit by bit and left at any moment.

Hundreds of them can be in flight from one thread, because sending and reading are two steps.
"""

import contextlib
import http.client
import json
import select
import socket
from typing import Any, NamedTuple, Self

from tests.loadtest.process import CHAT, PATIENCE_S, chat_body, wait_until

Address = tuple[str, int]
DONE = "[DONE]"


class Answer(NamedTuple):
    """``is_whole`` is False when the connection ended before the body did."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI error object; fails unless the body is exactly one."""
        value = self.json()
        assert value.keys() == {"error"}, value
        error: dict[str, Any] = value["error"]
        assert error.keys() - {"details", "attempts"} == {"message", "type", "param", "code"}, error
        assert self.headers["content-type"] == "application/json"
        return error

    @property
    def events(self) -> list[str]:
        """The data of each server-sent event."""
        return [line[6:] for line in self.text.split("\n") if line.startswith("data: ")]

    @property
    def content(self) -> str:
        """What the model said, plain or streamed."""
        if self.headers["content-type"].startswith("text/event-stream"):
            parts = [json.loads(event) for event in self.events if event != DONE]
            return "".join(part["choices"][0]["delta"].get("content", "") for part in parts)
        content: str = self.json()["choices"][0]["message"]["content"]
        return content


def request_bytes(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    fields = {"host": "localhost", "content-length": str(len(body))} | (headers or {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chat_bytes(*, headers: dict[str, str] | None = None, **fields: Any) -> bytes:
    return request_bytes("POST", CHAT, json.dumps(chat_body(**fields)).encode(), headers)


class Call:
    """One connection. What is given is sent at once; the rest is up to the caller."""

    def __init__(self, address: Address, data: bytes = b"") -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.send(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def try_send(self, data: bytes) -> bool:
        """Sends what the other side still takes: it may refuse a body before it has all of it. Returns whether it took
        all.
        """
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)
            return True
        return False

    def read_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            part = self.socket.recv(65536)
            assert part, f"closed before {mark!r}: {data!r}"
            data += part
        return data

    def peek_until(self, mark: bytes) -> None:
        """Waits for what `answer` will read."""
        wait_until(lambda: mark in self.socket.recv(65536, socket.MSG_PEEK))

    def read_to_end(self) -> bytes:
        data = b""
        while part := self.socket.recv(65536):
            data += part
        return data

    def has_data(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    def answer(self) -> Answer:
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        names = {name.lower(): value for name, value in response.getheaders()}
        try:
            return Answer(response.status, names, response.read())
        except http.client.IncompleteRead as broken:
            return Answer(response.status, names, broken.partial, is_whole=False)

    def leave(self) -> None:
        self.socket.close()


def ask(address: Address, data: bytes) -> Answer:
    with Call(address, data) as call:
        return call.answer()
