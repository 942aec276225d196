"""Who watches the cluster while it is in trouble, or while a replica ends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster, running_store
from tests.support.stores import stopped
from tests.support.wire import Answer, Call, request_bytes


@pytest.fixture(scope="module")
def own_store() -> Iterator[EmbeddedStore]:
    """One to stop."""
    with running_store() as running:
        yield running


@pytest.fixture
def watched(own_store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    models = [deployment("main", provider_processes[0], "gpt-4")]
    state = {"deadline": "100ms"}
    with running_cluster(own_store, provider_processes, models, domain="watched", state=state) as running:
        yield running


def frame(replica: ReplicaProcess) -> dict[str, Any]:
    answer: Answer = replica.get("/v1/admin/live?frames=1")
    assert (answer.status, answer.is_whole) == (200, True)
    state: dict[str, Any] = json.loads(answer.events[0])
    return state


def test_replica_on_its_standby_store_is_shown_as_such(watched: Cluster, own_store: EmbeddedStore) -> None:
    replica = watched.replicas[0]
    with stopped(own_store):
        wait_until(lambda: frame(replica)["state"] == "standby" and frame(replica)["replicas"])
        seen = frame(replica)
        replicas = replica.get("/v1/admin/replicas").json()
        statuses = [replica.get(f"/v1/admin/{path}").status for path in ("events", "deployments/main", "configuration")]
    wait_until(lambda: frame(replica)["state"] == "shared", lambda: str(frame(replica)))
    told = [event["to"] for event in replica.get("/v1/admin/events").json()["events"] if "r0" in event["subject"]]

    assert seen["reason"]
    assert [row["id"] for row in seen["deployments"]] == ["main"]
    assert [(each["id"][:2], each["store"]) for each in replicas["replicas"]] == [("r0", "standby")]
    assert statuses == [200, 200, 200]
    assert told[:2] == ["shared", "standby"]


def test_replica_that_drains_ends_its_streams(watched: Cluster) -> None:
    replica = watched.replicas[1]
    with Call(replica.address, request_bytes("GET", "/v1/admin/live")) as call:
        call.read_until(b"event: full")
        code = replica.stop()
        rest = call.read_to_end()

    assert code == 0
    assert rest.endswith(b"0\r\n\r\n")
