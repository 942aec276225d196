"""One call against the provider: every way it can end becomes one sample."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loadtest.client import Client, Target
from loadtest.measure import Sample
from tests.loadtest.process import CHAT, ProviderProcess


def call(url: str, *, connections: int = 10, late_s: float = 0.0, **fields: Any) -> Sample:
    async def run() -> Sample:
        async with Client(Target(urls=[url], model="gpt-4", **fields), connections) as client:
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


def test_request_carries_model_key_and_headers(provider: ProviderProcess) -> None:
    call(provider.url + CHAT, is_stream=True, max_tokens=5, key="secret", headers={"x-pllm-priority": "high"})

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
        target = Target(urls=[provider.url + CHAT], model="m", timeout_s=0.5)
        async with Client(target, 2) as client:
            return await asyncio.gather(*(client.call(time.monotonic()) for _ in range(5)))

    failures = sorted(sample.failure or "" for sample in asyncio.run(run()))
    assert failures.count("timeout waiting for the answer") == 2
    assert failures.count("timeout in the client queue") == 3
    assert provider.counts()["max_in_flight"] == 2


def test_urls_take_turns(provider: ProviderProcess) -> None:
    async def run() -> list[str]:
        urls = [provider.url + CHAT, "http://127.0.0.1:1" + CHAT]
        async with Client(Target(urls=urls, model="m"), 1) as client:
            samples = [await client.call(time.monotonic()) for _ in range(4)]
        return [sample.failure or "ok" for sample in samples]

    assert asyncio.run(run()) == ["ok", "cannot connect", "ok", "cannot connect"]


class GatewayHandler(BaseHTTPRequestHandler):
    """Answers as a gateway does, with its headers."""

    def do_POST(self) -> None:
        body = b'{"choices":[{}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        for name, value in {
            "x-pllm-deployment": "gpt-4-primary",
            "x-pllm-replica": "r1",
            "x-pllm-fallback": "gpt-4>claude",
            "x-pllm-overhead-ms": "1.25",
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
