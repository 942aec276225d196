"""The request for a cluster's events, and possible answers."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from loadtest.report.cluster_events import EventsUnknown, fetch_events

EVENTS = b'{"events": [{"subject": "azure", "from": "closed", "to": "open", "reason": "slow", "at_ms": 5}]}'


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """One connection gets these bytes, whatever it asks; what it asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/chat/completions", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{",
        whole(b"[]"),
        whole(b"{"),
        whole(b"\xff"),
    ],
)
def test_any_invalid_answer_is_explained(answer: bytes) -> None:
    with answering(answer) as (url, _), pytest.raises(EventsUnknown, match=r"127\.0\.0\.1"):
        fetch_events([url], None, 0, 10)


def test_next_replica_is_queried_when_one_does_not_answer() -> None:
    with answering(whole(EVENTS)) as (url, _):
        events = fetch_events(["http://127.0.0.1:1/v1/chat/completions", url], None, 0, 10)

    assert [event.render() for event in events] == ["azure: closed → open (slow)"]


def test_key_goes_as_the_bytes_that_calls_send() -> None:
    with answering(whole(EVENTS)) as (url, asked):
        fetch_events([url], "schlüssel-鍵", 0, 10)

    assert "authorization: bearer schlüssel-鍵" in asked[0].decode().lower()
