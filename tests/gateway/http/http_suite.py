"""Cases of HTTP/1.1 as rows: what is sent, what our server does with it, and what a public suite of such cases prefers.

Http11Probe and h1spec send their requests to a server that echoes. Here a GET is for /livez and a POST is a call, so
that a request that was accepted, or smuggled, shows at the provider.
"""

import http.client
import io
import json
import re
import select
from typing import Any, NamedTuple, cast

from tests.loadtest.process import CHAT, PATIENCE_S
from tests.support.raw_provider import RawProvider
from tests.support.wire import Address, Call, chat_bytes

CONTENT = "hello"
CALL = json.dumps({"model": "raw", "messages": [{"role": "user", "content": CONTENT}]}).encode()
BODY = CALL.ljust(80)  # 80 bytes: 0x50, 0o120
SIZE = len(BODY)
LENGTH = f"content-length: {SIZE}"
CHUNKED = "transfer-encoding: chunked"
CHUNK = b"50\r\n" + BODY + b"\r\n"
CHUNKS = CHUNK + b"0\r\n\r\n"
HOST = "host: localhost"
RESET = "/v1/admin/deployments/raw/reset"  # a POST that needs no body
FOLLOW_UP = chat_bytes(model="follow-up", headers={"connection": "close"})  # its answer names the unknown model


class Case(NamedTuple):
    """``section``: of RFC 9112, otherwise with its RFC; ``sends``: each after the answer to the one before; ``rest``:
    ends a request that is only begun; ``answers``: the status of each; ``calls``: requests at the provider; ``wanted``:
    what the suite prefers; ``why``: the reason for another verdict of ours.
    """

    name: str
    section: str
    sends: tuple[bytes, ...]
    answers: tuple[int, ...]
    is_closed: bool
    calls: int
    wanted: str
    why: str = ""
    rest: bytes = b""


class Verdict(NamedTuple):
    """``is_closed``: no other request is served on the connection."""

    answers: tuple[int, ...]
    is_closed: bool
    calls: int


def request(start: str, *lines: str, host: str | None = HOST, body: bytes = b"") -> bytes:
    """``start``: method and target, with the version where it is not 1.1."""
    start = start if start.count(" ") > 1 or "HTTP" in start else f"{start} HTTP/1.1"
    return "\r\n".join([start, *([host] if host else []), *lines, "", ""]).encode("latin-1") + body


def get(*lines: str, host: str | None = HOST) -> bytes:
    return request("GET /livez", *lines, host=host)


def post(*lines: str, body: bytes = BODY) -> bytes:
    return request(f"POST {CHAT}", *lines, body=body)


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


def refused(name: str, section: str, *sends: bytes, status: int = 400, wanted: str = "400", why: str = "") -> Case:
    """Answered with an error; nothing else is read from the connection."""
    return Case(name, section, sends, (status,), is_closed=True, calls=0, wanted=wanted, why=why)


def served(
    name: str, section: str, data: bytes, status: int = 200, *, wanted: str = "2xx", why: str = "", closed: bool = False
) -> Case:
    """Understood; the connection serves another request unless it is ``closed``."""
    return Case(name, section, (data,), (status,), is_closed=closed, calls=0, wanted=wanted, why=why)


def called(name: str, section: str, data: bytes, *, wanted: str = "2xx", why: str = "", closed: bool = False) -> Case:
    """A call that reaches the provider."""
    return Case(name, section, (data,), (200,), is_closed=closed, calls=1, wanted=wanted, why=why)


def awaited(name: str, section: str, data: bytes, rest: bytes, wanted: str = "wait") -> Case:
    """A part of a request: no answer before its ``rest`` has come."""
    calls = 1 if data.startswith(b"POST") else 0
    return Case(name, section, (data,), (200,), is_closed=False, calls=calls, wanted=wanted, rest=rest)


def verdict(address: Address, provider: RawProvider, case: Case) -> Verdict:
    """Sends the case, then another request on the connection, or on a new one where the connection is closed. Fails if
    that is not answered as itself, or if the provider received anything but the case's own call.
    """
    provider.forget()
    with Call(address) as call:
        for position, data in enumerate(case.sends):
            if position:
                select.select([call.socket], [], [], PATIENCE_S)
            call.try_send(data)
        call.try_send(case.rest + FOLLOW_UP)
        answers = answers_in(_read_to_end(call), is_head=case.sends[0].startswith(b"HEAD"))
    is_closed = not (answers and _is_follow_up(*answers[-1]))
    if is_closed:
        with Call(address, FOLLOW_UP) as call:
            assert [_is_follow_up(*answer) for answer in answers_in(call.read_to_end())] == [True]
    else:
        answers.pop()
    for head, body in provider.requests:
        assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n"), head
        assert json.loads(body)["messages"][0]["content"] == CONTENT
    return Verdict(tuple(status for status, _ in answers), is_closed, len(provider.requests))


def _read_to_end(call: Call) -> bytes:
    data = b""
    try:
        while part := call.socket.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def _is_follow_up(status: int, body: bytes) -> bool:
    return status == 404 and b"follow-up" in body


def answers_in(data: bytes, *, is_head: bool = False) -> list[tuple[int, bytes]]:
    """Returns status and body of each answer in ``data``; ``is_head``: the first has no body."""
    answers: list[tuple[int, bytes]] = []
    rest = io.BytesIO(data)
    while rest.tell() < len(data):
        response = http.client.HTTPResponse(cast(Any, _Wire(rest)), method="HEAD" if is_head and not answers else "GET")
        interim = re.match(rb"HTTP/1.1 (1\d\d) [^\r]*\r\n\r\n", data[rest.tell() :])
        if interim:
            answers.append((int(interim[1]), b""))
            rest.seek(rest.tell() + interim.end())
            continue
        response.begin()
        answers.append((response.status, response.read()))
    return answers


class _Wire:
    """As http.client expects a socket: the file is read further by the next answer."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def makefile(self, _mode: str) -> "_Wire":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        pass


def is_wanted(case: Case, seen: Verdict) -> bool:
    """Whether the suite would pass what was ``seen``."""
    finals = [status for status in seen.answers if status >= 200]
    first = finals[0] if finals else None
    is_success = first is not None and first < 300
    ways = {
        "wait": bool(case.rest) and seen.answers == case.answers,
        "close": first is None and seen.is_closed,
        "2xx": is_success,
        "2xx+close": is_success and seen.is_closed,
        "2xx+2xx": len(finals) == 2 and max(finals) < 300,
        "2xx without 1xx": is_success and finals == [*seen.answers],
        "not 101": 101 not in seen.answers,
        str(first): True,
    }
    return any(ways.get(way, False) for way in case.wanted.split("|"))
