"""A key with a list of models: no fallback of any chain leads it off the list, unless the configuration allows that."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.raw_provider import RawProvider, plain

KEYS = [
    {"name": "everything", "key": "key-everything"},
    {"name": "cheap-only", "key": "key-cheap", "models": ["cheap", "raw"]},
    {"name": "with-spare", "key": "key-spare", "models": ["cheap", "alias-of-spare"]},
]
TOO_LONG = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'


@pytest.fixture(scope="module", params=[True, False], ids=["within", "beyond"])
def is_within(request: pytest.FixtureRequest) -> bool:
    value: bool = request.param
    return value


@pytest.fixture(scope="module")
def chained_cluster(
    store: EmbeddedStore,
    provider_processes: list[ProviderProcess],
    raw_provider_thread: RawProvider,
    is_within: bool,
) -> Iterator[Cluster]:
    failing, healthy = provider_processes[:2]
    models = [
        deployment("cheap-1", failing, "cheap"),
        deployment("dear-1", healthy, "dear"),
        deployment("spare-1", healthy, "spare"),
        deployment("raw-1", raw_provider_thread.url, "raw"),
    ]
    router: dict[str, Any] = {
        "fallbacks": {"cheap": ["dear", "spare"]},
        "context_window_fallbacks": {"raw": ["dear"]},
        "aliases": {"alias-of-spare": "spare"},
        "circuit_breaker_enabled": False,
        "max_attempts": 5,
    }
    if not is_within:
        router["fallbacks_within_key"] = False
    auth = {"admin": "local", "keys": KEYS}
    with running_cluster(
        store, provider_processes, models, domain=f"within-{is_within}", replicas=1, auth=auth, router=router
    ) as running:
        yield running


@pytest.fixture
def chained(chained_cluster: Cluster, raw_provider_thread: RawProvider) -> Iterator[ReplicaProcess]:
    raw_provider_thread.forget()  # other modules may have left it with their orders
    chained_cluster.providers[0].behave(error_rate=1.0)
    yield chained_cluster.replicas[0]
    chained_cluster.providers[0].behave(error_rate=0.0)
    chained_cluster.check()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_fallback_keeps_to_the_list_of_the_key(chained: ReplicaProcess, is_within: bool) -> None:
    served = [chained.chat("cheap", headers=bearer(key)) for key in ("key-everything", "key-cheap", "key-spare")]
    models = [answer.headers.get("x-pllm-model") for answer in served]

    assert models == (["dear", None, "spare"] if is_within else ["dear", "dear", "dear"])
    assert [answer.status for answer in served] == ([200, 502, 200] if is_within else [200, 200, 200])


def test_chain_for_a_prompt_that_is_too_long_keeps_to_the_list(
    chained: ReplicaProcess, raw_provider_thread: RawProvider, is_within: bool
) -> None:
    raw_provider_thread.answer = plain(TOO_LONG, "400 Bad Request")
    free, bound = (chained.chat("raw", headers=bearer(key)) for key in ("key-everything", "key-cheap"))

    assert (free.status, free.headers["x-pllm-model"]) == (200, "dear")
    assert bound.status == (400 if is_within else 200)


def explained(replica: ReplicaProcess, tenant: str) -> tuple[list[str], list[str]]:
    shown = json.loads(replica.get(f"/v1/admin/explain?model=cheap&tenant={tenant}").body)
    return [each["deployment_id"] for each in shown["candidates"]], shown.get("outside_key", [])


def test_explanation_shows_the_models_outside_the_list(chained: ReplicaProcess, is_within: bool) -> None:
    everything = ["cheap-1", "dear-1", "spare-1"]

    assert explained(chained, "everything") == (everything, [])
    assert explained(chained, "cheap-only") == ((["cheap-1"], ["dear", "spare"]) if is_within else (everything, []))
    assert explained(chained, "with-spare") == ((["cheap-1", "spare-1"], ["dear"]) if is_within else (everything, []))


def wish(replica: ReplicaProcess, key: str, **headers: str) -> tuple[int, str | None, str | None]:
    """Returns the status, the model that served, and the number of attempts."""
    named = {f"x-pllm-{name.replace('_', '-')}": value for name, value in headers.items()}
    answer = replica.chat("cheap", headers=bearer(key) | named)
    return answer.status, answer.headers.get("x-pllm-model"), answer.headers.get("x-pllm-attempts")


def test_request_names_its_fallbacks(chained: ReplicaProcess) -> None:
    assert wish(chained, "key-everything", fallbacks="spare,dear") == (200, "spare", "2")
    assert wish(chained, "key-everything", fallbacks="none")[0] == 502
    assert wish(chained, "key-spare", fallbacks="alias-of-spare") == (200, "spare", "2")


def test_request_names_no_fallback_that_its_key_may_not_use(chained: ReplicaProcess) -> None:
    answer = chained.chat("cheap", headers=bearer("key-cheap") | {"x-pllm-fallbacks": "dear"})

    assert (answer.status, answer.json()["error"]["param"]) == (400, "x-pllm-fallbacks")


def test_request_limits_its_attempts(chained: ReplicaProcess, chained_cluster: Cluster) -> None:
    chained_cluster.providers[0].request("POST", "/control/reset")
    chained_cluster.providers[0].behave(error_rate=1.0)

    assert wish(chained, "key-everything", max_attempts="1")[0] == 502
    assert wish(chained, "key-everything", max_attempts="2") == (200, "dear", "2")
    assert chained.chat("cheap", headers=bearer("key-everything") | {"x-pllm-max-attempts": "0"}).status == 400
