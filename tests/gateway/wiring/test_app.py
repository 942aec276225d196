"""Errors for unknown paths, in OpenAI's dialect, and in Anthropic's where its clients expect it. A whole
replica: its background tasks, and another service at the address of its store.
"""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from gateway.configuration.redaction import Redaction
from gateway.reload.file import ConfigurationFile
from gateway.request.in_flight import InFlight
from gateway.telemetry.logs import Lines
from gateway.wiring.app import application
from gateway.wiring.application import Application
from shared_state import background
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import CHAT, ProviderProcess
from tests.support.cluster import STATS, ReplicaProcess
from tests.support.stores import eventually, fresh_domain, on_loop
from tests.support.strangers import STRANGERS, listening
from tests.support.wire import Call, request_bytes


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/livez/", "//livez", "/%ff%00", "/v1/admin", "/docs"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path_is_not_found(replica: ReplicaProcess, method: str, path: str) -> None:
    answer = replica.request(method, path)

    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/v1/messages/count_words", "/v1/messages/batches", "/v1/messages/"])
def test_unknown_path_of_anthropics_clients_gets_an_error_in_their_dialect(replica: ReplicaProcess, path: str) -> None:
    answer = replica.request("POST", path)

    assert answer.status == 404
    assert (answer.json()["type"], answer.json()["error"]["type"]) == ("error", "not_found_error")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", CHAT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("PUT", STATS, "GET"),
        ("GET", "/v1/admin/deployments/primary/open", "POST"),
    ],
)
def test_wrong_method_is_refused_and_the_right_one_named(
    replica: ReplicaProcess, method: str, path: str, allowed: str
) -> None:
    answer = replica.request(method, path)

    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert allowed in answer.headers["allow"]


