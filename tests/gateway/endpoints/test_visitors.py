"""Wrong keys over the wire, and the client address in the log: the connection's, or that reported by a trusted
proxy.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import STATS, Cluster, ReplicaProcess, deployment, running_cluster

ALLOWED = 20


@pytest.fixture(scope="module")
def proxied_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Every caller comes through a proxy on this machine, which is trusted; so a test has addresses of its own."""
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    auth = {"admin_key": "key-admin", "keys": [{"name": "team", "key": "key-team"}]}
    with running_cluster(
        store,
        provider_processes,
        models,
        domain="proxied",
        replicas=1,
        auth=auth,
        server={"trusted_proxies": ["127.0.0.0/8"]},
    ) as running:
        yield running


@pytest.fixture
def proxied(proxied_cluster: Cluster) -> Iterator[ReplicaProcess]:
    yield proxied_cluster.replicas[0]
    proxied_cluster.check()


def caller(address: str, key: str) -> dict[str, str]:
    return {"x-forwarded-for": address, "authorization": f"Bearer {key}"}


def exhausted(replica: ReplicaProcess, address: str) -> list[int]:
    return [replica.chat(headers=caller(address, f"wrong-{number}")).status for number in range(ALLOWED + 5)]


def test_wrong_keys_are_answered_twenty_times_and_then_refused_at_once(proxied: ReplicaProcess) -> None:
    statuses = exhausted(proxied, "203.0.113.1")
    last = proxied.chat(headers=caller("203.0.113.1", "wrong"))

    assert statuses[:ALLOWED] == [401] * ALLOWED
    assert statuses[-1] == 429
    assert (last.status, last.error["code"]) == (429, "too_many_wrong_keys")
    assert 1 <= int(last.headers["retry-after"]) <= 3
    assert last.headers["x-should-retry"] == "false"


def test_right_key_is_served_whatever_comes_from_its_address(proxied: ReplicaProcess) -> None:
    exhausted(proxied, "203.0.113.2")
    served = [proxied.chat(headers=caller("203.0.113.2", "key-team")).status for _ in range(3)]

    assert served == [200, 200, 200]
    assert proxied.get("/v1/models", caller("203.0.113.2", "key-team")).status == 200
    assert proxied.get(STATS, caller("203.0.113.2", "key-admin")).status == 200


def test_other_addresses_are_not_slowed(proxied: ReplicaProcess) -> None:
    exhausted(proxied, "203.0.113.3")

    assert proxied.chat(headers=caller("203.0.113.4", "wrong")).status == 401


def test_addresses_that_a_client_claims_do_not_help_it(proxied: ReplicaProcess) -> None:
    """The proxy appends the one that it sees."""
    statuses = [
        proxied.chat(headers=caller(f"198.51.100.{number}, 203.0.113.5", "wrong")).status
        for number in range(ALLOWED + 5)
    ]

    assert statuses[-1] == 429


def test_wrong_keys_count_alike_for_every_endpoint(proxied: ReplicaProcess) -> None:
    exhausted(proxied, "203.0.113.6")
    wrong = caller("203.0.113.6", "wrong")
    answers = [proxied.get("/v1/models", wrong), proxied.get(STATS, wrong), proxied.get("/metrics", wrong)]

    assert [(answer.status, answer.error["code"]) for answer in answers] == [(429, "too_many_wrong_keys")] * 3


def test_request_without_a_key_and_tenants_at_the_wrong_door_guess_nothing(proxied: ReplicaProcess) -> None:
    keyless = [proxied.chat(headers={"x-forwarded-for": "203.0.113.7"}).status for _ in range(ALLOWED + 5)]
    tenants = [proxied.get(STATS, caller("203.0.113.7", "key-team")).status for _ in range(ALLOWED + 5)]

    assert set(keyless) == {401}
    assert set(tenants) == {403}
    assert proxied.chat(headers=caller("203.0.113.7", "wrong")).status == 401


def clients(replica: ReplicaProcess, path: str) -> list[str]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in replica.said().rpartition("\n")[0].splitlines()]
    return [line["client"] for line in lines if line.get("path") == path and "client" in line]


def test_log_has_the_address_that_a_trusted_proxy_reports(proxied: ReplicaProcess) -> None:
    proxied.chat(headers=caller("6.6.6.6, 203.0.113.8", "key-team"))
    proxied.get("/v1/models", caller("2001:DB8::8", "key-team"))
    proxied.get("/nowhere", {"x-forwarded-for": "203.0.113.9"})

    wait_until(lambda: "203.0.113.8" in clients(proxied, "/v1/chat/completions"), proxied.said)
    wait_until(lambda: "2001:db8::8" in clients(proxied, "/v1/models"), proxied.said)
    wait_until(lambda: clients(proxied, "/nowhere") == ["203.0.113.9"], proxied.said)
    assert "6.6.6.6" not in proxied.said()


def test_log_has_the_address_of_the_connection_where_no_proxy_is_trusted(replica: ReplicaProcess) -> None:
    replica.get("/from-here", {"x-forwarded-for": "203.0.113.9"})

    wait_until(lambda: clients(replica, "/from-here") == ["127.0.0.1"], replica.said)
