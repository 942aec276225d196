"""`pllm check --probe` over the wire: providers that answer, refuse or are not there."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.provider_probe import Verdict, probe
from gateway.configuration.settings import parse
from tests.loadtest.process import ProviderProcess

KEY = "sk-live-0123456789"
CHAT, LIST = "POST /v1/chat/completions", "GET /v1/models"
ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "H"}}]}
WRONG_KEY = {"error": {"message": f"Incorrect API key\nprovided: {KEY}", "type": "x", "code": "invalid_api_key"}}
NO_MODEL = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
TOO_FEW = {"error": {"message": "Could not finish: max_tokens or model output limit was reached.", "type": "x"}}


def models(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name} for name in names]}


class Provider(ThreadingHTTPServer):
    """Answers "METHOD /path" with a status and a body; ``requests`` holds method, path, headers and body of each."""

    daemon_threads = True

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def asked(self) -> list[str]:
        return [line for line, _, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        line = f"{self.command} {self.path}"
        self.server.requests.append((line, {name.lower(): value for name, value in self.headers.items()}, body))
        status, answer = self.server.answers.get(line, (404, {}))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 # the names that http.server calls

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def provider(**answers: tuple[int, Any]) -> Iterator[Provider]:
    with Provider(answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def text(*deployments: tuple[str, str, dict[str, str]]) -> str:
    """``deployments``: id, model and the provider's fields."""
    entries = [
        {"id": name, "model_name": "m", "provider": {"api_key": KEY, "model": model, **fields}}
        for name, model, fields in deployments
    ]
    return json.dumps({"model_list": entries})


def verdict(url: str, model: str = "gpt-4", **fields: str) -> Verdict:
    (found,) = probe(parse(text(("d", model, {"base_url": url, **fields})), {}))
    return found


@pytest.mark.parametrize(
    ("listed", "called", "is_ok", "words"),
    [
        ((200, models("gpt-4", "o1")), None, True, "ok, 2 models, has gpt-4"),
        ((200, models("models/gpt-4")), None, True, "ok, 1 model, has gpt-4"),
        ((200, [{"id": "gpt-4"}]), None, True, "ok, 1 model, has gpt-4"),
        ((200, models("gpt-4o")), (200, ANSWER), True, "ok, gpt-4 answers; not in the list of 1 model"),
        ((200, models()), (404, NO_MODEL), False, "404 model_not_found: no such model; not in the list of 0 models"),
        ((200, b"<html>"), (200, ANSWER), True, "ok, gpt-4 answers; no list of models"),
        ((404, {}), (200, ANSWER), True, "ok, gpt-4 answers; no list of models"),
        ((405, b""), (400, TOO_FEW), True, "ok, gpt-4 answers; no list of models"),
        (
            (501, b""),
            (401, WRONG_KEY),
            False,
            "401 invalid_api_key: Incorrect API key provided: ***; no list of models",
        ),
        ((401, WRONG_KEY), None, False, "401 invalid_api_key: Incorrect API key provided: ***"),
        ((403, {"error": "no scope"}), (200, ANSWER), True, "ok, gpt-4 answers; list of models: 403 Forbidden"),
        ((400, {}), (200, ANSWER), True, "ok, gpt-4 answers; list of models: 400 Bad Request"),
        (
            (403, {"error": "not from here"}),
            (403, {"error": "not from here"}),
            False,
            "403 Forbidden: not from here; list of models: 403 Forbidden",
        ),
        ((429, {"error": {"type": "rate_limit_error", "message": ""}}), None, False, "429 rate_limit_error"),
        ((502, b"<html>"), (502, b""), False, "502 Bad Gateway; list of models: 502 Bad Gateway"),
        ((301, b""), None, False, "301 Moved Permanently"),
        ((599, b""), (200, ANSWER), True, "ok, gpt-4 answers; list of models: 599"),
    ],
)
def test_response_is_described_in_words(listed: tuple[int, Any], called: Any, is_ok: bool, words: str) -> None:
    with provider(**{LIST: listed} | ({CHAT: called} if called else {})) as server:
        found = verdict(server.url)

    assert (found.is_ok, found.words) == (is_ok, words)
    assert server.asked == ([LIST, CHAT] if called else [LIST])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<html>Sign in</html>", "the answer is an HTML page (is base_url right?)"),
        (b"ok", "the response body is not a reply of /chat/completions"),
        ({}, "the response body is not a reply of /chat/completions"),
        ({"error": {"message": "no money", "code": 402}}, "error 402 within a 200: no money"),
        ({"choices": [{"error": {"message": "gone", "code": 502}}]}, "error 502 within a 200: gone"),
        ({"message": "no such route"}, "error 500 within a 200: no such route"),
    ],
)
@pytest.mark.parametrize("has_list", [False, True])
def test_success_that_is_no_answer_is_not_ok(answer: Any, words: str, has_list: bool) -> None:
    with provider(**{LIST: (200, models("other") if has_list else answer), CHAT: (200, answer)}) as server:
        found = verdict(server.url)

    remark = "not in the list of 1 model" if has_list else "no list of models"
    assert (found.is_ok, found.words) == (False, f"{words}; {remark}")


