"""Two regions, each with replicas and a store of its own: what the eu has no room for goes to the us, and back."""

import re
from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import fresh
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, deployment, running_cluster, running_store


def running(store: EmbeddedStore, providers: list[ProviderProcess], region: str) -> Iterator[Cluster]:
    """One file for both, the region from the environment."""
    own = {"max_parallel": 2, "cooldown_period": "300ms"}
    models = [
        deployment("here", providers[0], "m", region="eu", **own),
        deployment("there", providers[1], "m", region="us", **own),
    ]
    router = {"latency_threshold": "60s", "queue": {"max_waiting": 0}}
    environment = {"PLLM_REGION": region}
    with running_cluster(
        store, providers, models, domain=f"in-{region}", router=router, environment=environment
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def eu_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    yield from running(store, provider_processes, "eu")


@pytest.fixture(scope="module")
def us_store() -> Iterator[EmbeddedStore]:
    with running_store() as running:
        yield running


@pytest.fixture(scope="module")
def us_cluster(us_store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    yield from running(us_store, provider_processes, "us")


@pytest.fixture
def eu(eu_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(eu_cluster)


@pytest.fixture
def us(us_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(us_cluster)


def active(cluster: Cluster) -> tuple[int, int]:
    names = ("leases:here", "leases:there")
    here, there = (int(cluster.redis.zcard(cluster.key(name))) for name in names)
    return here, there


def verdicts(cluster: Cluster) -> dict[str, str]:
    told = cluster.replicas[1].get("/v1/admin/explain?model=m").json()
    return {each["deployment_id"]: each["verdict"] for each in told["candidates"]}


def spilled(cluster: Cluster) -> int:
    """Over all replicas."""
    found = 0
    for replica in cluster.replicas:
        text = replica.get("/metrics").body.decode()
        found += sum(int(float(n)) for n in re.findall(r'pllm_spilled_total{from="eu",to="us"} (\S+)', text))
    return found


def test_home_first_then_the_other_region_and_back(eu: Cluster, us: Cluster) -> None:
    """Over two replicas of the eu; the us has its own count of the same deployments."""
    before = spilled(eu)
    assert verdicts(eu) == {"here": "eligible", "there": "remote"}
    for provider in eu.providers:
        provider.behave(latency_ms=60_000)
    calls = [eu.replicas[number % 2].begin_chat("m") for number in range(3)]
    wait_until(lambda: active(eu) == (2, 1), lambda: str(active(eu)))
    assert verdicts(eu) == {"here": "full", "there": "eligible"}
    assert active(us) == (0, 0)
    for call in calls:
        call.leave()
    eu.wait_until_idle()
    for provider in eu.providers:
        provider.behave(latency_ms=0)

    assert {eu.replicas[0].chat("m").headers["x-pllm-deployment"] for _ in range(5)} == {"here"}
    assert {us.replicas[0].chat("m").headers["x-pllm-deployment"] for _ in range(5)} == {"there"}
    assert spilled(eu) - before == 1


def test_home_that_fails_is_left_and_its_probes_lead_back(eu: Cluster) -> None:
    eu.providers[0].behave(error_rate=1)
    answers = [eu.replicas[number % 2].chat("m") for number in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["x-pllm-deployment"] for answer in answers} == {"there"}
    assert eu.state("here") in ("open", "half_open")
    eu.providers[0].behave(error_rate=0)
    wait_until(lambda: eu.replicas[0].chat("m").headers["x-pllm-deployment"] == "here" and eu.state("here") == "closed")

    # The other region keeps the share that home does not take yet.
    ramping = {eu.replicas[1].chat("m").headers["x-pllm-deployment"] for _ in range(40)}
    eu.end_slow_start("here")
    assert ramping == {"here", "there"}
    assert {eu.replicas[1].chat("m").headers["x-pllm-deployment"] for _ in range(5)} == {"here"}


def test_region_whose_replicas_and_store_are_gone_takes_nothing_from_the_other(
    eu: Cluster, provider_processes: list[ProviderProcess]
) -> None:
    with running_store() as lost_store:
        for us in running(lost_store, provider_processes, "us"):
            assert us.replicas[0].chat("m").headers["x-pllm-deployment"] == "there"
            for replica in us.replicas:
                replica.kill()
    for provider in eu.providers:
        provider.behave(latency_ms=60_000)
    calls = [eu.replicas[number % 2].begin_chat("m") for number in range(3)]
    wait_until(lambda: active(eu) == (2, 1), lambda: str(active(eu)))
    for call in calls:
        call.leave()
    eu.wait_until_idle()
    for provider in eu.providers:
        provider.behave(latency_ms=0)
    answers = [replica.chat("m") for replica in eu.replicas]

    assert {(a.headers["x-pllm-deployment"], a.headers["x-pllm-state"]) for a in answers} == {("here", "shared")}


def test_all_of_a_region_know_how_far_everybody_is(eu: Cluster) -> None:
    def told() -> dict[str, str]:
        found: dict[str, str] = eu.redis.hgetall(eu.key("rtt:eu"))
        return found

    wait_until(lambda: set(told()) == {"here", "there"}, lambda: str(told()))
    for replica in eu.replicas:
        shown = replica.stats()["load_balancer"]["m"]["deployments"]
        assert (shown["here"]["region"], shown["there"]["region"]) == ("eu", "us")
        assert shown["there"]["round_trip"].endswith("ms")
        assert 'pllm_round_trip_seconds{deployment="there",region="eu"}' in replica.get("/metrics").body.decode()
