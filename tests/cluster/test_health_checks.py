"""A provider that returns is found without traffic, by one replica of the cluster at a time, and only while its breaker
is open. Each replica has a file of its own.
"""

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, deployment, running_cluster
from tests.support.raw_provider import RawProvider, plain, running_raw_provider

INTERVAL_S = 1
EVERY_SECOND = {"interval": "1s", "timeout": "1s"}
CHECK = b"GET /v1/models "
DOWN = plain(b'{"error": {"message": "down", "type": "server_error"}}', "500 Internal Server Error")


@pytest.fixture
def raw() -> Iterator[RawProvider]:
    with running_raw_provider() as running:
        yield running


def running(store: EmbeddedStore, raw: RawProvider, domain: str, **fields: Any) -> Any:
    models = [deployment("checked", raw.url, "checked", cooldown_period="60s", **fields)]
    router = {"circuit_breaker_threshold": 1, "latency_threshold": "8s", "last_resort": False}
    return running_cluster(store, [], models, domain=domain, router=router, own_files=True)


def checks(raw: RawProvider) -> int:
    return sum(head.startswith(CHECK) for head, _ in raw.requests)


def trip(cluster: Cluster, raw: RawProvider) -> None:
    raw.answer = DOWN
    assert cluster.replicas[0].chat("checked").status != 200
    cluster.wait_for_state("checked", "open")


def test_provider_that_returns_is_served_again_without_traffic(store: EmbeddedStore, raw: RawProvider) -> None:
    with running(store, raw, "checks", health_check=EVERY_SECOND) as cluster:
        began_s = time.monotonic()
        trip(cluster, raw)
        wait_until(lambda: checks(raw) == 3)
        while_down = cluster.replicas[1].chat("checked")
        raw.forget()
        returned_s, failed = time.monotonic(), 3
        wait_until(lambda: "open>open health_check" in cluster.transitions("checked"))
        took_s, sent = time.monotonic() - returned_s, failed + checks(raw)
        served = [replica.chat("checked").status for replica in cluster.replicas]

        assert (while_down.status, while_down.json()["error"]["code"]) == (503, "no_healthy_deployment")
        assert served == [200, 200]
        assert sent <= (time.monotonic() - began_s) / INTERVAL_S
        assert took_s < 5 * INTERVAL_S  # an interval and a look, on a busy test machine
        assert sum("health check ended a cooldown" in replica.said() for replica in cluster.replicas) == 1
        cluster.check()


def test_reload_adds_the_check_to_a_breaker_that_is_open(store: EmbeddedStore, raw: RawProvider) -> None:
    with running(store, raw, "checks-reloaded") as cluster:
        trip(cluster, raw)
        cluster.wait_for_beats(3)
        before = checks(raw)
        raw.forget()
        document = yaml.safe_load(cluster.replicas[0].config.read_text())
        changed = copy.deepcopy(document)
        changed["model_list"][0]["health_check"] = EVERY_SECOND
        for replica in cluster.replicas:
            replica.config.write_text(yaml.safe_dump(changed))
        reloaded = cluster.replicas[0].request("POST", "/v1/admin/reload").status
        wait_until(lambda: "open>open health_check" in cluster.transitions("checked"))

        assert (before, reloaded) == (0, 200)
        assert cluster.replicas[1].chat("checked").status == 200
        cluster.check()