@pytest.mark.parametrize(
    ("kind", "endpoints", "model", "path", "answer", "fields"),
    [
        ("openai", ["embeddings"], "bge-m3", "/embeddings", {"data": []}, {"input"}),
        ("openai", ["chat", "embeddings"], "embed", "/embeddings", {"data": []}, {"input"}),
        ("openai", ["chat"], "embed", "/chat/completions", ANSWER, {"max_tokens", "messages"}),
        ("openai", ["messages"], "m", "/chat/completions", ANSWER, {"max_tokens", "messages"}),
        ("openai", ["completions"], "m", "/completions", ANSWER, {"max_tokens", "prompt"}),
        ("openai", ["responses"], "m", "/responses", {"output": []}, {"max_output_tokens", "input"}),
        ("anthropic", ["chat"], "m", "/messages", {"content": []}, {"max_tokens", "messages"}),
    ],
)
def test_endpoints_of_a_deployment_decide_which_call_is_made(
    kind: str, endpoints: list[str], model: str, path: str, answer: Any, fields: set[str]
) -> None:
    with provider(**{f"POST /v1{path}": (200, answer)}) as server:
        given = {"type": kind, "base_url": server.url, "api_key": KEY, "model": model}
        entry = {"id": "d", "model_name": "m", "endpoints": endpoints, "provider": given}
        (found,) = probe(parse(json.dumps({"model_list": [entry]}), {}))

    assert found.words == f"ok, {model} answers; no list of models"
    assert json.loads(server.requests[-1][2]).keys() == {"model"} | fields


def test_call_is_of_one_token_with_the_key() -> None:
    with provider(**{CHAT: (200, ANSWER)}) as server:
        verdict(server.url)
    _, headers, body = server.requests[-1]

    assert headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(body) == {"model": "gpt-4", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}


def test_embedding_model_is_called_for_an_embedding() -> None:
    with provider(**{"POST /v1/embeddings": (200, {"data": []})}) as server:
        found = verdict(server.url, "text-embedding-3-small")

    assert found.words == "ok, text-embedding-3-small answers; no list of models"
    assert json.loads(server.requests[-1][2]) == {"model": "text-embedding-3-small", "input": "Hi"}


@pytest.mark.parametrize("suffix", ["", "/v1"])
def test_anthropic_is_called_in_its_own_dialect_with_and_without_a_version(suffix: str) -> None:
    listing = "GET /v1/models?limit=1000"
    with provider(**{listing: (200, models("claude-a")), "POST /v1/messages": (200, {"content": []})}) as server:
        address = server.url.removesuffix("/v1") + suffix
        given, alias = (verdict(address, model, type="anthropic") for model in ("claude-a", "claude-latest"))

    assert [given.words, alias.words] == [
        "ok, 1 model, has claude-a",
        "ok, claude-latest answers; not in the list of 1 model",
    ]
    assert server.asked == [listing, listing, "POST /v1/messages"]
    assert {headers["x-api-key"] for _, headers, _ in server.requests} == {KEY}


def test_azure_deployment_is_called_at_once() -> None:
    call = "POST /openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    with provider(**{call: (200, ANSWER)}) as server:
        address = server.url.removesuffix("/v1")
        found = verdict(address, "my gpt", type="azure", api_version="2024-10-21")

    assert found.words == "ok, my gpt answers"
    assert server.asked == [call]
    assert server.requests[0][1]["api-key"] == KEY


