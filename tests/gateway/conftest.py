"""Two replicas in front of two fake providers and a raw one, for all tests of the endpoints.

Each test starts with healthy providers and nothing learned, and must leave no lease and no traceback behind.
"""

from collections.abc import Iterator

import msgspec
import pytest

from loadtest.provider.behaviour import Behaviour
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster, running_providers, running_store
from tests.support.raw_provider import RawProvider, running_raw_provider

MAX_BODY = 262_144
# Nothing listens there: the port is reserved and never given out.
REFUSING_URL = "http://127.0.0.1:1"


@pytest.fixture(scope="session")
def store() -> Iterator[EmbeddedStore]:
    with running_store() as running:
        yield running


@pytest.fixture(scope="session")
def provider_processes() -> Iterator[list[ProviderProcess]]:
    with running_providers(2) as running:
        yield running


@pytest.fixture(scope="session")
def raw_provider_thread() -> Iterator[RawProvider]:
    with running_raw_provider() as running:
        yield running


@pytest.fixture(scope="session")
def gateway_cluster(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], raw_provider_thread: RawProvider
) -> Iterator[Cluster]:
    first, second = provider_processes
    raw = raw_provider_thread.url
    models = [
        deployment("primary", first, "gpt-4", timeout="5s", cost={"input_per_million": 2, "output_per_million": 10}),
        deployment("saved-primary", first, "saved", timeout="5s"),
        deployment("hasty-primary", first, "hasty", timeout="300ms", idle_timeout="300ms"),
        deployment("hasty-alone", first, "hasty-alone", timeout="300ms", idle_timeout="300ms"),
        deployment("refusing", REFUSING_URL, "refusing"),
        deployment("refusing-alone", REFUSING_URL, "refusing-alone"),
        deployment("raw", raw, "raw", provider_fields={"model": "raw"}),
        deployment("raw-saved", raw, "raw-saved"),
        deployment("renamed", raw, "renamed", provider_fields={"model": "upstream-name"}),
        deployment("claude", second, "claude", provider_fields={"type": "anthropic", "model": "claude-upstream"}),
        deployment("raw-claude", raw, "raw-claude", provider_fields={"type": "anthropic"}),
        deployment("crossed", REFUSING_URL, "crossed"),
        deployment("claude-away", REFUSING_URL, "claude-away", provider_fields={"type": "anthropic"}),
        deployment("gpt-switch", first, "gpt-switch"),
        deployment("claude-switch", first, "claude-switch", provider_fields={"type": "anthropic"}),
        deployment("chat-switch", first, "chat-switch", endpoints=["chat"]),
        deployment("chat-only", second, "chat-only", endpoints=["chat"]),
        deployment("raw-chat", raw, "raw-chat", endpoints=["chat"], tags=["chat"]),
        deployment("raw-only-responses", raw, "raw-only-responses", endpoints=["responses"]),
        deployment("raw-responses", raw, "raw-responses", tags=["responses"]),
        deployment("silent", first, "silent", first_byte_timeout="200ms", idle_timeout="200ms"),
        deployment("raw-lively", raw, "raw-lively", idle_timeout="400ms"),
        deployment("raw-brief", raw, "raw-brief", timeout="1500ms"),
        deployment(
            "raw-lively-claude", raw, "raw-lively-claude", idle_timeout="400ms", provider_fields={"type": "anthropic"}
        ),
        deployment("raw-chained", raw, "raw-chained"),
        deployment("raw-twice", raw, "raw-twice"),
        deployment("raw-first", raw, "raw-first"),
        deployment("raw-second", raw, "raw-second"),
        deployment("raw-claude-saved", raw, "raw-claude-saved", provider_fields={"type": "anthropic"}),
        deployment(
            "raw-clocked", raw, "raw-clocked", first_byte_timeout="200ms", idle_timeout="400ms", timeout="500ms"
        ),
        deployment("raw-first-token", raw, "raw-first-token", first_token_timeout="300ms"),
        deployment(
            "azure-old",
            raw,
            "azure-old",
            provider_fields={"type": "azure", "base_url": raw, "api_version": "2024-10-21", "model": "my gpt"},
        ),
        deployment("azure-new", raw, "azure-new", provider_fields={"type": "azure", "base_url": raw, "model": "gpt"}),
        deployment("spare", second, "spare"),
        deployment("org/nested", second, "org/nested"),
    ]
    router = {
        "fallbacks": {
            "saved": ["spare"],
            "hasty": ["spare"],
            "refusing": ["spare"],
            "raw-saved": ["spare"],
            "raw-first": ["raw-second"],
            "raw-claude-saved": ["spare"],
            "raw-clocked": ["spare"],
            "raw-first-token": ["spare"],
            "crossed": ["claude"],
            "claude-away": ["spare"],
            "gpt-switch": ["claude"],
            "claude-switch": ["spare"],
            "chat-switch": ["claude"],
            "raw-chat": ["raw-responses"],
            "silent": ["spare"],
        },
        "context_window_fallbacks": {
            "raw-chained": ["spare"],
            "raw-twice": ["raw-lively", "spare"],
            "raw-brief": ["raw-lively", "raw", "spare"],
        },
        "content_policy_fallbacks": {"raw-chained": ["claude"]},
        "aliases": {"best": "gpt-4"},
        # A busy test machine must not make a provider look slow.
        "latency_threshold": "8s",
    }
    with running_cluster(
        store,
        provider_processes,
        models,
        replicas=2,
        router=router,
        server={"max_body": MAX_BODY},
    ) as running:
        yield running


@pytest.fixture
def cluster(gateway_cluster: Cluster, raw_provider_thread: RawProvider) -> Iterator[Cluster]:
    raw_provider_thread.forget()
    for provider in gateway_cluster.providers:
        provider.behave(**msgspec.structs.asdict(Behaviour()))
        provider.wait_for(in_flight=0)
        provider.request("POST", "/control/reset")
    # On a standby store nothing that is forgotten here would be.
    wait_until(lambda: {each.stats()["state"] for each in gateway_cluster.replicas} == {"shared"})
    gateway_cluster.forget()
    yield gateway_cluster
    gateway_cluster.check()


@pytest.fixture
def replica(cluster: Cluster) -> ReplicaProcess:
    return cluster.replicas[0]


@pytest.fixture
def provider(cluster: Cluster) -> ProviderProcess:
    return cluster.providers[0]


@pytest.fixture
def spare(cluster: Cluster) -> ProviderProcess:
    return cluster.providers[1]


@pytest.fixture
def raw_provider(cluster: Cluster, raw_provider_thread: RawProvider) -> RawProvider:
    return raw_provider_thread
