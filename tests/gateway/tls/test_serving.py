"""A gateway that serves TLS: real clients over both protocols, streams that are reset, drain, several processes."""

import contextlib
import json
import resource
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis
import yaml
from hyperframe.frame import DataFrame, GoAwayFrame
from openai.types.chat import ChatCompletionUserMessageParam

from shared_state.embedded import EmbeddedStore, die_with_parent
from tests.loadtest.process import CHAT, PATIENCE_S, ProviderProcess, chat_body, wait_until
from tests.support.cluster import START_TIMEOUT_S, deployment
from tests.support.ending import end
from tests.support.h2_wire import END_HEADERS, END_STREAM, H2Wire, client_context, data, headers
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.tls_server import Identity, identity

__all__ = ["identity"]

ASKED: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "hi"}]


class Gateway:
    """`pllm serve` with TLS, as a process of its own."""

    def __init__(self, folder: Path, identity: Identity, store: EmbeddedStore, provider: ProviderProcess) -> None:
        self.identity, self.log, self.port = identity, folder / "log", free_port()
        self.metrics_port, self.domain = free_port(), f"tls-{self.port}"
        tls = {"certificate": str(identity.certificate), "key": str(identity.key)}
        self.document: dict[str, Any] = {
            "server": {"port": self.port, "metrics_port": self.metrics_port, "tls": tls},
            "state": {"url": store.url, "domain": self.domain, "deadline": "5s"},
            "model_list": [deployment("tls-1", provider)],
        }
        self.config = folder / "pllm.yaml"
        self.open_files: int | None = None
        self._redis: Any = redis.Redis(unix_socket_path=str(store.socket))

    def start(self, *arguments: str) -> None:
        self.config.write_text(yaml.safe_dump(self.document))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(self.config), *arguments]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=self._begin)
        wait_until(self._is_ready, self.said, START_TIMEOUT_S)

    def _begin(self) -> None:
        die_with_parent()
        if self.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        with contextlib.suppress(httpx.HTTPError), self.client() as client:
            return client.get("/readyz").status_code == 200
        return False

    def said(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def context(self, *protocols: str) -> ssl.SSLContext:
        return client_context(self.identity.authority.certificate, protocols or ("h2",))

    def client(self, *, http2: bool = True) -> httpx.Client:
        verify = ssl.create_default_context(cafile=str(self.identity.authority.certificate))
        return httpx.Client(base_url=self.url, http2=http2, http1=not http2, verify=verify, trust_env=False)

    def wire(self) -> H2Wire:
        return H2Wire(("127.0.0.1", self.port), self.context())

    def leases(self) -> int:
        return int(self._redis.zcard(f"pllm:{{{self.domain}}}:leases"))

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        self._redis.close()
        end(self.process)


@pytest.fixture
def provider(provider_processes: list[ProviderProcess]) -> ProviderProcess:
    provider = provider_processes[0]
    provider.behave(stall_rate=0, stall_after_chunks=None, chunk_gap_ms=0, chunks=8, error_rate=0, latency_ms=0)
    provider.wait_for(in_flight=0)
    provider.request("POST", "/control/reset")
    return provider


@pytest.fixture
def idle(tmp_path: Path, identity: Identity, store: EmbeddedStore, provider: ProviderProcess) -> Iterator[Gateway]:
    """Not started yet."""
    made = Gateway(tmp_path, identity, store, provider)
    yield made
    made.close()
    assert "Traceback" not in made.said()


@pytest.fixture
def gateway(idle: Gateway) -> Gateway:
    idle.start()
    return idle


def chat(stream_id: int, **fields: Any) -> bytes:
    """A call as frames."""
    body = json.dumps(chat_body(**fields)).encode()
    names = ((":method", "POST"), (":scheme", "https"), (":path", CHAT), (":authority", "localhost"))
    return headers(stream_id, names, END_HEADERS) + data(stream_id, body, END_STREAM)


@pytest.mark.parametrize("http2", [True, False])
def test_official_client_is_served_over_both_protocols(gateway: Gateway, http2: bool) -> None:
    verify = gateway.context("h2" if http2 else "http/1.1")
    http = openai.DefaultHttpxClient(http2=http2, http1=not http2, verify=verify, trust_env=False)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", http_client=http, max_retries=0) as client:
        plain = client.chat.completions.with_raw_response.create(
            model="gpt-4", messages=[{"role": "user", "content": "hi"}]
        )
        chunks = list(
            client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "hi"}], stream=True)
        )

    assert plain.http_response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert plain.parse().choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize(("flag", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_curl_is_served_over_both_protocols(gateway: Gateway, flag: str, version: str) -> None:
    command = [program("curl"), "-sS", flag, "--cacert", str(gateway.identity.authority.certificate)]
    command += ["-w", "\n%{http_version} %{http_code}", "-d", json.dumps(chat_body()), f"{gateway.url}{CHAT}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    body, _, shown = done.stdout.rpartition("\n")

    assert (shown, done.stderr) == (f"{version} 200", "")
    assert json.loads(body)["choices"]


@pytest.mark.parametrize("http2", [True, False])
@pytest.mark.parametrize("foreign", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_page_of_another_site_is_refused_over_both_protocols(
    gateway: Gateway, http2: bool, foreign: dict[str, str]
) -> None:
    with gateway.client(http2=http2) as client:
        answers = [client.post(CHAT, json=chat_body(), headers=foreign), client.get("/livez", headers=foreign)]

    assert {answer.http_version for answer in answers} == {"HTTP/2" if http2 else "HTTP/1.1"}
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(403, "cross_origin")}


def test_start_line_names_https(gateway: Gateway) -> None:
    wait_until(lambda: f"listens on https://127.0.0.1:{gateway.port}" in gateway.said())

    assert f"live page: https://127.0.0.1:{gateway.port}/admin" in gateway.said()


def test_large_body_is_refused_as_on_http1(idle: Gateway) -> None:
    idle.document["server"]["max_body"] = "1MiB"
    idle.start()
    body = json.dumps(chat_body(user="x" * (2**20 + 1)))
    answers = []
    for http2 in (True, False):
        with idle.client(http2=http2) as client:
            answers.append(client.post(CHAT, content=body).status_code)

    assert answers == [413, 413]


@pytest.mark.parametrize("stream", [True, False])
def test_reset_stream_aborts_its_call_alone_and_settles_its_lease(
    gateway: Gateway, provider: ProviderProcess, stream: bool
) -> None:
    provider.behave(latency_ms=0 if stream else 60_000, chunk_gap_ms=60_000)
    with gateway.wire() as wire:
        wire.send(chat(1, stream=stream), chat(3, stream=stream))
        provider.wait_for(in_flight=2)
        wire.reset(1)
        provider.wait_for(in_flight=1)
        wait_until(lambda: gateway.leases() == 1)
        wire.socket.close()
        provider.wait_for(in_flight=0)

    wait_until(lambda: gateway.leases() == 0)


def test_stream_in_flight_is_finished_when_the_gateway_ends(gateway: Gateway, provider: ProviderProcess) -> None:
    provider.behave(chunks=20, chunk_gap_ms=30)
    with gateway.wire() as wire:
        wire.send(chat(1, stream=True))
        wire.until(DataFrame, stream_id=1)
        gateway.process.send_signal(signal.SIGTERM)
        status, body = wire.answer(1)

        assert wire.until(GoAwayFrame) is not None or any(isinstance(each, GoAwayFrame) for each in wire.seen)
    assert (status, body.endswith(b"data: [DONE]\n\n")) == ("200", True)
    assert gateway.process.wait(PATIENCE_S) == 0
    assert gateway.leases() == 0


def test_metrics_have_a_plain_port_of_their_own(gateway: Gateway) -> None:
    httpx.get(f"http://127.0.0.1:{gateway.port}/", trust_env=False)
    text = httpx.get(f"http://127.0.0.1:{gateway.metrics_port}/metrics", trust_env=False).text

    assert 'pllm_tls_handshakes_failed_total{reason="not_tls"} 1.0' in text
    assert 'pllm_tls_reloads_total{result="applied"} 0.0' in text
    assert "pllm_tls_certificate_expires_timestamp_seconds" in text


def test_each_of_several_processes_serves_tls(idle: Gateway) -> None:
    del idle.document["server"]["metrics_port"]  # each needs one of its own, and only the first is known to be free
    idle.start("--replicas", "2")
    with idle.client() as client:
        assert client.post(CHAT, json=chat_body()).status_code == 200, idle.said()

    assert idle.end() == 0


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"], ids=["nothing", "a beginning"])
def test_clients_that_complete_no_handshake_take_no_descriptor_from_others(idle: Gateway, sent: bytes) -> None:
    """More of them than a process may have files: the oldest make room."""
    idle.open_files = 300
    idle.start()
    with contextlib.ExitStack() as silent:
        for _ in range(8):
            for _ in range(50):
                client = silent.enter_context(socket.create_connection(("127.0.0.1", idle.port), timeout=PATIENCE_S))
                client.sendall(sent)
            for http2 in (True, False):
                with idle.client(http2=http2) as honest:
                    assert honest.post(CHAT, json=chat_body()).status_code == 200

    assert "never retrieved" not in idle.said()
    assert "too many open files" not in idle.said().lower()


def test_files_that_cannot_be_used_stop_the_start(idle: Gateway) -> None:
    idle.document["server"]["tls"]["key"] = "/nowhere/tls.key"
    with pytest.raises(AssertionError, match=r"server\.tls\.key: /nowhere/tls\.key cannot be read"):
        idle.start()

    assert idle.process.returncode == 1


@pytest.mark.parametrize("is_trusted", [True, False])
def test_console_trusts_the_authority_of_the_environment(
    gateway: Gateway, is_trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # is not used
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(gateway.identity.authority.certificate))
    command = [sys.executable, "-m", "gateway", "top", "--url", gateway.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert (done.returncode, "tls-1" in done.stdout) == ((0, True) if is_trusted else (1, False)), done.stderr
    assert "Traceback" not in done.stderr
