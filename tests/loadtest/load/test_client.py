"""One call to the provider: every possible end becomes one sample."""

import asyncio
import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loadtest.load.client import Client
from loadtest.load.connection import ANSWER_MOST
from loadtest.load.measure import Sample
from loadtest.load.requests import Choice, Target
from tests.loadtest.process import CHAT, ProviderProcess


def call(url: str, *, connections: int = 10, late_s: float = 0.0, **fields: Any) -> Sample:
    async def run() -> Sample:
        async with Client(Target(urls=[url], **fields), connections) as client:
            return await client.call(time.monotonic() - late_s)

    return asyncio.run(run())


def test_plain_answer_has_latency_and_tokens(provider: ProviderProcess) -> None:
    provider.behave(latency_ms=30)
    sample = call(provider.url + CHAT)

    assert (sample.failure, sample.tokens, sample.first_byte_ms) == (None, 8, None)
    assert sample.total_ms >= 30


def test_stream_has_its_first_byte_before_its_end(provider: ProviderProcess) -> None:
    provider.behave(chunk_gap_ms=20, chunks=4)
    sample = call(provider.url + CHAT, is_stream=True)

    assert (sample.failure, sample.tokens) == (None, 4)
    assert sample.first_byte_ms is not None
    assert sample.total_ms - sample.first_byte_ms >= 50


def test_stream_has_its_first_token_and_the_gaps_between_tokens(provider: ProviderProcess) -> None:
    provider.behave(latency_ms=40, chunk_gap_ms=20, chunks=4)
    sample = call(provider.url + CHAT, is_stream=True)

    assert sample.first_token_ms is not None
    assert sample.first_byte_ms is not None
    assert sample.first_token_ms >= sample.first_byte_ms >= 40
    assert len(sample.gaps_ms) == 3
    assert min(sample.gaps_ms) > 5


def test_stream_that_is_given_up_is_left_midway(provider: ProviderProcess) -> None:
    provider.behave(chunk_gap_ms=20, chunks=1000)
    sample = call(provider.url + CHAT, is_stream=True, give_up_ratio=1.0)

    assert (sample.failure, sample.is_given_up) == (None, True)
    assert 1 <= sample.tokens <= 4
    provider.wait_for(aborted=1, in_flight=0)


def test_given_up_streams_are_independent_of_their_requests(provider: ProviderProcess) -> None:
    mix = [Choice("a"), Choice("b")]
    target = Target(urls=[provider.url + CHAT], models=mix, is_stream=True, give_up_ratio=0.5)

    async def first_given_up(seed: int) -> str | None:
        async with Client(target, 1, seed) as client:
            while not (sample := await client.call(time.monotonic())).is_given_up:
                assert sample.failure is None
        return sample.model

    assert {asyncio.run(first_given_up(seed)) for seed in range(12)} == {"a", "b"}


def test_connections_are_used_again_and_again(provider: ProviderProcess) -> None:
    async def run() -> int:
        async with Client(Target(urls=[provider.url + CHAT]), 1) as client:
            samples = [await client.call(time.monotonic()) for _ in range(20)]
            assert all(sample.failure is None for sample in samples)
            return len(client._idle[provider.url + CHAT])

    assert asyncio.run(run()) == 1


def test_request_carries_model_key_and_headers(provider: ProviderProcess) -> None:
    call(provider.url + CHAT, is_stream=True, max_tokens=5, keys=["secret"], headers={"x-pllm-priority": "high"})

    counts = provider.counts()
    assert counts["last_headers"]["authorization"] == "Bearer secret"
    assert counts["last_headers"]["x-pllm-priority"] == "high"
    assert counts["last_body"] == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("behaviour", "is_stream", "failure"),
    [
        ({"error_rate": 1, "error_status": 429}, False, "429 rate_limit_exceeded"),
        ({"error_rate": 1, "error_status": 503}, True, "503 server_error"),
        ({"error_rate": 1, "error_body": "<html>"}, False, "500"),
        ({"cut_after_chunks": 2}, False, "answer cut"),
        ({"cut_after_chunks": 2}, True, "answer cut"),
        ({"malformed": "html"}, False, "200 with bad JSON"),
        ({"malformed": "half_json"}, False, "200 with bad JSON"),
        ({"malformed": "half_json"}, True, "stream with bad JSON"),
        ({"malformed": "empty"}, False, "200 with an empty body"),
        ({"malformed": "empty"}, True, "stream without [DONE]"),
        ({"malformed": "html"}, True, "stream without [DONE]"),
        ({"stall_rate": 1}, False, "timeout waiting for the answer"),
        ({"stall_rate": 1}, True, "timeout waiting for the answer"),
        ({"stall_after_chunks": 2}, True, "timeout in mid-stream"),
    ],
)
def test_every_failure_has_a_name(
    provider: ProviderProcess, behaviour: dict[str, Any], is_stream: bool, failure: str
) -> None:
    provider.behave(**behaviour)
    # Only the stalls wait for the time-out.
    timeout_s = 0.5 if "timeout" in failure else 10.0

    assert call(provider.url + CHAT, is_stream=is_stream, timeout_s=timeout_s).failure == failure


def test_refused_connection_has_a_name() -> None:
    assert call("http://127.0.0.1:1" + CHAT).failure == "cannot connect"


def test_wrong_name_or_protocol_is_not_an_unreachable_server(provider: ProviderProcess) -> None:
    assert call("http://nobody.invalid" + CHAT).failure == "cannot connect: name not found"
    failure = call(provider.url.replace("http:", "https:") + CHAT).failure
    assert failure is not None
    assert failure.startswith("cannot connect: TLS ")


