"""More than there is room for: the cluster goes on doing as much as it can, and what matters most gets through.

The model has room for so many requests a second as its concurrency limit and its latency allow, whatever the machine.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import fresh
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, deployment, running_cluster
from tests.support.open_loop import Arrived, Load, arrive

PLACES, LATENCY_MS = 6, 100
CAPACITY = PLACES * 1000 / LATENCY_MS  # requests a second
TARGET_S, MAX_WAIT_S = 0.5, 2.0
KEYS = [
    {"name": "vital", "key": "sk-vital", "priority": "critical"},
    {"name": "team", "key": "sk-team"},
    {"name": "flood", "key": "sk-flood"},
]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def surged_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    with running_cluster(
        store,
        [first],
        [deployment("only", first, "only", max_parallel=PLACES, concurrency="fixed")],
        domain="surged",
        replicas=3,
        auth={"admin": "local", "keys": KEYS},
        router={
            "latency_threshold": "60s",
            "queue": {"max_waiting": 40, "max_wait": f"{MAX_WAIT_S}s", "target": f"{TARGET_S}s"},
        },
    ) as running:
        yield running


@pytest.fixture
def surged(surged_cluster: Cluster) -> Iterator[Cluster]:
    for cluster in fresh(surged_cluster):
        cluster.providers[0].behave(latency_ms=LATENCY_MS)
        yield cluster


def load(name: str, share: float) -> Load:
    return Load(name, share * CAPACITY, {"authorization": f"Bearer sk-{name}"})


def offered(cluster: Cluster, seconds: float, *loads: Load) -> list[Arrived]:
    return arrive([replica.url for replica in cluster.replicas], "only", loads, seconds)


def goodput(arrived: list[Arrived], seconds: float) -> float:
    return sum(each.status == 200 for each in arrived) / seconds


def share_served(arrived: list[Arrived], name: str) -> float:
    mine = [each for each in arrived if each.load == name]
    return sum(each.status == 200 for each in mine) / len(mine)


def rss_mib(cluster: Cluster) -> list[float]:
    pids = [replica.process.pid for replica in cluster.replicas]
    return [int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024 for pid in pids]


def test_surge_costs_goodput_nothing_and_is_over_when_it_is_over(surged: Cluster) -> None:
    once = offered(surged, 10, load("team", 0.95))
    before = rss_mib(surged)
    twice = offered(surged, 10, load("team", 1.95), load("vital", 0.05))
    ten_times = offered(surged, 15, load("team", 9.9), load("vital", 0.1))
    after = rss_mib(surged)
    recovered = offered(surged, 12, load("team", 0.8))

    base = goodput(once, 10)
    waits = sorted(each.latency_s for each in ten_times if each.status == 200)
    refused = [each for each in ten_times if each.status not in (200, 429, 503)]
    late = [each for each in recovered if each.planned_s > recovered[0].planned_s + 10]
    figures = {
        "goodput": [round(goodput(a, s), 1) for a, s in ((once, 10), (twice, 10), (ten_times, 15))],
        "critical": [share_served(twice, "vital"), share_served(ten_times, "vital")],
        "p99_s": round(waits[int(0.99 * len(waits))], 2),
        "rss": [before, after],
    }
    assert share_served(once, "team") > 0.99, figures
    assert goodput(twice, 10) >= 0.9 * base, figures
    assert goodput(ten_times, 15) >= 0.9 * base, figures
    assert share_served(ten_times, "vital") >= 0.99, figures
    assert waits[int(0.99 * len(waits))] <= MAX_WAIT_S + LATENCY_MS / 1000 + 0.5, figures
    assert refused == [], figures
    assert {each.status for each in late} == {200}, figures
    assert all(b - a < 20 for a, b in zip(before, after, strict=True)), figures


@pytest.mark.parametrize("only", [None, 0], ids=["in turn", "one replica"])
def test_tenant_that_floods_gets_exactly_its_share(surged: Cluster, only: int | None) -> None:
    """Ten times what there is room for, through all replicas, against a quarter of it: the quarter is served, also
    where it comes through one of them, and the flood has the rest.
    """
    arrived = offered(surged, 15, load("flood", 10), load("team", 0.25)._replace(only=only))

    assert share_served(arrived, "team") >= 0.95
    assert goodput(arrived, 15) >= 0.9 * CAPACITY
