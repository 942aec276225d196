"""Several routing domains on the masters of a real Cluster: each decides for itself, and a chain walks from one into
the next.
"""

import contextlib
import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared_state.connection.client import Client
from shared_state.connection.store_check import check
from shared_state.embedded import EmbeddedStore
from shared_state.errors import StateError, StoreUnfit
from shared_state.inspector import inspecting
from shared_state.keys import Keys
from tests.cluster.conftest import heal
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.stores import on_loop, wait_until
from tests.support.topologies import Sharded, ending, until
from tests.support.wire import Call, request_bytes

HOME, EAST, WEST = "default", "east", "west"


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharded]:
    cluster = Sharded(tmp_path_factory.mktemp("sharded"))
    with ending(cluster.servers):
        yield cluster


@pytest.fixture
def cluster(sharded: Sharded, store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first, second, third = provider_processes
    heal(provider_processes)
    models = [
        deployment("here", first, "gpt-4", domain=EAST),
        deployment("there", second, "backup", domain=WEST),
        deployment("home", third, "backup"),
        deployment("both-east", first, "wide", domain=EAST),
        deployment("both-west", second, "wide", domain=WEST),
        deployment("west", third, "west-only", domain=WEST),
    ]
    router: dict[str, Any] = {
        "fallbacks": {"gpt-4": ["backup"]},
        "circuit_breaker_cooldown": "60s",
        "latency_threshold": "8s",
    }
    router["autoscale"] = {"target_concurrency": 1, "utilization": 1, "min_replicas": 1}
    # Lost before the Cluster's own node timeout, after which all of its domains may be down for a moment.
    state = {"url": sharded.url, "deadline": "100ms", "lost_after": "300ms", "domain": HOME}
    with running_cluster(store, provider_processes, models, domain="domains", state=state, router=router) as running:
        yield running
    for server in sharded.servers:
        if server.process.poll() is None and server.redis.role()[0] == "master":
            server.redis.flushall()


def served_by(replica: ReplicaProcess, model: str) -> str:
    answer = replica.chat(model)
    assert answer.status == 200, answer
    assert answer.headers["x-pllm-state"] == "shared"
    return answer.headers["x-pllm-deployment"]


def test_domains_lie_on_masters_of_their_own(sharded: Sharded, cluster: Cluster) -> None:
    assert {served_by(replica, "gpt-4") for replica in cluster.replicas} == {"here"}

    owners = {domain: sharded.owner(sharded.slot(f"pllm:{{{domain}}}:global")) for domain in (HOME, EAST, WEST)}
    assert len({owner.port for owner in owners.values()}) == 3
    for domain, owner in owners.items():
        assert owner.redis.zcard(f"pllm:{{{domain}}}:replicas") == 2


def test_chain_walks_into_the_next_domain_when_a_provider_fails(cluster: Cluster) -> None:
    cluster.providers[0].behave(error_rate=1)
    calls = [replica.chat("gpt-4") for replica in cluster.replicas for _ in range(10)]

    assert {(call.status, call.headers["x-pllm-fallback"]) for call in calls} == {(200, "gpt-4>backup")}
    assert {call.headers["x-pllm-deployment"] for call in calls} <= {"there", "home"}
    # The breaker opened once, for both replicas: after that nobody asks the provider any more.
    assert cluster.replicas[1].chat("gpt-4").headers["x-pllm-attempts"] == "1"
    shown = cluster.replicas[0].stats()["load_balancer"]["gpt-4"]["deployments"]
    assert {name: each["state"] for name, each in shown.items()} == {"here": "open"}


def test_model_of_several_domains_is_served_by_each(cluster: Cluster) -> None:
    counted = Counter(served_by(replica, "wide") for replica in cluster.replicas for _ in range(20))
    assert set(counted) == {"both-east", "both-west"}

    cluster.replicas[0].force("both-east", "open")
    wait_until(lambda: {served_by(cluster.replicas[1], "wide") for _ in range(10)} == {"both-west"})


def test_answers_of_all_domains_are_merged(cluster: Cluster) -> None:
    explained = cluster.replicas[0].get("/v1/admin/explain?model=gpt-4").json()
    assert [each["deployment_id"] for each in explained["candidates"]] == ["here", "there", "home"]
    assert explained["picked"] == "here"

    stats = cluster.replicas[1].stats()
    assert stats["replicas"] == 2
    shown = {name for model in stats["load_balancer"].values() for name in model["deployments"]}
    assert shown == {"here", "there", "home", "both-east", "both-west", "west"}
    one = cluster.replicas[0].get("/v1/admin/deployments/both-west").json()
    assert json.dumps(one).count("both-west") >= 1


def test_events_of_all_domains_are_shown_in_their_order(cluster: Cluster) -> None:
    seeing, doing = cluster.replicas
    for name in ("here", "there", "home", "both-west", "both-east"):
        doing.force(name, "disable")
    everything = seeing.get("/v1/admin/events?limit=1000").json()["events"]
    paged: list[dict[str, str]] = []
    before: str | None = ""
    while before is not None:
        page = seeing.get(f"/v1/admin/events?limit=2&before={before}").json()
        paged, before = paged + page["events"], page["next_before"]
    live = seeing.get("/v1/admin/live?frames=1").body.decode()

    forced = [each["subject"] for each in everything if each["to"] == "disabled"]
    assert set(forced) == {"here", "there", "home", "both-west", "both-east"}
    assert forced[-5:] == ["both-east", "both-west", "home", "there", "here"]
    assert paged == everything
    assert [[int(part) for part in each["id"].split("-")] for each in everything] == sorted(
        ([int(part) for part in each["id"].split("-")] for each in everything), reverse=True
    )
    assert '"subject":"both-west"' in live


def test_stream_of_events_continues_after_the_last_one_of_any_domain(cluster: Cluster) -> None:
    replica = cluster.replicas[0]
    replica.force("here", "disable")
    last = replica.get("/v1/admin/events?limit=1").json()["events"][0]["id"]
    replica.force("there", "disable")
    asked = {"accept": "text/event-stream", "last-event-id": last}
    with Call(replica.address, request_bytes("GET", "/v1/admin/events", headers=asked)) as stream:
        caught_up = stream.read_until(b"disable by")
        replica.force("home", "disable")
        replica.force("here", "reset")
        came = stream.read_until(b"reset by")

    assert told(caught_up) == ["there"]
    assert told(came) == ["home", "here"]


def told(stream: bytes) -> list[str]:
    """Subjects, in their order, of what somebody did by hand."""
    lines = [line[6:] for line in stream.splitlines() if line.startswith(b"data: ") and line.endswith(b"}")]
    return [event["subject"] for event in map(json.loads, lines) if " by local" in event["reason"]]


def test_node_with_other_domains_redirects(sharded: Sharded, cluster: Cluster) -> None:
    owner = sharded.owner(sharded.slot(f"pllm:{{{EAST}}}:global"))
    other = next(server for server in sharded.masters if server is not owner)
    with (
        pytest.raises(StateError, match=rf"redis\+cluster://127\.0\.0\.1:{owner.port}$"),
        inspecting(f"redis://127.0.0.1:{other.port}", EAST) as inspector,
    ):
        inspector.execute(["HGETALL", f"pllm:{{{EAST}}}:global"])


def test_desired_replicas_follow_the_requests_of_all_domains(cluster: Cluster) -> None:
    first, _, third = cluster.providers
    for provider in (first, third):
        provider.behave(latency_ms=5000)
    calls = [replica.begin_chat(model) for replica in cluster.replicas for model in ("gpt-4", "west-only") * 2]
    wait_until(lambda: cluster.replicas[0].get("/v1/admin/autoscale").json()["inputs"]["active_requests"] == len(calls))
    wait_until(lambda: cluster.replicas[1].get("/v1/admin/autoscale").json()["desired_replicas"] > 2)
    for call in calls:
        call.leave()


@on_loop
async def test_plain_address_of_the_wrong_node_is_reported(sharded: Sharded) -> None:
    keys = Keys(WEST)
    owner = sharded.owner(sharded.slot(keys.domain.decode()))
    wrong = next(server for server in sharded.masters if server is not owner)
    with pytest.raises(StoreUnfit, match=r"use redis\+cluster://"):
        await check(Client(f"redis://127.0.0.1:{wrong.port}", keys.domain), keys, [])
    await check(Client(sharded.url, keys.domain), keys, [])


def test_domain_on_standby_is_reported(sharded: Sharded, cluster: Cluster) -> None:
    replica, owner = cluster.replicas[0], sharded.owner(sharded.slot(f"pllm:{{{WEST}}}:global"))
    owner.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: replica.stats()["domains"] == {HOME: "shared", EAST: "shared", WEST: "standby"})
        west, home = replica.chat("west-only"), replica.chat("gpt-4")
        scraped = replica.get("/metrics").body.decode().splitlines()
        state = replica.stats()["state"]
    finally:
        owner.process.send_signal(signal.SIGCONT)
    wait_until(lambda: set(replica.stats()["domains"].values()) == {"shared"})

    assert (west.headers["x-pllm-state"], home.headers["x-pllm-state"]) == ("standby", "shared")
    assert state == "standby"
    assert "pllm_state_standby 1.0" in scraped


def test_master_that_dies_costs_no_client_an_answer(sharded: Sharded, cluster: Cluster, tmp_path: Path) -> None:
    dying = sharded.owner(sharded.slot(f"pllm:{{{WEST}}}:global"))
    slot = sharded.slot(f"pllm:{{{WEST}}}:global")
    dying.kill()

    def is_promoted() -> bool:
        with contextlib.suppress(LookupError):  # for a moment no server owns the slot
            return sharded.owner(slot) in sharded.replicas
        return False

    while not is_promoted():
        for replica in cluster.replicas:
            assert replica.chat("gpt-4").status == 200
            assert replica.chat("wide").status == 200
    until(lambda: cluster.replicas[0].chat("west-only").headers["x-pllm-state"] == "shared", "west is shared again")
    until(lambda: served_by(cluster.replicas[0], "wide") == "both-west", "west is served again")
