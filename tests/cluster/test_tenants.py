"""Tenants made by the admin API: kept in the store, obeyed by every replica, gone everywhere when they are removed."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from loadtest.provider.behaviour import Behaviour
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.wire import Answer

_NUMBERS = itertools.count()
ADMIN = {"authorization": "Bearer sk-admin-key"}
KEY = "sk-4f9d1c7ae2-b05863"


@pytest.fixture(scope="module")
def governed_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    with running_cluster(
        store,
        [first],
        [
            deployment("one", first, "one"),
            deployment("two", first, "two"),
            deployment("narrow", first, "narrow", max_parallel=1),
        ],
        domain="governed",
        replicas=3,
        auth={"admin_key": "sk-admin-key", "keys": [{"name": "fixed", "key": "sk-of-the-configuration"}]},
        router={"latency_threshold": "8s", "aliases": {"uno": "one"}},
        server={"trusted_proxies": ["127.0.0.0/8"]},
    ) as running:
        yield running


@pytest.fixture
def governed(governed_cluster: Cluster) -> Iterator[Cluster]:
    governed_cluster.providers[0].behave(**msgspec.structs.asdict(Behaviour()))
    yield governed_cluster
    governed_cluster.check()
    for each in tenants(governed_cluster.replicas[0]):
        change(governed_cluster.replicas[0], "DELETE", each["name"])


def change(replica: ReplicaProcess, method: str, name: str, headers: dict[str, str] = ADMIN, **fields: Any) -> Answer:
    body = json.dumps(fields).encode() if method == "PUT" else b""
    return replica.request(method, f"/v1/admin/tenants/{name}", body, headers)


def tenants(replica: ReplicaProcess) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = replica.get("/v1/admin/tenants", ADMIN).json()["tenants"]
    return listed


def asked(replica: ReplicaProcess, key: str, model: str = "one", address: str = "") -> Answer:
    """From another address each time, as a proxy reports it: wrong keys are slowed by address."""
    origin = address or f"10.1.{next(_NUMBERS) >> 8}.{next(_NUMBERS) & 255}"
    return replica.chat(model, headers={"authorization": f"Bearer {key}", "x-forwarded-for": origin})


def wait_for(cluster: Cluster, key: str, status: int, model: str = "one") -> None:
    """On every replica. News takes milliseconds, the next heartbeat a second."""
    wait_until(lambda: {asked(replica, key, model).status for replica in cluster.replicas} == {status})


def test_key_that_is_made_opens_every_replica(governed: Cluster) -> None:
    made = change(governed.replicas[0], "PUT", "team-a", models=["uno"], priority="low", rpm=1000)
    key = made.json()["key"]

    assert (made.status, key.startswith("sk-pllm-"), len(key) > 40) == (201, True, True)
    wait_for(governed, key, 200, "uno")
    wait_for(governed, key, 403, "two")
    assert asked(governed.replicas[1], key, "uno").headers["x-ratelimit-limit-requests"] == "1000"
    assert tenants(governed.replicas[2])[0] == {
        "name": "team-a", "priority": "low", "models": ["uno"], "rpm": 1000, "tpm": None, "max_parallel": None,
        "weight": 1.0,
        "budget": None,
    }  # fmt: skip


def test_request_that_waits_is_not_let_in_with_a_key_that_is_taken_back(governed: Cluster) -> None:
    first, second, _ = governed.replicas
    change(second, "PUT", "team-a", key=KEY)
    wait_for(governed, KEY, 200)
    governed.providers[0].behave(stall_rate=1)
    own = {"authorization": "Bearer sk-of-the-configuration"}
    with first.begin_chat("narrow", headers=own) as held:
        governed.providers[0].wait_for(in_flight=1)
        governed.providers[0].behave(stall_rate=0)
        with first.begin_chat("narrow", headers={"authorization": f"Bearer {KEY}"}) as waiting:
            wait_until(lambda: first.get("/v1/admin/models/stats", ADMIN).json()["waiting"] == {"narrow": 1})
            change(second, "DELETE", "team-a")
            wait_for(governed, KEY, 401)
            held.leave()
            answer = waiting.answer()

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    governed.wait_until_idle()


def test_key_of_a_removed_tenant_opens_nothing_anywhere(governed: Cluster) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    wait_for(governed, KEY, 200)
    removed = change(governed.replicas[1], "DELETE", "team-a")

    assert removed.status == 200
    wait_for(governed, KEY, 401)
    assert asked(governed.replicas[0], "sk-of-the-configuration").status == 200


def test_tenant_that_is_changed_keeps_its_key(governed: Cluster) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    changed = change(governed.replicas[2], "PUT", "team-a", models=["two"])

    assert (changed.status, "key" in changed.json()) == (200, False)
    wait_for(governed, KEY, 403)
    wait_for(governed, KEY, 200, "two")


def test_key_that_is_replaced_opens_nothing(governed: Cluster) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    change(governed.replicas[0], "PUT", "team-a", key=KEY + "-new")

    wait_for(governed, KEY + "-new", 200)
    wait_for(governed, KEY, 401)


def test_limits_hold_for_all_replicas_together(governed: Cluster) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    wait_for(governed, KEY, 200)
    change(governed.replicas[0], "PUT", "team-a", key=KEY, rpm=6)
    wait_until(lambda: all(tenants(replica)[0]["rpm"] == 6 for replica in governed.replicas))
    statuses = [asked(replica, KEY).status for replica in governed.replicas * 4]

    assert (statuses.count(200), statuses.count(429)) == (6, 6)


def test_store_holds_hashes_only(governed: Cluster) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    held = governed.redis.hgetall(governed.key("tenants"))
    events = governed.redis.xrange(governed.key("events"))

    assert KEY not in str(held) + str(events)
    assert "key_hash" in held["team-a"]
    assert KEY not in str(tenants(governed.replicas[0]))
    assert not any(KEY in replica.said() for replica in governed.replicas)


def test_store_that_is_flushed_gets_them_back(governed: Cluster) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    wait_for(governed, KEY, 200)
    for key in governed.redis.scan_iter(governed.key("*")):
        governed.redis.delete(key)

    wait_until(lambda: governed.redis.hexists(governed.key("tenants"), "team-a"))
    wait_for(governed, KEY, 200)


def test_replica_that_starts_knows_them_at_once(governed: Cluster) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    governed.replicas[2].stop()
    again = governed.restart(governed.replicas[2])

    assert asked(again, KEY).status == 200


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"authorization": f"Bearer {KEY}"}, 403), ({"x-api-key": "sk-admin-ke"}, 403)]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_the_admin_key_may(governed: Cluster, method: str, headers: dict[str, str], status: int) -> None:
    replica = governed.replicas[0]
    answer = (
        change(replica, method, "team-b", headers) if method != "GET" else replica.get("/v1/admin/tenants", headers)
    )

    assert answer.status == status
    assert tenants(replica) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"rpm": 0}, "rpm"),
        ({"rpm": -5}, "rpm"),
        ({"tpm": 1e300}, "tpm"),
        ({"max_parallel": "many"}, "max_parallel"),
        ({"weight": 0}, "weight"),
        ({"weight": 1e-320}, "weight"),
        ({"key": KEY + " "}, "key"),
        ({"key": "schlüssel-" + KEY}, "key"),
        ({"priority": "urgent"}, "priority"),
        ({"models": ["one", "three"]}, "models[1]"),
        ({"models": "one"}, "models"),
        ({"key": "short"}, "key"),
        ({"rmp": 5}, "rmp"),
    ],
)
def test_bad_tenant_is_refused_with_its_place(governed: Cluster, fields: dict[str, Any], param: str) -> None:
    answer = change(governed.replicas[0], "PUT", "team-b", **fields)

    assert answer.status == 400
    assert param in answer.error["message"] or answer.error["param"] == param
    assert tenants(governed.replicas[0]) == []


@pytest.mark.parametrize("name", ["a%20b", "x" * 65, "%7Bbrace%7D"])
def test_bad_name_is_refused(governed: Cluster, name: str) -> None:
    assert change(governed.replicas[0], "PUT", name).status == 400


def test_key_has_one_tenant(governed: Cluster) -> None:
    replica = governed.replicas[0]
    change(replica, "PUT", "team-a", key=KEY)
    answers = [
        change(replica, "PUT", "team-b", key=KEY),
        change(replica, "PUT", "team-c", key="sk-of-the-configuration"),
        change(replica, "PUT", "fixed"),
    ]

    assert [(answer.status, answer.error["code"]) for answer in answers] == [(409, "conflict")] * 3
    assert [each["name"] for each in tenants(replica)] == ["team-a"]


def test_unknown_tenant_cannot_be_removed(governed: Cluster) -> None:
    assert change(governed.replicas[0], "DELETE", "nobody").status == 404


def test_flood_of_wrong_keys_locks_no_tenant_out(governed: Cluster) -> None:
    """Each is looked up once by its hash: no list is gone through, the store is not asked. Most from one address get
    a 429; its right keys are served.
    """
    replica = governed.replicas[0]
    before = governed.redis.hget(governed.key("global"), "sequence")
    statuses = {asked(replica, f"sk-wrong-{number}", address="10.2.0.1").status for number in range(300)}
    after = governed.redis.hget(governed.key("global"), "sequence")

    assert statuses == {401, 429}
    assert int(after) - int(before) < 50  # heartbeats
    assert asked(replica, "sk-of-the-configuration", address="10.2.0.1").status == 200


CORRUPTED: dict[str, str] = {
    "not-json": "{",
    "no-hash": json.dumps({"name": "no-hash", "key_hash": "not hexadecimal"}),
    "no-priority": json.dumps({"name": "no-priority", "key_hash": "0" * 64, "priority": "urgent"}),
    "no-weight": json.dumps({"name": "no-weight", "key_hash": "1" * 64, "weight": 0}),
    "other-name": json.dumps({"name": "team a", "key_hash": "2" * 64}),
}


@pytest.mark.parametrize("name", CORRUPTED)
def test_record_that_was_written_over_keeps_no_other_from_being_taken_back(governed: Cluster, name: str) -> None:
    change(governed.replicas[0], "PUT", "team-a", key=KEY)
    change(governed.replicas[0], "PUT", "team-b", key=KEY + "-b")
    governed.redis.hset(governed.key("tenants"), name, CORRUPTED[name])
    removed = change(governed.replicas[0], "DELETE", "team-a").status
    wait_for(governed, KEY, 401)
    governed.replicas[1].stop()
    started = governed.restart(governed.replicas[1])

    assert (removed, asked(started, KEY + "-b").status) == (200, 200)
    assert change(governed.replicas[0], "PUT", "team-c").status == 201
    assert change(governed.replicas[0], "DELETE", name).status == 200
