"""The command `python -m loadtest.trials.attack_clients NAME PORT`: a client that attacks a replica's memory,
connections or event loop, and prints at its end what it sent.
"""

import contextlib
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator

from loadtest.load.open_files import allow_many

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
MIB = 1_048_576
ENDLESS_MOST = 80 * MIB
HOLD_S = 12.0
UNREAD_S = 65  # the server checks unread answers every 30 s
DRIP_S = 0.5


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


@contextlib.contextmanager
def _many(port: int, count: int) -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            with contextlib.suppress(OSError):
                sockets.append(_connect(port))
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _send_all(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def _endless(port: int, start: bytes, more: bytes) -> str:
    sent, answers = 0, 0
    began = time.monotonic()
    while sent < ENDLESS_MOST and time.monotonic() - began < HOLD_S:
        with _connect(port) as connection:
            _send_all(connection, start)
            while sent < ENDLESS_MOST and _send_all(connection, more):
                sent += len(more)
                if select.select([connection], [], [], 0)[0]:
                    answers += 1
                    break
    return f"{sent / MIB:.1f} MiB on {answers} connections, each refused"


def endless_trailer(port: int) -> str:
    start = CHAT + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: "
    return _endless(port, start, b"y" * 65_536)


def endless_header(port: int) -> str:
    return _endless(port, b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: ", b"y" * 65_536)


def unread_answers(port: int) -> str:
    """Reads only after the server has had time to end the connection."""
    with _connect(port) as connection:
        _send_all(connection, b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 700)
        time.sleep(UNREAD_S)
        size = 0
        with contextlib.suppress(OSError):
            while part := connection.recv(MIB):
                size += len(part)
        return f"700 GET /openapi.json on one connection, unread for {UNREAD_S} s; it ended after {size / MIB:.1f} MiB"


def idle_connections(port: int) -> str:
    with _many(port, 400) as sockets:
        time.sleep(HOLD_S)
        closed = sum(bool(select.select([each], [], [], 0)[0]) for each in sockets)
        return f"{len(sockets)} connections without a byte; {closed} were closed"


def _slow(port: int, start: bytes, seconds: float) -> str:
    with _many(port, 200) as sockets:
        for each in sockets:
            _send_all(each, start)
        began, longest = time.monotonic(), 0.0
        open_sockets = set(sockets)
        while open_sockets and time.monotonic() - began < seconds:
            time.sleep(DRIP_S)
            for each in list(open_sockets):
                if select.select([each], [], [], 0)[0] or not _send_all(each, b"y"):
                    open_sockets.remove(each)
                    longest = time.monotonic() - began
        return f"200 connections, 2 bytes/s each; {200 - len(open_sockets)} were ended, the last after {longest:.0f} s"


def slow_heads(port: int) -> str:
    return _slow(port, b"GET /livez HTTP/1.1\r\nx: ", 30)


def slow_bodies(port: int) -> str:
    return _slow(port, CHAT + b"content-length: 1000000\r\n\r\n", 40)


def held_bodies(port: int) -> str:
    size = 10 * MIB
    body = b'{"model":"gpt-4","messages":[{"role":"user","content":"' + b"x" * (size - 200)
    with _many(port, 60) as sockets:
        taken = sum(_send_all(each, CHAT + b"content-length: %d\r\n\r\n" % (size - 1) + body) for each in sockets)
        time.sleep(3)
        refused = sum(bool(select.select([each], [], [], 0)[0]) for each in sockets)
        return f"60 bodies of 10 MB but for their last bytes; {taken} were taken or read, {refused} of 60 refused"


def _call(port: int, body: bytes) -> bytes:
    with _connect(port) as connection:
        _send_all(connection, CHAT + b"content-length: %d\r\n\r\n" % len(body) + body)
        with contextlib.suppress(OSError):
            return connection.recv(1000)[9:12]
    return b"none"


def many_messages(port: int) -> str:
    item = b'{"role":"user","content":""},'
    body = b'{"model":"gpt-4","messages":[' + (item * 340_000)[:-1] + b"]}"
    statuses = {_call(port, body).decode() for _ in range(5)}
    return f"5 calls of 340,000 messages, {len(body) / MIB:.1f} MiB each: {', '.join(sorted(statuses))}"


def many_objects(port: int) -> str:
    body = b'{"model":"gpt-4","messages":[' + (b"{}," * 3_400_000)[:-1] + b"]}"
    statuses = {_call(port, body).decode() for _ in range(5)}
    return f"5 calls of 3.4 million {{}}, {len(body) / MIB:.1f} MiB each: {', '.join(sorted(statuses))}"


def hostile_provider(port: int) -> str:
    """Calls the model whose provider is hostile, 20 times at once."""
    body = b'{"model":"hostile","stream":%b,"messages":[{"role":"user","content":"hi"}]}'
    statuses: dict[str, int] = {}
    with _many(port, 20) as sockets:
        for number, each in enumerate(sockets):
            call = body % (b"true" if number % 2 else b"false")
            _send_all(each, CHAT + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(call) + call)
        for each in sockets:
            each.settimeout(30)
            with contextlib.suppress(OSError):
                status = each.recv(1000)[9:12].decode()
                statuses[status] = statuses.get(status, 0) + 1
    counts = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    return f"20 calls, half of them streams: {counts}"


ATTACKS: dict[str, Callable[[int], str]] = {
    each.__name__: each
    for each in (
        endless_trailer,
        endless_header,
        unread_answers,
        idle_connections,
        slow_heads,
        slow_bodies,
        held_bodies,
        many_messages,
        many_objects,
        hostile_provider,
    )
}


if __name__ == "__main__":
    allow_many()
    sys.stdout.write(ATTACKS[sys.argv[1]](int(sys.argv[2])) + "\n")
