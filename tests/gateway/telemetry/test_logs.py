"""A replica's logs: JSON lines on a pipe, text on a terminal, no secrets, and no delay for a request."""

import contextlib
import io
import json
import logging
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration.redaction import Redaction
from gateway.telemetry.logs import WAITING_MOST, LineLogging, Lines, timestamp
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.ports import free_port
from tests.support.wire import Call, ask, chat_bytes, request_bytes

KEY = {"authorization": "Bearer team-a-secret"}


@pytest.fixture(scope="module")
def logged_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first, second = provider_processes
    with running_cluster(
        store,
        provider_processes,
        [
            deployment("primary", first, "gpt-4", provider_fields={"api_key": "provider-secret"}),
            deployment("spare", second, "spare"),
        ],
        domain="logged",
        replicas=1,
        auth={"keys": [{"name": "team-a", "key": "team-a-secret"}], "admin_key": "admin-secret"},
        router={"fallbacks": {"gpt-4": ["spare"]}},
    ) as running:
        yield running


@pytest.fixture
def replica(logged_cluster: Cluster) -> ReplicaProcess:
    logged_cluster.providers[0].behave(error_rate=0, stall_rate=0)
    return logged_cluster.replicas[0]


def line_of(replica: ReplicaProcess, request_id: str) -> dict[str, Any]:
    """The one line of a request."""
    wait_until(lambda: request_id in replica.said())
    (line,) = [line for line in replica.said().splitlines() if request_id in line]
    found: dict[str, Any] = json.loads(line)
    return found


def test_request_is_one_line_of_json(replica: ReplicaProcess) -> None:
    answer = replica.chat(headers=KEY)
    line = line_of(replica, answer.headers["x-request-id"])

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("duration_ms") >= line.pop("overhead_ms") >= 0
    assert line.pop("decision_ms") >= 0
    assert line.pop("output_tokens") > 0
    assert line.pop("input_tokens") > 0
    assert line == {
        "method": "POST",
        "path": "/v1/chat/completions",
        "request_id": answer.headers["x-request-id"],
        "status": 200,
        "client": "127.0.0.1",
        "tenant": "team-a",
        "priority": 50,
        "model": "gpt-4",
        "deployment": "primary",
        "attempts": 1,
        "outcome": "success",
        "state": "shared",
    }


def test_fallback_and_refusal_are_logged(replica: ReplicaProcess, logged_cluster: Cluster) -> None:
    logged_cluster.providers[0].behave(error_rate=1)
    fallback = line_of(replica, replica.chat(headers=KEY).headers["x-request-id"])
    refused = line_of(replica, replica.chat("none", headers=KEY).headers["x-request-id"])
    stranger = line_of(replica, replica.chat(headers={}).headers["x-request-id"])

    assert (fallback["deployment"], fallback["fallback"], fallback["attempts"]) == ("spare", "spare", 2)
    (failed,) = fallback["failed_attempts"]
    assert (failed["deployment"], failed["outcome"], failed["status"]) == ("primary", "failure", 500)
    assert failed["reason"].startswith("500 ")
    assert (refused["status"], refused["error"], refused.get("model")) == (404, "model_not_found", None)
    assert (stranger["status"], stranger["error"], stranger.get("tenant")) == (401, "invalid_api_key", None)


def test_every_endpoint_has_its_line_but_for_probes(replica: ReplicaProcess) -> None:
    refused = replica.get("/v1/admin/models/stats")
    line = line_of(replica, refused.headers["x-request-id"])
    replica.get("/livez")
    unknown = replica.get("/%00%0asecond-line")
    odd = line_of(replica, unknown.headers["x-request-id"])

    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/admin/models/stats", 401)
    assert (odd["path"], odd["status"]) == ("/\x00\nsecond-line", 404)
    assert "/livez" not in replica.said()


def test_client_that_disconnects_is_logged(replica: ReplicaProcess, logged_cluster: Cluster) -> None:
    logged_cluster.providers[0].behave(stall_rate=1)
    before = replica.said().count("client_disconnected")
    with Call(replica.address, chat_bytes(model="gpt-4", headers=KEY)):
        logged_cluster.providers[0].wait_for(in_flight=1)

    wait_until(lambda: replica.said().count("client_disconnected") == before + 1)


