"""Calls of the admin endpoints from pages of other sites, or without a key: refused, and logged."""

from collections.abc import Iterator

import pytest
from starlette.requests import Request

from gateway.configuration.auth import AuthSettings
from gateway.configuration.value_types import Secret
from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.visitors import Visitors
from gateway.errors import Unauthorized
from gateway.request.auth import Authenticator
from gateway.request.wrong_keys import WrongKeys
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import STATS, Cluster, ReplicaProcess, deployment, running_cluster

FORCE = "/v1/admin/deployments/primary/open"
CALLS = [
    ("POST", FORCE),
    ("PUT", "/v1/admin/tenants/team-x"),
    ("DELETE", "/v1/admin/tenants/team-x"),
    ("GET", STATS),
    ("GET", "/v1/admin/explain?model=gpt-4"),
    ("GET", "/v1/admin/deployments/primary"),
    ("GET", "/v1/admin/events"),
    ("GET", "/v1/admin/replicas"),
    ("GET", "/v1/admin/configuration"),
    ("GET", "/v1/admin/live"),
    ("GET", "/v1/admin/tenants"),
]
FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    {"sec-fetch-site": "same-site"},
    {"host": "evil.example"},  # a name of theirs that resolves to this machine
    {"host": "evil.example:8080", "origin": "http://evil.example:8080", "sec-fetch-site": "same-origin"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_page_of_another_site_may_do_nothing(
    replica: ReplicaProcess, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = replica.request(method, path, b"{}", headers)

    assert (answer.status, answer.error["code"]) == (403, "cross_origin")


@pytest.mark.parametrize("headers", FOREIGN)
def test_page_of_another_site_moves_no_breaker(replica: ReplicaProcess, headers: dict[str, str]) -> None:
    replica.request("POST", FORCE, b"{}", {"content-type": "text/plain"} | headers)

    assert replica.stats()["adaptive_breakers"]["gpt-4"]["state"] == "CLOSED"


def test_page_of_our_own_may_act(replica: ReplicaProcess) -> None:
    own = {"host": f"localhost:{replica.port}", "origin": f"http://localhost:{replica.port}"}

    assert replica.request("POST", FORCE, b"{}", own | {"sec-fetch-site": "same-origin"}).status == 200
    assert replica.request("POST", FORCE, b"{}", own).status == 200


def test_preflight_request_of_a_browser_gets_no_permission(replica: ReplicaProcess) -> None:
    preflight = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = replica.request("OPTIONS", FORCE, headers=preflight)

    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.fixture(scope="module")
def locked_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    auth = {"admin_key": "key-admin", "keys": [{"name": "team", "key": "key-team"}]}
    with running_cluster(store, provider_processes, models, domain="locked", replicas=1, auth=auth) as running:
        yield running


@pytest.fixture
def locked(locked_cluster: Cluster) -> ReplicaProcess:
    return locked_cluster.replicas[0]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_without_the_admin_key_nothing_is_done(locked: ReplicaProcess, method: str, path: str) -> None:
    without = locked.request(method, path, b"{}")
    wrong = [locked.request(method, path, b"{}", {"authorization": f"Bearer {key}"}) for key in ("wrong", "key-team")]

    assert (without.status, without.error["code"]) == (401, "invalid_api_key")
    assert {(answer.status, answer.error["code"]) for answer in wrong} == {(403, "admin_key_required")}


def test_the_key_may_be_used_under_any_name_but_not_by_another_site(locked: ReplicaProcess) -> None:
    key = {"authorization": "Bearer key-admin", "host": "gateway.example"}

    assert locked.get(STATS, key).status == 200
    assert locked.get(STATS, key | {"origin": "http://evil.example"}).status == 403


@pytest.fixture(scope="module")
def keyed_replicas(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[list[ReplicaProcess]]:
    """Tenants with keys and no admin key: as it is by default, and with `auth.admin: local`."""
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    auth = {"keys": [{"name": "team", "key": "key-team"}]}
    with (
        running_cluster(store, provider_processes, models, domain="off", replicas=1, auth=auth) as off,
        running_cluster(
            store,
            provider_processes,
            models,
            domain="by-choice",
            replicas=1,
            auth=auth | {"admin": "local"},
        ) as local,
    ):
        yield [off.replicas[0], local.replicas[0]]


@pytest.mark.parametrize(("method", "path"), [*CALLS, ("GET", "/admin")])
def test_with_tenants_keys_and_no_admin_key_the_admin_endpoints_are_off(
    keyed_replicas: list[ReplicaProcess], method: str, path: str
) -> None:
    for headers in ({}, {"authorization": "Bearer key-team"}, {"x-forwarded-for": "203.0.113.9"}):
        answer = keyed_replicas[0].request(method, path, b"{}", headers)

        assert (answer.status, answer.error["code"]) == (403, "admin_disabled")
        assert "auth.admin: local" in answer.error["message"]


def test_tenants_of_a_gateway_without_an_admin_key_are_served(keyed_replicas: list[ReplicaProcess]) -> None:
    statuses = [replica.chat(headers={"authorization": "Bearer key-team"}).status for replica in keyed_replicas]

    assert statuses == [200, 200]


def test_local_administration_by_choice_is_for_callers_that_no_proxy_relays(
    keyed_replicas: list[ReplicaProcess],
) -> None:
    local = keyed_replicas[1]
    relayed = [local.get(STATS, {name: "127.0.0.1"}).status for name in ("via", "x-forwarded-proto", "true-client-ip")]
    foreign = local.get(STATS, {"host": "gateway.example"})

    assert local.stats()["should_shed_load"] is False
    assert local.get("/admin").status == 200
    assert relayed == [401, 401, 401]
    assert (foreign.status, foreign.error["code"]) == (403, "cross_origin")


def test_local_administration_by_choice_is_warned_of_at_start(keyed_replicas: list[ReplicaProcess]) -> None:
    off, local = keyed_replicas

    wait_until(lambda: "auth.admin: every program on this machine can administer without a key" in local.said())
    assert "auth.admin:" not in off.said()


def test_refusal_is_logged_without_the_key(locked: ReplicaProcess) -> None:
    def is_logged() -> bool:
        locked.get("/v1/admin/explain?model=%0Aforged", {"authorization": "Bearer sk-guessed"})
        return "refused GET '/v1/admin/explain' from 127.0.0.1: admin_key_required" in locked.said()

    wait_until(is_logged)

    assert "sk-guessed" not in locked.said()
    assert "\nforged" not in locked.said()


def test_flood_of_refusals_is_a_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    authenticator = Authenticator(AuthSettings(admin_key=Secret("key-admin")))
    access = AdminAccess(authenticator, Visitors((), WrongKeys()), lambda: clock[0])
    scope = {"type": "http", "method": "GET", "path": "/v1/admin/x\nforged", "headers": [], "server": ("h", 1)}
    for at_s in (0.0, 0.2, 0.9, 1.0):
        clock[0] = at_s
        with pytest.raises(Unauthorized):
            access.authorize(Request(scope))

    assert [record.getMessage() for record in caplog.records] == [
        "refused GET '/v1/admin/x\\nforged' from a local socket: invalid_api_key",
        "refused GET '/v1/admin/x\\nforged' from a local socket: invalid_api_key, and 2 more since the last line",
    ]
