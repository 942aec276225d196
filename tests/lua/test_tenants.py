"""Tenants that are kept in the store: every change has a version, the newest is what all replicas hold."""

import json
from typing import Any

from tests.support.state import Cluster


def tenants(cluster: Cluster, what: str, name: str = "", record: dict[str, Any] | None = None, *more: str) -> list[Any]:
    keys = cluster.keys
    arguments = ["epoch-1", what, name, json.dumps(record) if record else "", "ann", *more]
    reply = cluster.run("tenants", [keys.domain, keys.tenants, keys.events], arguments)
    return [part.decode() if isinstance(part, bytes) else part for part in reply]


def record(key: str, **fields: Any) -> dict[str, Any]:
    return {"key_hash": key, **fields}


def held(reply: list[Any]) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in zip(reply[1::2], reply[2::2], strict=True)}


def test_store_without_tenants_has_version_0(cluster: Cluster) -> None:
    assert tenants(cluster, "read") == [0]


def test_every_change_has_the_next_version_and_the_whole_set(cluster: Cluster) -> None:
    first = tenants(cluster, "put", "a", record("1"))
    second = tenants(cluster, "put", "b", record("2", rpm=5))
    third = tenants(cluster, "put", "a", record("3"))
    fourth = tenants(cluster, "remove", "b")

    assert [reply[0] for reply in (first, second, third, fourth)] == [1, 2, 3, 4]
    assert held(second) == {"a": record("1"), "b": record("2", rpm=5)}
    assert held(fourth) == held(tenants(cluster, "read")) == {"a": record("3")}


def test_key_of_another_tenant_is_refused(cluster: Cluster) -> None:
    tenants(cluster, "put", "a", record("1"))

    assert tenants(cluster, "put", "b", record("1")) == ["key_in_use", "a"]
    assert tenants(cluster, "put", "a", record("1", rpm=5))[0] == 2
    assert tenants(cluster, "read")[0] == 2


def test_unknown_tenant_is_not_removed(cluster: Cluster) -> None:
    assert tenants(cluster, "remove", "nobody") == ["unknown"]
    assert tenants(cluster, "read") == [0]


def test_store_that_has_forgotten_takes_the_latest_set(cluster: Cluster) -> None:
    for name, key in (("a", "1"), ("b", "2")):
        tenants(cluster, "put", name, record(key))
    cluster.flush()
    older = tenants(cluster, "restore", "1", None, "a", json.dumps(record("1")))
    newer = tenants(cluster, "restore", "2", None, "a", json.dumps(record("1")), "b", json.dumps(record("2")))
    late = tenants(cluster, "restore", "1", None, "a", json.dumps(record("1")))

    assert (older[0], newer[0], late[0]) == (1, 2, 2)
    assert set(held(late)) == {"a", "b"}


def test_changes_are_events_without_keys(cluster: Cluster) -> None:
    tenants(cluster, "put", "a", record("secret-hash"))
    tenants(cluster, "remove", "a")
    events = cluster.events("a")

    assert [(event["to"], event["reason"]) for event in events] == [("tenant", "put by ann"), ("", "removed by ann")]
    assert "secret-hash" not in str(events)


def test_heartbeat_tells_the_version(cluster: Cluster) -> None:
    cluster.configure("a")
    before = cluster.beat().tenants_version
    tenants(cluster, "put", "a", record("1"))

    assert (before, cluster.beat().tenants_version) == (0, 1)


def test_unreadable_record_does_not_hide_the_others(cluster: Cluster) -> None:
    for name, text in (("broken", "{"), ("number", "7"), ("empty", "{}")):
        cluster.cli.do("HSET", cluster.keys.tenants, name, text)

    assert tenants(cluster, "put", "a", record("1"))[0] == 1
    assert tenants(cluster, "put", "b", record("1")) == ["key_in_use", "a"]
    assert tenants(cluster, "remove", "broken")[0] == 2


def test_signature_is_exchanged_where_nothing_has_changed_meanwhile(cluster: Cluster) -> None:
    old = {name: json.dumps(record(key)) for name, key in (("a", "1"), ("b", "2"))}
    for name, key in (("a", "1"), ("b", "2")):
        tenants(cluster, "put", name, record(key))
    tenants(cluster, "put", "b", record("3"))
    words = [word for name in ("a", "b", "c") for word in (name, old.get(name, ""), json.dumps({"signed": name}))]
    signed = tenants(cluster, "sign", "tenants", None, *words)
    again = tenants(cluster, "sign", "tenants", None, *words)

    assert (signed[0], again[0]) == (4, 4)
    assert held(signed) == {"a": {"signed": "a"}, "b": record("3")}
    assert [event["reason"] for event in cluster.events("tenants")] == ["signed by ann"]