def test_files_that_are_used_up_are_not_the_servers_fault(provider: ProviderProcess) -> None:
    async def run() -> Sample:
        async with Client(Target(urls=[provider.url + CHAT]), 10) as client:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
                return await client.call(time.monotonic())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert asyncio.run(run()).failure == "cannot connect: no file is left here"


def test_latency_counts_from_when_the_call_was_due(provider: ProviderProcess) -> None:
    sample = call(provider.url + CHAT, late_s=0.5)

    assert sample.queue_ms >= 500
    assert sample.total_ms >= sample.queue_ms


def test_call_that_was_due_too_long_ago_times_out_unsent(provider: ProviderProcess) -> None:
    sample = call(provider.url + CHAT, late_s=2, timeout_s=1)

    assert sample.failure is not None
    assert sample.failure.startswith("timeout")
    assert provider.counts()["succeeded"] == 0


def test_calls_beyond_the_connections_wait_in_the_client_queue(provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)

    async def run() -> list[Sample]:
        target = Target(urls=[provider.url + CHAT], timeout_s=0.5)
        async with Client(target, 2) as client:
            return await asyncio.gather(*(client.call(time.monotonic()) for _ in range(5)))

    failures = sorted(sample.failure or "" for sample in asyncio.run(run()))
    assert failures.count("timeout waiting for the answer") == 2
    assert failures.count("timeout in the client queue") == 3
    assert provider.counts()["max_in_flight"] == 2


def test_urls_take_turns(provider: ProviderProcess) -> None:
    async def run() -> list[str]:
        urls = [provider.url + CHAT, "http://127.0.0.1:1" + CHAT]
        async with Client(Target(urls=urls), 1) as client:
            samples = [await client.call(time.monotonic()) for _ in range(4)]
        return [sample.failure or "ok" for sample in samples]

    assert asyncio.run(run()) == ["ok", "cannot connect", "ok", "cannot connect"]


@pytest.mark.parametrize(
    ("answer", "failure", "tokens"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n" + b'{"choices":[{}]}', None, 0),  # its length is where the connection ends
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n" + b'{"choices":[{}]}', None, 0),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "answer cut", 0),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP", 0),
        (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello", "not HTTP", 0),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "not HTTP", 0),
        (b"", "disconnected before an answer", 0),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", "302", 0),
    ],
)
def test_other_servers_answers_are_understood_or_named(answer: bytes, failure: str | None, tokens: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        sample = call(f"http://127.0.0.1:{listener.getsockname()[1]}{CHAT}")
        thread.join()

    assert (sample.failure, sample.tokens) == (failure, tokens)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nx-pllm-replica: ", b"HTTP/1.1 200 OK\r\n\r\ndata: "])
def test_answer_without_end_is_left(head: bytes, is_stream: bool) -> None:
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            nonlocal sent
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(head)
                while sent < 10 * ANSWER_MOST:
                    sent += connection.send(b"a" * 2**20)

        thread = threading.Thread(target=serve)
        thread.start()
        sample = call(f"http://127.0.0.1:{listener.getsockname()[1]}{CHAT}", is_stream=is_stream)
        thread.join()

    assert sample.failure == "answer too large"
    assert sent < 3 * ANSWER_MOST


def test_refused_call_goes_to_the_next_address_as_a_balancer_would_send_it(provider: ProviderProcess) -> None:
    async def run(is_failover: bool) -> list[str]:
        urls = ["http://127.0.0.1:1" + CHAT, provider.url + CHAT]
        async with Client(Target(urls=urls, is_failover=is_failover), 1) as client:
            return [(await client.call(time.monotonic())).failure or "ok" for _ in range(2)]

    assert asyncio.run(run(True)) == ["ok", "ok"]
    assert asyncio.run(run(False)) == ["cannot connect", "ok"]


def test_failover_ends_where_no_server_answers(provider: ProviderProcess) -> None:
    async def run() -> Sample:
        urls = ["http://127.0.0.1:1" + CHAT, "http://127.0.0.1:2" + CHAT]
        async with Client(Target(urls=urls, is_failover=True), 1) as client:
            return await client.call(time.monotonic())

    assert asyncio.run(run()).failure == "cannot connect"


class GatewayHandler(BaseHTTPRequestHandler):
    """Answers as a gateway does, with its headers."""

    overhead_ms = "1.25"

    def do_POST(self) -> None:
        body = b'{"choices":[{}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        for name, value in {
            "x-pllm-deployment": "gpt-4-primary",
            "x-pllm-replica": "r1",
            "x-pllm-fallback": "gpt-4>claude",
            "x-pllm-overhead-ms": self.overhead_ms,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def gateway_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), GatewayHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{CHAT}"
        server.shutdown()
        thread.join()


def test_gateway_headers_are_read(gateway_url: str) -> None:
    sample = call(gateway_url)

    assert (sample.deployment, sample.replica, sample.fallback) == ("gpt-4-primary", "r1", "gpt-4>claude")
    assert sample.overhead_ms == 1.25


@pytest.mark.parametrize("overhead_ms", ["nan", "1e999", "-1", "soon"])
def test_invalid_duration_is_left_out(gateway_url: str, overhead_ms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatewayHandler, "overhead_ms", overhead_ms)

    assert call(gateway_url).overhead_ms is None


def test_calls_at_once_that_are_refused_each_go_to_another_address(provider: ProviderProcess) -> None:
    async def run() -> list[str]:
        urls = ["http://127.0.0.1:1" + CHAT, provider.url + CHAT]
        target = Target(urls=urls, is_failover=True, priorities=[Choice("high"), Choice("low")])
        async with Client(target, 30) as client:
            samples = await asyncio.gather(*(client.call(time.monotonic()) for _ in range(30)))
        return [sample.failure or "ok" for sample in samples]

    assert asyncio.run(run()) == ["ok"] * 30
