"""Bodies and connections: what is too large, half sent or left alone."""

import contextlib
import os

import pytest

from tests.gateway.conftest import MAX_BODY
from tests.loadtest.process import CHAT, ProviderProcess, wait_until
from tests.support.cluster import ReplicaProcess
from tests.support.wire import Answer, Call, chat_bytes, request_bytes

CHUNKED = b"POST %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
PART = b"10000\r\n" + b"x" * 65_536 + b"\r\n"


def refused(replica: ReplicaProcess, data: bytes) -> Answer:
    with Call(replica.address) as call:
        call.try_send(data)
        return call.answer()


def open_files(replica: ReplicaProcess) -> int:
    return len(os.listdir(f"/proc/{replica.process.pid}/fd"))


def test_body_at_the_limit_is_taken(replica: ReplicaProcess) -> None:
    spare = MAX_BODY - len(chat_bytes(model="gpt-4", pad="").partition(b"\r\n\r\n")[2])

    assert replica.chat(pad="x" * spare).status == 200


def test_body_over_the_limit_is_refused(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    spare = MAX_BODY - len(chat_bytes(model="gpt-4", pad="").partition(b"\r\n\r\n")[2])
    answer = replica.chat(pad="x" * (spare + 1))

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert provider.counts()["requests"] == 0


@pytest.mark.parametrize("megabytes", [1, 16])
def test_huge_announced_body_is_refused(replica: ReplicaProcess, megabytes: int) -> None:
    answer = refused(replica, request_bytes("POST", CHAT, b"x" * 1_048_576 * megabytes))

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("megabytes", [1, 16])
def test_huge_chunked_body_is_refused(replica: ReplicaProcess, megabytes: int) -> None:
    answer = refused(replica, CHUNKED % CHAT.encode() + PART * 16 * megabytes + b"0\r\n\r\n")

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("path", ["/nowhere", "/livez", "/v1/models"])
def test_huge_unread_body_is_answered_and_its_connection_closed(replica: ReplicaProcess, path: str) -> None:
    """Hypercorn keeps such a connection without a bound when its queue is bounded."""
    before = open_files(replica)
    with Call(replica.address) as call:
        call.try_send(CHUNKED % path.encode() + PART * 256 + b"0\r\n\r\n")
        assert call.answer().status in (404, 405)

    wait_until(lambda: open_files(replica) <= before)


def test_body_may_be_chunked(replica: ReplicaProcess) -> None:
    body = chat_bytes(model="gpt-4").partition(b"\r\n\r\n")[2]
    parts = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with Call(replica.address, CHUNKED % CHAT.encode() + parts + b"0\r\n\r\n") as call:
        assert call.answer().status == 200


def test_client_that_leaves_in_the_middle_of_its_body_is_forgotten(
    replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    before = open_files(replica)
    for length in (10, 100, -20, -1):
        with Call(replica.address, chat_bytes(model="gpt-4")[:length]):
            pass

    wait_until(lambda: open_files(replica) <= before)
    assert provider.counts()["requests"] == 0


def test_body_that_never_ends_is_aborted_at_the_deadline(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    with Call(replica.address, chat_bytes(model="gpt-4", headers={"x-pllm-timeout": "100ms"})[:-1]) as call:
        answer = call.answer()

    assert (answer.status, answer.error["type"]) == (408, "invalid_request_error")
    assert provider.counts()["requests"] == 0


def test_connections_of_clients_that_left_are_closed(replica: ReplicaProcess) -> None:
    """Hypercorn keeps them until the keep-alive time is over: 75 s here, and then there are too many open files."""
    before = open_files(replica)
    for _ in range(30):
        assert replica.chat().status == 200

    wait_until(lambda: open_files(replica) <= before + 3, lambda: f"{before}: {open_files(replica)}")


def test_headers_of_60_kb_are_taken(replica: ReplicaProcess) -> None:
    assert replica.get("/livez", {f"x-{number}": "y" * 1000 for number in range(58)}).status == 200


def test_flood_of_headers_is_refused(replica: ReplicaProcess) -> None:
    """It gets a status, or a closed connection when the client does not stop sending."""
    data = request_bytes("GET", "/livez", headers={f"x-{number}": "y" * 1000 for number in range(5000)})
    with Call(replica.address) as call, contextlib.suppress(ConnectionError):
        call.try_send(data)
        assert call.answer().status == 431

    assert replica.get("/livez").status == 200


def test_header_without_an_end_is_refused(replica: ReplicaProcess) -> None:
    with Call(replica.address) as call, contextlib.suppress(ConnectionError):
        call.try_send(b"GET /livez HTTP/1.1\r\nx: " + b"y" * 1_000_000)
        assert call.answer().status == 431

    assert replica.get("/livez").status == 200