def test_list_is_requested_once_for_all_deployments_of_one_key_and_verdicts_keep_their_order() -> None:
    with provider(**{LIST: (200, models("a", "b"))}) as server, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        here, away = {"base_url": server.url}, {"base_url": f"http://127.0.0.1:{unused.getsockname()[1]}/v1"}
        other = {**here, "api_key": "another"}
        settings = parse(text(("1", "a", here), ("2", "a", away), ("3", "b", here), ("4", "a", other)), {})
        found = probe(settings)

    assert [(each.deployment, each.words) for each in found] == [
        ("1", "ok, 2 models, has a"),
        ("2", "connection refused"),
        ("3", "ok, 2 models, has b"),
        ("4", "ok, 2 models, has a"),
    ]
    assert server.asked == [LIST, LIST]


def test_silent_providers_time_out_together() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = [f"http://127.0.0.1:{silent.getsockname()[1]}/v1{number}" for number in range(10)]
        settings = parse(text(*((f"{n}", "a", {"base_url": url}) for n, url in enumerate(addresses))), {})
        started = time.monotonic()
        found = probe(settings, patience_s=0.5)

    assert {each.words for each in found} == {"timed out"}
    assert time.monotonic() - started < 4.0  # one after the other they take 5 s


def test_command_prints_a_line_for_each_deployment_and_ends_with_1_when_one_fails(
    provider_processes: list[ProviderProcess], tmp_path: Path
) -> None:
    config = tmp_path / "gateway.yaml"
    first, *_ = provider_processes
    model = first.request("GET", "/v1/models").json()["data"][0]["id"]
    good = ("good", model, {"base_url": f"{first.url}/v1"})
    config.write_text(text(good, ("away", "a", {"base_url": "http://no-such-host.invalid/v1"})))
    done = run(config)
    config.write_text(text(good))
    well = run(config)

    assert (done.returncode, done.stderr, well.returncode) == (1, "", 0)
    assert well.stdout.splitlines()[1:] == [f"good: ok, 1 model, has {model}"]
    good_line, away_line = done.stdout.splitlines()[1:]
    assert good_line == f"good: ok, 1 model, has {model}"
    assert away_line.startswith("away: name not found")


def run(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "check", "--probe", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_disabled_deployment_is_not_queried() -> None:
    with provider() as server:
        given = {"base_url": server.url, "api_key": KEY}
        entries = [
            {"id": "on", "model_name": "m", "provider": given},
            {"id": "off", "model_name": "m", "enabled": False, "provider": {**given, "api_key": "other"}},
        ]
        on, off = probe(parse(json.dumps({"model_list": entries}), {}))

    assert (on.is_ok, off) == (False, Verdict("off", True, "disabled, not queried"))
    assert {headers["authorization"] for _, headers, _ in server.requests} == {f"Bearer {KEY}"}


def test_key_of_a_file_is_read_and_masked(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("ya29.token-of-a-file\n")
    refusal = {"error": {"message": "expired: ya29.token-of-a-file", "code": "unauthenticated"}}
    with provider(**{LIST: (401, refusal)}) as server:
        fields = {"base_url": server.url, "api_key": "", "api_key_file": str(key)}
        (found,) = probe(parse(text(("d", "gpt-4", fields)), {}))
        sent = server.requests[0][1]["authorization"]

    assert sent == "Bearer ya29.token-of-a-file"
    assert (found.is_ok, found.words) == (False, "401 unauthenticated: expired: ***")


def test_key_that_cannot_be_read_is_the_verdict(tmp_path: Path) -> None:
    fields = {"base_url": "http://127.0.0.1:1", "api_key": "", "api_key_file": str(tmp_path / "key")}
    (found,) = probe(parse(text(("d", "gpt-4", fields)), {}))

    assert (found.is_ok, found.words) == (False, f"api_key_file {tmp_path}/key: No such file or directory")


def test_entry_with_a_pattern_has_one_verdict() -> None:
    with provider(**{LIST: (200, models("gpt-4", "o1"))}) as server:
        entry = {"id": "o", "model_name": "openai/*", "provider": {"base_url": server.url, "api_key": KEY}}
        verdicts = probe(parse(json.dumps({"model_list": [entry]}), {}))

    assert [(each.deployment, each.is_ok, each.words) for each in verdicts] == [
        ("o:slot-0", True, "ok, 2 models, for a pattern")
    ]
