"""Keys that change, and several keys of one entry, through a whole replica."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration.provider import ProviderSettings
from gateway.configuration.provider_rules import one_key_each
from gateway.configuration.value_types import Secret
from shared_state.embedded import EmbeddedStore
from tests.gateway.upstream.test_credentials import FETCH
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.token_provider import TokenProvider, running_token_provider

KEYS = ["sk-first-key-of-three", "sk-second-key-of-three", "sk-third-key-of-three"]


@pytest.fixture(scope="module")
def token_provider() -> Iterator[TokenProvider]:
    with running_token_provider() as running:
        yield running


@pytest.fixture(scope="module")
def keyed_cluster(
    store: EmbeddedStore,
    provider_processes: list[ProviderProcess],
    token_provider: TokenProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("keys")
    url, healthy = f"{token_provider.url}/v1", provider_processes[0]
    fetch = [sys.executable, "-c", FETCH, f"{token_provider.url}/token"]
    models = [
        deployment("token", url, "token", provider_fields={"api_key": None, "api_key_command": fetch}),
        deployment("file", url, "file", provider_fields={"api_key": None, "api_key_file": str(folder / "key")}),
        deployment(
            "missing", url, "missing", provider_fields={"api_key": None, "api_key_file": str(folder / "missing")}
        ),
        deployment(
            "missing-alone",
            url,
            "missing-alone",
            provider_fields={"api_key": None, "api_key_file": str(folder / "missing")},
        ),
        deployment("spare", healthy, "spare"),
        deployment("many", url, "many", provider_fields={"api_key": None, "api_keys": KEYS}),
    ]
    (folder / "key").write_text("ya29.refused-file-key")
    router: dict[str, Any] = {"fallbacks": {"missing": ["spare"]}}
    with running_cluster(store, provider_processes, models, domain="keyed", replicas=1, router=router) as running:
        yield running


@pytest.fixture
def keyed(keyed_cluster: Cluster, token_provider: TokenProvider) -> Iterator[ReplicaProcess]:
    token_provider.refusal = 401
    keyed_cluster.forget()
    token_provider.calls.clear()
    yield keyed_cluster.replicas[0]
    keyed_cluster.check()


def counts(replica: ReplicaProcess, deployment_id: str) -> tuple[int, int]:
    shown = replica.get(f"/v1/admin/deployments/{deployment_id}").json()
    return shown["requests"], shown["failures"]


def test_token_of_a_command_serves(keyed: ReplicaProcess) -> None:
    """What happens when it expires is in tests/gateway/upstream/test_credentials.py."""
    served = keyed.chat("token")

    assert (served.status, served.headers["x-pllm-attempts"]) == (200, "1")


def test_provider_that_repeats_a_key_shows_it_to_no_client_and_no_log(keyed: ReplicaProcess) -> None:
    answer = keyed.chat("file")

    assert answer.status == 502
    assert b"ya29.file-key" not in answer.body
    assert "has expired" in answer.json()["error"]["attempts"][0]["reason"]
    assert "ya29." not in keyed.said()
    assert b"ya29." not in keyed.get("/v1/admin/configuration").body


def test_deployment_without_a_key_is_passed_over_and_not_blamed(keyed: ReplicaProcess, keyed_cluster: Cluster) -> None:
    served, alone = keyed.chat("missing"), keyed.chat("missing-alone")

    keyed_cluster.wait_until_idle()
    assert (served.status, served.headers["x-pllm-model"], served.headers["x-pllm-attempts"]) == (200, "spare", "1")
    assert (alone.status, alone.json()["error"]["code"]) == (503, "provider_key_unavailable")
    assert counts(keyed, "missing")[1] == 0
    assert keyed.said().count("No such file or directory") == 1


def test_each_key_has_a_breaker_of_its_own(keyed: ReplicaProcess, token_provider: TokenProvider) -> None:
    names = [name for name, _ in one_key_each("many", ProviderSettings(api_keys=tuple(map(Secret, KEYS))))]
    token_provider.valid = {KEYS[1]}
    for name in (names[0], names[2]):
        keyed.force(name, "open")
    served = keyed.chat("many")

    assert (served.status, served.headers["x-pllm-deployment"]) == (200, names[1])
    assert list(keyed.stats()["load_balancer"]["many"]["deployments"]) == names


def test_reordered_keys_keep_their_deployments(keyed: ReplicaProcess, keyed_cluster: Cluster) -> None:
    names = [name for name, _ in one_key_each("many", ProviderSettings(api_keys=tuple(map(Secret, KEYS))))]
    text = keyed.config.read_text()
    for key, number in zip(KEYS, "abc", strict=True):
        text = text.replace(key, f"<{number}>")
    changed = text.replace("<a>", KEYS[2]).replace("<b>", KEYS[0]).replace("- <c>", "").replace("<c>", KEYS[1])
    before = keyed.config.read_text()
    Path(keyed.config).write_text(changed)
    try:
        answer = keyed.request("POST", "/v1/admin/reload").json()
        left = list(keyed.stats()["load_balancer"]["many"]["deployments"])
    finally:
        Path(keyed.config).write_text(before)
        keyed.request("POST", "/v1/admin/reload")

    assert answer["result"] == "applied"
    assert f"model_list.{names[1]}: removed" in str(answer["changed"])
    assert not any(key in str(answer) for key in KEYS)
    assert left == [names[2], names[0]]