def test_no_secret_is_ever_logged(replica: ReplicaProcess) -> None:
    answer = replica.chat("sk-pasted-into-the-model", headers=KEY)
    line_of(replica, answer.headers["x-request-id"])

    assert not re.search("secret|sk-pasted", replica.said())


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/models/sk-in-the-path-123", "/v1/models/***"),
        ("/v1/models/%73k-in-the-path-123", "/v1/models/***"),
        ("/team-a-secret/v1/chat/completions", "/***/v1/chat/completions"),
        ("/v1/admin/deployments/admin-secret", "/v1/admin/deployments/***"),
        (f"/{'a' * 195}/provider-secret", f"/{'a' * 195}/***"),
    ],
)
def test_key_in_a_path_is_masked(replica: ReplicaProcess, path: str, shown: str) -> None:
    answer = replica.get(path)

    assert line_of(replica, answer.headers["x-request-id"])["path"] == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key hunter22 was wrong", "key *** was wrong"),
        ("hunter22-and-more", "***"),
        ("authorization: Bearer abc.DEF-1", "authorization: ***"),
        ("sk-proj-abcdefgh1234", "***"),
        ("a task-force of bearers", "a task-force of bearers"),
    ],
)
def test_secrets_and_lookalikes_are_masked(text: str, shown: str) -> None:
    assert Redaction(["hunter22", "", "hunter22-and-more"])(text) == shown


@contextlib.contextmanager
def piped() -> Iterator[tuple[io.FileIO, Lines]]:
    """The end that is read, and what writes into the other."""
    source, sink = os.pipe()
    with open(sink, "wb") as out, io.FileIO(source, "rb") as reader:
        lines = Lines(out, is_plain=False)
        try:
            yield reader, lines
        finally:
            reader.close()
            lines.close()
            with contextlib.suppress(OSError):
                out.close()


def test_record_with_an_exception_is_one_line_without_its_secrets() -> None:
    with piped() as (source, lines):
        handler = LineLogging(lines, Redaction(["hunter22"]))
        try:
            raise ValueError("hunter22\nis wrong")
        except ValueError:
            handler.emit(logging.LogRecord("pllm.x", logging.ERROR, "", 1, "no %s", ("hunter22",), sys.exc_info()))
        line = json.loads(source.read(65536) or b"")

    assert (line["level"], line["logger"], line["message"]) == ("error", "pllm.x", "no ***")
    assert "ValueError: ***\nis wrong" in line["exception"]


def test_lines_of_two_processes_do_not_run_into_each_other() -> None:
    source, sink = os.pipe()
    with open(sink, "wb") as out, open(os.dup(sink), "wb") as other, io.FileIO(source, "rb") as reader:
        writers = [Lines(out, is_plain=False), Lines(other, is_plain=False)]
        wanted = 2 * 3000
        for number in range(3000):
            for writer, letter in zip(writers, (b"a", b"b"), strict=True):
                writer.put(letter * (100 + number % 300))
        read = b""
        while read.count(b"\n") < wanted:
            read += reader.read(1_000_000) or b""
        for writer in writers:
            writer.close()

    assert all(line == line[:1] * len(line) for line in read.splitlines())


def test_unread_pipe_delays_no_request_and_losses_are_logged() -> None:
    with piped() as (source, lines):
        for _ in range(2 * WAITING_MOST + 1000):  # more than the pipe and the queue hold together
            lines.put(b"x" * 1000)
        read = b""  # the count of the losses is taken as soon as it is logged
        while b"log lines dropped" not in read:
            assert select.select([source], [], [], 20)[0]
            read = read[-100:] + (source.read(1_000_000) or b"")


def test_reader_that_is_gone_is_no_error() -> None:
    with piped() as (source, lines):
        source.close()
        lines.put(b"x")
        wait_until(lambda: lines.dropped == 1)


def test_terminal_shows_text(store: EmbeddedStore, provider_processes: list[ProviderProcess], tmp_path: Path) -> None:
    config, port = tmp_path / "plain.yaml", free_port()
    config.write_text(
        f"state: {{url: '{store.url}', domain: plain}}\n"
        f"model_list: [{{id: m-1, model_name: m, provider: {{base_url: '{provider_processes[1].url}/v1'}}}}]\n"
    )
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(port)]
    with subprocess.Popen(command, stdout=end, stderr=end) as process:
        os.close(end)
        wait_until(lambda: is_served(port))
        answer = ask(("127.0.0.1", port), chat_bytes(model="m"))
        shown = b""
        while answer.headers["x-request-id"].encode() not in shown:
            assert select.select([terminal], [], [], 20)[0]
            shown += os.read(terminal, 65536)
        process.terminate()
        process.wait(30)
    os.close(terminal)

    assert re.search(rb"Z info 200 POST /v1/chat/completions m > m-1 \d+ms req_", shown)


def is_served(port: int) -> bool:
    try:
        return ask(("127.0.0.1", port), request_bytes("GET", "/readyz")).status == 200
    except OSError:
        return False


def test_timestamp_is_utc_to_the_millisecond() -> None:
    assert timestamp(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"
