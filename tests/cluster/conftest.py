"""Real clusters, started once per process and used by many tests: each test starts with healthy providers and nothing
learned, has models of its own, and must leave no lease and no traceback behind.
"""

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from loadtest.provider.behaviour import Behaviour
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, deployment, running_cluster, running_providers, running_store

# A busy test machine must not make a provider look slow where slowness is not what is tested.
PATIENT = "8s"


@pytest.fixture(scope="session")
def store() -> Iterator[EmbeddedStore]:
    with running_store() as running:
        yield running


@pytest.fixture(scope="session")
def provider_processes() -> Iterator[list[ProviderProcess]]:
    with running_providers(3) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _healed(provider_processes: list[ProviderProcess]) -> None:
    """A module begins with healthy providers, however the one before has left them."""
    heal(provider_processes)


@pytest.fixture(scope="session")
def standard_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Four replicas, the product's defaults but for what a test needs shorter."""
    first, second, third = provider_processes
    models = [
        deployment("dead", first, "dead"),
        deployment("probed", first, "probed", cooldown_period="500ms"),
        deployment("held", first, "held", max_parallel=1000),
        deployment("limited", first, "limited", rpm=10),
        deployment("narrow", first, "narrow", max_parallel=5),
        deployment("hung", first, "hung", latency_threshold="200ms"),
        deployment("hung-spare", second, "hung-spare"),
        deployment("main", first, "main", cooldown_period="300ms"),
        deployment("backup-1", second, "backup-1", priority=1),
        deployment("backup-2", third, "backup-2", priority=99),
        deployment("twin-0", first, "twin"),
        deployment("twin-1", second, "twin"),
    ]
    router = {"latency_threshold": PATIENT, "fallbacks": {"main": ["backup-1", "backup-2"], "hung": ["hung-spare"]}}
    with running_cluster(store, provider_processes, models, domain="standard", replicas=4, router=router) as running:
        yield running


@pytest.fixture(scope="session")
def tolerant_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Two replicas whose breakers never open by themselves, so that scores alone decide."""
    first, second, _ = provider_processes
    models = [
        deployment("fast", first, "mixed"),
        deployment("slow", second, "mixed"),
        deployment("home", first, "home"),
        deployment("away", second, "away"),
    ]
    router = {
        "latency_threshold": "120ms",
        "token_allowance": 0,
        "circuit_breaker_threshold": 100_000,
        "slow_request_limit": 100_000,
        "breaker": {"min_calls": 100_000},
        "fallback": {"min_health": 90},
        "fallbacks": {"home": ["away"]},
        "load_shedding": {"max_failure_rate": 1, "min_healthy_ratio": 0},
        "max_attempts": 1,
    }
    with running_cluster(store, provider_processes, models, domain="tolerant", router=router) as running:
        yield running


@pytest.fixture
def cluster(standard_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(standard_cluster)


@pytest.fixture
def tolerant(tolerant_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(tolerant_cluster)


def heal(providers: Sequence[ProviderProcess]) -> None:
    """They are shared by all modules of a process, whose tests may take turns."""
    for provider in providers:
        provider.behave(**msgspec.structs.asdict(Behaviour()))
        provider.wait_for(in_flight=0)
        provider.request("POST", "/control/reset")


def fresh(cluster: Cluster) -> Iterator[Cluster]:
    heal(cluster.providers)
    cluster.forget()
    yield cluster
    cluster.check()
