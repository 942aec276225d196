"""HTTP/1.1 as clients speak it: old, odd, hurried and hostile ones."""

import json
import re
import socket

import pytest

from loadtest.bench.rig import cpu_s
from tests.loadtest.process import CHAT, ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.wire import DONE, Call, ask, chat_bytes, request_bytes

H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA"}
CHUNKED = b"POST %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: a\x00b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx y: z\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: y\r\n folded\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5, 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: [::1]\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
        CHUNKED % CHAT.encode() + b"ZZ\r\n",
    ],
    ids=["TLS", "no target", "space in target", "byte in target", "NUL in header", "space in name", "folded header",
         "CONNECT", "CONNECT of a path", "HTTP/2", "huge length", "list of lengths", "length and chunks",
         "two encodings", "gzip", "bad chunk"],
)  # fmt: skip
def test_broken_request_is_refused_and_its_connection_closed(replica: ReplicaProcess, text: bytes) -> None:
    with Call(replica.address, text) as call:
        answer = call.answer()
        rest = call.read_to_end()

    assert (answer.status, answer.error["code"], rest) == (400, "invalid_http", b"")
    assert (answer.headers["connection"], answer.headers["cache-control"]) == ("close", "no-store")


def test_chunk_broken_later_is_refused_without_a_call(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    with Call(replica.address, CHUNKED % CHAT.encode() + b"2\r\n{ \r\n") as call:
        call.send(b"ZZ\r\n")
        answer = call.answer()

    assert (answer.status, answer.error["code"]) == (400, "invalid_http")
    assert provider.counts()["requests"] == 0


@pytest.mark.parametrize(
    "start", [b"GET /livez HTTP/1.1\r\nx: " + b"y" * 200_000, b"GET /" + b"y" * 200_000, b"\r\n" * 100_000]
)
def test_too_large_a_head_is_refused(replica: ReplicaProcess, start: bytes) -> None:
    with Call(replica.address) as call:
        call.try_send(start)
        answer = call.answer()

    assert (answer.status, answer.error["code"]) == (431, "invalid_http")


def test_offer_of_http_2_is_passed_over(replica: ReplicaProcess) -> None:
    """Java's client makes it with every POST by default."""
    answer = replica.chat(headers=H2C)

    assert (answer.status, answer.content.startswith("Hello")) == (200, True)


def test_offer_of_http_2_in_pieces_is_passed_over(replica: ReplicaProcess) -> None:
    data = chat_bytes(model="gpt-4", headers=H2C)
    with Call(replica.address) as call:
        for position in range(0, len(data), 7):
            call.send(data[position : position + 7])
        assert call.answer().status == 200
        call.send(chat_bytes(model="gpt-4"))
        assert call.answer().status == 200


def test_body_of_a_request_with_an_offer_is_no_request(replica: ReplicaProcess) -> None:
    inner = request_bytes("GET", "/livez")
    offer = H2C | {"content-length": str(len(inner)), "expect": "100-continue"}
    with Call(replica.address, request_bytes("POST", CHAT, headers=offer)) as call:
        call.read_until(b"100 Continue\r\n\r\n")
        call.send(inner + chat_bytes(model="gpt-4", headers={"connection": "close"}))
        assert re.findall(rb"HTTP/1.1 (\d+)", call.read_to_end()) == [b"400", b"200"]


def test_two_offers_at_once_are_passed_over(replica: ReplicaProcess) -> None:
    last = chat_bytes(model="gpt-4", headers=H2C | {"connection": "Upgrade, HTTP2-Settings, close"})
    with Call(replica.address, chat_bytes(model="gpt-4", headers=H2C) + last) as call:
        assert re.findall(rb"HTTP/1.1 (\d+)", call.read_to_end()) == [b"200", b"200"]


def test_pipelined_requests_are_answered_in_order(replica: ReplicaProcess) -> None:
    last = chat_bytes(model="gpt-4", stream=True, headers={"connection": "close"})
    with Call(replica.address, chat_bytes(model="gpt-4") + chat_bytes(model="unknown") + last) as call:
        text = call.read_to_end()

    marks = [b"HTTP/1.1 200", b'"usage":{', b"HTTP/1.1 404", b"model_not_found", b"HTTP/1.1 200", b"data: [DONE]"]
    positions = [text.find(mark) for mark in marks[:4]] + [text.rfind(mark) for mark in marks[4:]]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_too_much_sent_ahead_is_left_unanswered_and_the_connection_closed(
    replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    """HTTP allows it: a client that pipelines must be ready to send again."""
    data = chat_bytes(model="gpt-4")
    provider.behave(stall_rate=1)
    with Call(replica.address, chat_bytes(model="gpt-4", headers={"x-pllm-timeout": "1s"})) as call:
        provider.wait_for(in_flight=1)
        call.send(data * 1000)
        text = call.read_to_end()

    assert re.findall(rb"HTTP/1.1 (\d+)", text) == [b"504"]
    assert provider.counts()["requests"] == 1


def test_garbage_after_a_request_does_not_spoil_its_answer(replica: ReplicaProcess) -> None:
    assert ask(replica.address, chat_bytes(model="gpt-4") + b"garbage\r\n\r\n").status == 200


def test_http_1_0_gets_an_unframed_stream(replica: ReplicaProcess) -> None:
    data = chat_bytes(model="gpt-4", stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")
    with Call(replica.address, data) as call:
        text = call.read_to_end()

    assert b"chunked" not in text
    assert text.endswith(b"\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("target", ["http://localhost/livez", "http://127.0.0.1:80/livez?x=1", "/livez?x=1"])
def test_target_may_be_absolute_or_have_a_query(replica: ReplicaProcess, target: str) -> None:
    assert replica.get(target).status == 200


def test_head_has_no_body(replica: ReplicaProcess) -> None:
    with Call(replica.address, request_bytes("HEAD", "/livez") + request_bytes("GET", "/livez")) as call:
        head, _, rest = call.read_until(b"ok").partition(b"\r\n\r\n")

    assert b"content-length: 2" in head
    assert rest.startswith(b"HTTP/1.1 200")


def test_client_that_waits_for_100_continue_receives_it(replica: ReplicaProcess) -> None:
    data = chat_bytes(model="gpt-4", headers={"expect": "100-continue"})
    head, _, body = data.partition(b"\r\n\r\n")
    with Call(replica.address, head + b"\r\n\r\n") as call:
        assert call.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        call.send(body)
        assert call.answer().status == 200


def test_trailers_are_no_headers(replica: ReplicaProcess) -> None:
    body = json.dumps({"model": "gpt-4", "messages": [{}]}).encode()
    data = CHUNKED % CHAT.encode() + b"%x\r\n%b\r\n0\r\nx-pllm-priority: wrong\r\n\r\n" % (len(body), body)

    assert ask(replica.address, data).status == 200


def test_connection_close_is_obeyed(replica: ReplicaProcess) -> None:
    with replica.begin_chat(headers={"connection": "close"}) as call:
        answer = call.answer()
        rest = call.read_to_end()

    assert (answer.headers["connection"], rest) == ("close", b"")


def test_response_ahead_of_the_body_closes_the_connection(replica: ReplicaProcess) -> None:
    """Or its client would send the next request to a connection that is being closed."""
    head = request_bytes("POST", CHAT, headers={"content-length": "100000000"})
    with Call(replica.address, head) as call:
        answer = call.answer()
        rest = call.read_to_end()

    assert (answer.status, answer.headers.get("connection"), rest) == (413, "close", b"")


def test_nothing_after_the_last_request_is_answered(replica: ReplicaProcess) -> None:
    last = chat_bytes(model="gpt-4", headers={"connection": "close"})
    with Call(replica.address, last + chat_bytes(model="gpt-4")) as call:
        assert re.findall(rb"HTTP/1.1 (\d+)", call.read_to_end()) == [b"200"]


def test_slow_reader_of_a_long_stream_gets_all_of_it(cluster: Cluster, replica: ReplicaProcess) -> None:
    """The answer is larger than all buffers on its way, so the gateway has to wait for its client."""
    cluster.providers[0].behave(chunks=20_000)
    with replica.begin_chat(stream=True) as call:
        answer = call.answer()

    assert (answer.is_whole, answer.events[-1]) == (True, DONE)
    assert len(answer.events) == 20_003


ENDLESS = {
    "header": (b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: ", b"y", 431),
    "headers": (b"GET /livez HTTP/1.1\r\nhost: localhost\r\n", b"x: y\r\n", 431),
    "target": (b"GET /", b"y", 431),
    "line ends": (b"", b"\r\n", 431),
    "extension": (CHUNKED % CHAT.encode() + b"1;x=", b"y", 413),
    "trailer": (CHUNKED % CHAT.encode() + b"2\r\n{}\r\n0\r\nx: ", b"y", 413),
    "trailers": (CHUNKED % CHAT.encode() + b"2\r\n{}\r\n0\r\n", b"x: y\r\n", 413),
    "tiny chunks": (CHUNKED % CHAT.encode(), b"1\r\nx\r\n", 413),
}


@pytest.mark.parametrize("size", [500, 100_000], ids=["pieces", "reads"])
@pytest.mark.parametrize(("start", "more", "status"), ENDLESS.values(), ids=ENDLESS)
def test_endless_bytes_are_refused_after_little(
    replica: ReplicaProcess, start: bytes, more: bytes, status: int, size: int
) -> None:
    piece, before = more * (size // len(more)), cpu_s(replica.process.pid)
    with Call(replica.address, start) as call:
        for _ in range(2_000_000 // len(piece)):
            if not call.try_send(piece):
                break
        answer = call.answer()

    assert (answer.status, answer.error["code"]) == (status, "invalid_http")
    assert cpu_s(replica.process.pid) - before < 2.0


def test_client_that_closes_its_side_has_left(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    """A half-closed connection looks like the end of one, and the provider's call would be paid for nothing."""
    provider.behave(stall_rate=1)
    with Call(replica.address, chat_bytes(model="gpt-4")) as call:
        provider.wait_for(in_flight=1)
        call.socket.shutdown(socket.SHUT_WR)
        provider.wait_for(aborted=1, in_flight=0)
        assert call.read_to_end() == b""
    cluster.wait_until_idle()


def test_options_of_the_server_as_a_whole(replica: ReplicaProcess) -> None:
    answer = replica.request("OPTIONS", "*")

    assert (answer.status, answer.body) == (204, b"")
    assert "POST" in answer.headers["allow"]
    assert answer.headers["cache-control"] == "no-store"


def test_absolute_form_keeps_its_query(replica: ReplicaProcess) -> None:
    for target in ("/v1/admin/events?before=no", "http://localhost/v1/admin/events?before=no"):
        answer = replica.get(target)
        assert answer.status == 400, answer
