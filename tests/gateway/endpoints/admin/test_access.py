"""Keys over the wire: which calls each key allows, which keys are admin keys, and that no key is ever shown."""

from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import CHAT, ProviderProcess
from tests.support.cluster import STATS, Cluster, ReplicaProcess, deployment, running_cluster

KEYS = [
    {"name": "everything", "key": "key-everything", "priority": "critical"},
    {"name": "only-cheap", "key": "key-cheap", "models": ["cheap"]},
    {"name": "by-alias", "key": "key-alias", "models": ["nickname"]},
]


@pytest.fixture(scope="module")
def guarded_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    provider = provider_processes[0]
    models = [deployment("large", provider, "gpt-4"), deployment("small", provider, "cheap")]
    with running_cluster(
        store,
        provider_processes,
        models,
        domain="guarded",
        replicas=1,
        auth={"admin_key": "key-admin", "keys": KEYS},
        router={"aliases": {"nickname": "cheap"}, "latency_threshold": "8s"},
    ) as running:
        yield running


@pytest.fixture
def guarded(guarded_cluster: Cluster) -> Iterator[ReplicaProcess]:
    guarded_cluster.providers[0].request("POST", "/control/reset")
    yield guarded_cluster.replicas[0]
    guarded_cluster.check()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "headers",
    [bearer("key-everything"), {"x-api-key": "key-everything"}, {"authorization": "bearer key-everything"}],
)
def test_known_key_is_let_in(guarded: ReplicaProcess, headers: dict[str, str]) -> None:
    assert guarded.chat(headers=headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("wrong"),
        bearer("key-everythin"),
        bearer("key-everything2"),
        bearer("KEY-EVERYTHING"),
        bearer("key-admin"),
        {"authorization": "key-everything"},
        {"authorization": "Basic key-everything"},
        {"x-api-key": "\xff\xfe"},
        {"x-api-key": "k" * 50_000},
    ],
)
def test_missing_or_wrong_key_is_turned_away(guarded: ReplicaProcess, headers: dict[str, str]) -> None:
    answer = guarded.chat(headers=headers)

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_wrong_key_is_turned_away_whatever_the_body(guarded: ReplicaProcess) -> None:
    assert guarded.request("POST", CHAT, b"{", bearer("wrong")).status == 401


def test_key_may_use_only_its_models(guarded: ReplicaProcess) -> None:
    answer = guarded.chat("gpt-4", headers=bearer("key-cheap"))

    assert (answer.status, answer.error["code"], answer.error["param"]) == (403, "model_not_allowed", "model")
    assert guarded.chat("cheap", headers=bearer("key-cheap")).status == 200


def test_key_for_an_alias_may_use_the_alias_only(guarded: ReplicaProcess) -> None:
    assert guarded.chat("nickname", headers=bearer("key-alias")).status == 200
    assert guarded.chat("cheap", headers=bearer("key-alias")).status == 403


@pytest.mark.parametrize(
    ("key", "models"),
    [
        ("key-everything", ["gpt-4", "cheap", "nickname"]),
        ("key-cheap", ["cheap", "nickname"]),
        ("key-alias", ["nickname"]),
    ],
)
def test_models_are_those_the_key_may_use(guarded: ReplicaProcess, key: str, models: list[str]) -> None:
    listing = guarded.get("/v1/models", bearer(key)).json()

    assert [model["id"] for model in listing["data"]] == models
    assert all(guarded.chat(model, headers=bearer(key)).status == 200 for model in models)


def test_models_need_a_key(guarded: ReplicaProcess) -> None:
    assert guarded.get("/v1/models").status == 401


def test_model_of_others_looks_unknown(guarded: ReplicaProcess) -> None:
    assert guarded.get("/v1/models/gpt-4", bearer("key-cheap")).status == 404


def test_admin_key_opens_the_admin_endpoints(guarded: ReplicaProcess) -> None:
    assert guarded.get(STATS, bearer("key-admin")).status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "invalid_api_key"),
        (bearer("key-everything"), 403, "admin_key_required"),
        (bearer("wrong"), 403, "admin_key_required"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", STATS), ("GET", "/v1/admin/explain?model=gpt-4"), ("POST", "/v1/admin/deployments/large/open")],
)
def test_admin_endpoints_need_the_admin_key_even_on_this_machine(
    guarded: ReplicaProcess, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = guarded.request(method, path, headers=headers)

    assert (answer.status, answer.error["code"]) == (status, code)
    assert guarded.chat(headers=bearer("key-everything")).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_need_no_key(guarded: ReplicaProcess, path: str) -> None:
    assert guarded.get(path).status == 200


def test_only_listed_headers_of_the_client_reach_a_provider(guarded: ReplicaProcess, guarded_cluster: Cluster) -> None:
    headers = bearer("key-everything") | {
        "cookie": "session=1",
        "user-agent": "curl/8",
        "x-forwarded-for": "203.0.113.9",
        "x-pllm-priority": "low",
        "x-custom": "client",
        "openai-organization": "org-client",
        "accept-encoding": "gzip",
    }
    guarded.chat(headers=headers)
    sent = guarded_cluster.providers[0].counts()["last_headers"]

    assert sent == {
        "host": sent["host"],
        "content-length": sent["content-length"],
        "accept-encoding": "identity",
        "user-agent": "pllm/0.1.0; curl/8",
        "openai-organization": "org-client",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": "Bearer provider-secret",
    }


def test_no_answer_and_no_log_shows_a_key(guarded: ReplicaProcess, guarded_cluster: Cluster) -> None:
    guarded_cluster.providers[0].behave(error_rate=1, error_status=401)
    failed = guarded.chat(headers=bearer("key-everything"))
    guarded_cluster.providers[0].behave(error_rate=0)
    stats = guarded.get(STATS, bearer("key-admin"))

    shown = failed.text + stats.text + guarded.said() + str(failed.headers)
    assert not [key for key in ("key-everything", "key-admin", "key-cheap", "provider-secret") if key in shown]


def test_client_cannot_raise_its_priority_but_lower_it(guarded: ReplicaProcess) -> None:
    """Both are let in while nothing is shed; that the level counts is shown where load is shed."""
    for priority in ("critical", "bulk"):
        assert guarded.chat("cheap", headers=bearer("key-cheap") | {"x-pllm-priority": priority}).status == 200
