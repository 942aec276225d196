"""Models that match a pattern, from resolving their names to what a provider's 404 means."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.configuration.patterns import slot_of
from gateway.configuration.settings import parse
from gateway.routing.catalog import Catalog, Route
from shared_state.embedded import EmbeddedStore
from tests.gateway.routing.test_model_routes import bearer
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.raw_provider import RawProvider, plain

CONFIG = """
router: {fallbacks: {'openai/*': [spare], spare: [openai/o3, openai/o4]}, aliases: {best: openai/o3}}
model_list:
  - {id: o, model_name: 'openai/*', provider: {model: '*'}}
  - {id: exact, model_name: openai/gpt-4o}
  - {id: spare, model_name: spare}
"""
UNKNOWN = b'{"error": {"message": "no such route", "code": "not_found"}}'


def resolved(name: str, *allowed: str) -> Route | None:
    return Catalog(parse(CONFIG, {})).resolve(name, frozenset(allowed))


def served(route: Route | None) -> list[tuple[str, int, str, str]]:
    assert route is not None
    return [(each.deployment.id, each.tier, each.model, each.upstream) for each in route.candidates]


def slot(name: str) -> str:
    return f"o:slot-{slot_of(name):x}"


def test_model_of_a_pattern_has_one_deployment_of_the_entry_and_the_chain_of_the_pattern() -> None:
    route = resolved("openai/o3")

    assert served(route) == [(slot("openai/o3"), 0, "openai/o3", "o3"), ("spare", 1, "", "")]
    assert route is not None
    assert route.model == "openai/*"


def test_exact_name_wins_and_other_names_have_no_route() -> None:
    assert served(resolved("openai/gpt-4o")) == [("exact", 0, "", "")]
    assert [resolved(name) for name in ("openai/", "openai/*", "azure/o3", "openai/o 3")] == [None] * 4


def test_aliases_and_chains_lead_to_models_of_a_pattern() -> None:
    assert served(resolved("best"))[0] == (slot("openai/o3"), 0, "openai/o3", "o3")
    assert [name for *_, name, _ in served(resolved("spare"))] == ["", "openai/o3", "openai/o4"]


@pytest.mark.parametrize(
    ("allowed", "models"),
    [
        (["spare"], [""]),
        (["spare", "openai/o4"], ["", "openai/o4"]),
        (["spare", "best"], ["", "openai/o3"]),
        (["spare", "openai/*"], ["", "openai/o3", "openai/o4"]),
    ],
)
def test_chain_of_a_key_keeps_to_the_listed_models_of_a_pattern(allowed: list[str], models: list[str]) -> None:
    assert [name for *_, name, _ in served(resolved("spare", *allowed))] == models


@pytest.fixture(scope="module")
def matched_cluster(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], raw_provider_thread: RawProvider
) -> Iterator[Cluster]:
    models = [
        deployment("raw", raw_provider_thread.url, "raw/*", provider_fields={"model": "*"}),
        deployment("spare", provider_processes[0], "spare"),
    ]
    keys = [
        {"name": "all", "key": "key-all"},
        {"name": "pattern", "key": "key-pattern", "models": ["raw/*"]},
        {"name": "one", "key": "key-one", "models": ["raw/o3"]},
    ]
    auth: dict[str, Any] = {"admin": "local", "keys": keys}
    with running_cluster(store, provider_processes, models, domain="matched", replicas=1, auth=auth) as running:
        yield running


@pytest.fixture
def matched(matched_cluster: Cluster, raw_provider_thread: RawProvider) -> Iterator[ReplicaProcess]:
    raw_provider_thread.forget()
    matched_cluster.forget()
    yield matched_cluster.replicas[0]
    matched_cluster.check()


def status(replica: ReplicaProcess, model: str, key: str = "key-all") -> int:
    return replica.chat(model, headers=bearer(key)).status


def test_provider_gets_the_models_own_name(matched: ReplicaProcess, raw_provider_thread: RawProvider) -> None:
    answer = matched.chat("raw/o3", headers=bearer("key-all"))

    assert json.loads(raw_provider_thread.last_body)["model"] == "o3"
    assert (answer.status, answer.headers["x-pllm-model"]) == (200, "raw/o3")
    assert answer.headers["x-pllm-deployment"] == f"raw:slot-{slot_of('raw/o3'):x}"


def test_keys_may_use_a_pattern_or_single_models_of_it(matched: ReplicaProcess) -> None:
    assert [status(matched, name, "key-pattern") for name in ("raw/o3", "raw/o4", "spare")] == [200, 200, 403]
    assert [status(matched, name, "key-one") for name in ("raw/o3", "raw/o4")] == [200, 403]


def test_unknown_models_count_against_nothing(matched: ReplicaProcess, raw_provider_thread: RawProvider) -> None:
    raw_provider_thread.answer = plain(UNKNOWN, "404 Not Found")
    statuses = {status(matched, f"raw/{number}") for number in range(40)}
    raw_provider_thread.forget()

    assert statuses == {404}
    assert {status(matched, f"raw/{number}") for number in range(40)} == {200}


def test_one_model_that_fails_leaves_the_others_alone(
    matched: ReplicaProcess, raw_provider_thread: RawProvider
) -> None:
    matched.force(f"raw:slot-{slot_of('raw/o3'):x}", "open")
    other = next(name for name in (f"raw/m{n}" for n in range(99)) if slot_of(name) != slot_of("raw/o3"))

    assert [status(matched, name) for name in ("raw/o3", other)] == [503, 200]


def test_models_and_explain_show_patterns(matched: ReplicaProcess) -> None:
    listed = matched.get("/v1/models", bearer("key-pattern")).json()["data"]
    shown = [
        matched.get(f"/v1/models/{name}", bearer(key)).status
        for name, key in (("raw/o3", "key-one"), ("raw/o4", "key-one"), ("other/o3", "key-all"), ("raw/*", "key-all"))
    ]
    explained = matched.get("/v1/admin/explain?model=raw/o3").json()

    assert [each["id"] for each in listed] == ["raw/*"]
    assert shown == [200, 404, 404, 200]
    assert explained["picked"] == f"raw:slot-{slot_of('raw/o3'):x}"


def test_names_of_clients_are_no_labels_of_metrics(matched: ReplicaProcess) -> None:
    statuses = {status(matched, f"raw/name-{number}") for number in range(20)}
    metrics = matched.get("/metrics").body.decode()

    assert statuses == {200}
    assert 'model="raw/*"' in metrics
    assert "name-1" not in metrics