def test_options_of_a_path_names_its_methods(replica: ReplicaProcess) -> None:
    answer = replica.request("OPTIONS", "/v1/models")

    assert (answer.status, answer.body) == (204, b"")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", {"POST"}),
        ("/v1/messages", {"POST"}),
        ("/v1/models/gpt-4", {"GET", "HEAD"}),
        ("/v1/responses/resp_1", {"GET", "DELETE"}),
        ("/v1/responses/resp_1/cancel", {"POST"}),
        ("/v1/admin/reload", {"GET", "HEAD", "POST"}),
        ("/v1/admin/tenants/a", {"PUT", "DELETE"}),
        ("/livez", {"GET", "HEAD"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_allow_names_all_methods_of_a_path(replica: ReplicaProcess, path: str, allowed: set[str]) -> None:
    options, wrong = replica.request("OPTIONS", path), replica.request("PATCH", path)

    assert (options.status, options.body, wrong.status) == (204, b"", 405)
    assert {each.strip() for each in options.headers["allow"].split(",")} == allowed | {"OPTIONS"}
    assert wrong.headers["allow"] == options.headers["allow"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/models", 200), ("/livez", 200), (CHAT, 405), ("/v1/responses/resp_1", 405), ("/nowhere", 404)],
)
def test_answer_to_head_has_no_body(replica: ReplicaProcess, path: str, status: int) -> None:
    with Call(replica.address, request_bytes("HEAD", path, headers={"connection": "close"})) as call:
        head, _, body = call.read_to_end().partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body == b""


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/messages/", "/v1/messages"),
        ("/models/gpt-4", "/v1/models/gpt-4"),
        ("/v1/livez", ""),
        ("/v2/chat/completions", ""),
        ("/", ""),
        ("/" + "v1/" * 3_000, ""),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path_names_the_one_that_was_meant(replica: ReplicaProcess, method: str, path: str, meant: str) -> None:
    answer = replica.request(method, path)

    assert answer.status == 404
    words = answer.json()["error"]["message"]
    assert words == f"There is no such endpoint.{f' Did you mean {meant}?' if meant else ''}"


def test_list_of_models_with_a_surplus_slash_names_the_right_path(replica: ReplicaProcess) -> None:
    answer = replica.get("/v1/models/")

    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert answer.error["message"].endswith("Did you mean /v1/models?")


def test_websocket_is_refused(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    upgrade = {"sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    answer = replica.get(CHAT, {"upgrade": "websocket", "connection": "upgrade", **upgrade})

    assert answer.status >= 400
    assert provider.counts()["requests"] == 0


# -- a whole replica in this process ----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(folder: Path, url: str) -> AsyncIterator[Application]:
    path = folder / "gateway.yaml"
    settings = {
        "server": {"region": "here"},
        "state": {"url": url, "domain": fresh_domain()},
        "model_list": [
            {"id": "a", "model_name": "m", "region": "here", "provider": {"base_url": "http://127.0.0.1:1/v1"}}
        ],
    }
    path.write_text(yaml.safe_dump(settings))
    file, lines = ConfigurationFile(path, {}), Lines(io.BytesIO(), is_plain=True)
    try:
        async with application(file, file.read(), {}, InFlight(), lines, Redaction(()), "r1") as app:
            yield app
    finally:
        lines.close()


async def metric(app: Application, name: str) -> float:
    """As it is scraped."""
    body: list[bytes] = []

    async def send(message: object) -> None:
        body.append(dict(message).get("body", b""))  # type: ignore[call-overload]

    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": [], "query_string": b""}
    await app(scope, asyncio.Queue().get, send)
    return next(float(line.split()[-1]) for line in b"".join(body).decode().splitlines() if line.startswith(name))


LASTING = {"heartbeat", "news", "scaling", "round trips", "health checks", "reloader"}


def lasting_tasks() -> dict[str, "asyncio.Task[object]"]:
    """All that have a name: Python's own, which wait for an event, have none."""
    return {task.get_name(): task for task in asyncio.all_tasks() if not task.get_name().startswith("Task-")}


@on_loop
async def test_every_background_task_that_fails_is_reported_and_begun_again(
    store: EmbeddedStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, store.url) as app:
        await eventually(lambda: set(lasting_tasks()) == LASTING, lambda: str(lasting_tasks()))
        first, before = lasting_tasks(), dict(background.failures)
        for task in first.values():
            task.cancel()  # what nothing but its owner may do is a failure like any other
        await eventually(lambda: all(task.done() for task in first.values()))
        await eventually(lambda: set(lasting_tasks()) >= LASTING)

        assert {name: background.failures[name] - before[name] for name in LASTING} == dict.fromkeys(LASTING, 1)
        assert {name for name in LASTING if f"task '{name}' failed" in caplog.text} == LASTING
        assert await metric(app, 'pllm_task_failures_total{task="heartbeat"}') == background.failures["heartbeat"]
        assert not any(task.done() for task in lasting_tasks().values())
    assert not set(lasting_tasks()) & LASTING


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        *(("redis://{}/0", kind) for kind in STRANGERS),
        *(
            (form, kind)
            for form in ("redis://:pw@{}/0", "redis+sentinel://{}/main", "redis+cluster://{}")
            for kind in ("balancer", "sidecar")
        ),
    ],
)
@on_loop
async def test_replica_whose_store_is_something_else_starts_on_its_standby_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, form: str
) -> None:
    before = background.failures.total()
    async with listening(STRANGERS[kind][0]) as port, serving(tmp_path, form.format(f"127.0.0.1:{port}")) as app:
        standby = await metric(app, "pllm_state_standby")

    assert standby == 1
    assert len([line for line in caplog.messages if "the shared store cannot be used" in line]) == 1
    assert background.failures.total() == before
    assert [record for record in caplog.records if record.levelname == "ERROR" or record.exc_info] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/v1/admin/models/stats"),
        ("GET", "/metrics"),
        ("GET", "/unknown"),
    ],
)
def test_no_cache_may_keep_an_answer(replica: ReplicaProcess, method: str, path: str) -> None:
    assert replica.request(method, path).headers["cache-control"] == "no-store"
