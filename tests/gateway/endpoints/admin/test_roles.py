"""The rights of each role of an admin key, over the wire, and the log lines about them."""

import json
from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.gateway.endpoints.admin.test_admin_access import CALLS
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

ROLES = ("viewer", "operator", "admin")
METRICS = ("GET", "/metrics")
# By the least role that may make them, and the status of success.
READ = ("autoscale", "reload", "usage")
VIEWED = [(*call, "viewer") for call in (*CALLS, METRICS, *(("GET", f"/v1/admin/{name}") for name in READ))]
TABLE = [
    *(call for call in VIEWED if call[0] == "GET"),
    *(("POST", f"/v1/admin/deployments/primary/{action}", "operator") for action in ("drain", "close", "reset")),
    ("POST", "/v1/admin/reload", "operator"),
    ("PUT", "/v1/admin/tenants/team-x", "admin"),
    ("DELETE", "/v1/admin/tenants/team-x", "admin"),
]


@pytest.fixture(scope="module")
def ranked_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    auth = {
        "admin_key": "key-of-the-admin",
        "admin_keys": [{"name": f"the-{role}", "key": f"key-{role}", "role": role} for role in ROLES],
        "keys": [{"name": "team", "key": "key-team"}],
    }
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    with running_cluster(
        store, provider_processes, models, domain="ranked", replicas=1, auth=auth, router={"autoscale": {}}
    ) as running:
        yield running


@pytest.fixture
def ranked(ranked_cluster: Cluster) -> ReplicaProcess:
    return ranked_cluster.replicas[0]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("role", [*ROLES, "of-the-admin"])
@pytest.mark.parametrize(("method", "path", "least"), TABLE)
def test_role_may_do_exactly_this(ranked: ReplicaProcess, method: str, path: str, least: str, role: str) -> None:
    may = role == "of-the-admin" or ROLES.index(role) >= ROLES.index(least)
    path = f"{path}?frames=1" if path.endswith("/live") else path
    answer = ranked.request(method, path, b"{}" if method != "GET" else b"", bearer(f"key-{role}"))

    if may:
        assert answer.status in (200, 201, 404)  # a tenant that another role could not make is not there to remove
    else:
        assert (answer.status, answer.error["code"]) == (403, "admin_role_required")
        assert (
            answer.error["message"]
            == f"This endpoint needs a key with the role {least}; `the-{role}` has the role {role}."
        )


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "invalid_api_key"),
        (bearer("key-team"), 403, "admin_key_required"),
        (bearer("key-viewe"), 403, "admin_key_required"),
        (bearer("key-viewer") | {"origin": "http://evil.example"}, 403, "cross_origin"),
    ],
)
def test_metrics_beside_admin_keys_need_one(
    ranked: ReplicaProcess, headers: dict[str, str], status: int, code: str
) -> None:
    answer = ranked.get("/metrics", headers)

    assert (answer.status, answer.error["code"]) == (status, code)
    assert "pllm_requests" in ranked.get("/metrics", bearer("key-viewer")).text


def test_admin_keys_are_no_tenants(ranked: ReplicaProcess) -> None:
    assert [ranked.chat(headers=bearer(f"key-{role}")).status for role in ROLES] == [401, 401, 401]


def lines(replica: ReplicaProcess) -> list[dict[str, object]]:
    return [json.loads(line) for line in replica.said().rpartition("\n")[0].splitlines()]


def test_log_and_events_show_the_name_of_the_admin_key(ranked: ReplicaProcess) -> None:
    ranked.request("POST", "/v1/admin/deployments/primary/drain", b"{}", bearer("key-operator"))
    ranked.request("POST", "/v1/admin/deployments/primary/reset", b'{"actor": "ann"}', bearer("key-operator"))
    ranked.request("PUT", "/v1/admin/tenants/team-y", b"{}", bearer("key-viewer"))
    message = "POST '/v1/admin/deployments/primary/drain' by the-operator (operator) from 127.0.0.1"
    wait_until(lambda: any(line.get("message") == message for line in lines(ranked)), ranked.said)
    wait_until(lambda: any(line.get("admin") == "the-operator" for line in lines(ranked)), ranked.said)
    events = json.loads(ranked.get("/v1/admin/events", bearer("key-viewer")).body)["events"]
    reasons = [each["reason"] for each in events if each["subject"] == "primary"]

    assert any("by the-operator" in reason for reason in reasons), reasons
    assert any("by ann" in reason for reason in reasons), reasons
    assert "key-operator" not in ranked.said()
    assert not any("team-y by" in str(line.get("message")) for line in lines(ranked))
