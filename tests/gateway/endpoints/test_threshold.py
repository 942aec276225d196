"""A gateway without keys serves the programs and pages of its own machine under any name, and no page of another
site.
"""

import json
from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.gateway.endpoints.admin.test_admin_access import CALLS, FOREIGN
from tests.loadtest.process import CHAT, ProviderProcess, chat_body
from tests.support.cluster import ReplicaProcess, deployment, running_cluster
from tests.support.ports import free_port
from tests.support.wire import ask, request_bytes

BODY = json.dumps(chat_body()).encode()
EVERYTHING = [
    *CALLS,
    *(("POST", path) for path in (CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", "/nowhere")),
    *(("GET", path) for path in ("/v1/models", "/v1/models/gpt-4", "/openapi.json", "/admin", "/metrics")),
    *(("GET", path) for path in ("/livez", "/readyz", "/", "/nowhere", "/livez/", CHAT)),
    *(("OPTIONS", path) for path in (CHAT, "/nowhere")),
]
OWN = [
    {},
    {"host": "127.0.0.1:8080"},
    {"host": "[::1]:8080", "origin": "http://[::1]:8080"},
    {"host": "app.localhost", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
]
STRANGE_HOSTS = ["", "[", "localhost, evil.example", "localhost@evil.example", "localhost/..", "127.0.0.1.", "a b"]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_page_of_another_site_is_refused_everywhere(
    replica: ReplicaProcess, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = replica.request(method, path, BODY if method == "POST" else b"", headers)

    assert (answer.status, answer.error["code"]) == (403, "cross_origin")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batches"])
def test_refusal_is_in_the_dialect_of_the_endpoint(replica: ReplicaProcess, path: str) -> None:
    answer = replica.request("POST", path, b"{}", {"origin": "http://evil.example"})

    assert answer.status == 403
    assert answer.json()["error"] == {
        "type": "permission_error",
        "code": "cross_origin",
        "message": "Pages of other sites may not use this gateway.",
    }


@pytest.mark.parametrize("host", STRANGE_HOSTS)
@pytest.mark.parametrize("path", ["/livez", "/v1/messages/x", "/nowhere"])
def test_host_that_is_not_exactly_one_name_is_refused(replica: ReplicaProcess, path: str, host: str) -> None:
    assert replica.get(path, {"host": host}).status in (400, 403)


def test_nothing_is_spent_on_a_page_of_another_site(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    before = provider.counts()["requests"]
    for headers in FOREIGN:
        assert replica.chat(headers={"content-type": "text/plain"} | headers).status == 403

    assert provider.counts()["requests"] == before


@pytest.mark.parametrize("headers", OWN)
def test_programs_and_pages_of_this_machine_are_served(replica: ReplicaProcess, headers: dict[str, str]) -> None:
    assert replica.chat(headers=headers).status == 200
    assert replica.get("/v1/models", headers).status == 200
    assert replica.get("/livez", headers).status == 200


def test_client_of_http_1_0_that_names_no_host_is_served(replica: ReplicaProcess) -> None:
    assert ask(replica.address, b"GET /livez HTTP/1.0\r\n\r\n").status == 200


@pytest.fixture(scope="module")
def keyed(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[ReplicaProcess]:
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    auth = {"keys": [{"name": "team", "key": "key-team"}]}
    with running_cluster(store, provider_processes, models, domain="threshold", replicas=1, auth=auth) as running:
        yield running.replicas[0]


@pytest.mark.parametrize("headers", [{"host": "gateway.example"}, {"origin": "http://app.example"}])
def test_with_keys_a_gateway_has_any_name_and_serves_any_page_that_holds_one(
    keyed: ReplicaProcess, headers: dict[str, str]
) -> None:
    assert keyed.chat(headers=headers | {"authorization": "Bearer key-team"}).status == 200
    assert keyed.get("/livez", headers).status == 200


def test_port_for_metrics_is_guarded_as_well(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> None:
    port = free_port()
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    with running_cluster(store, provider_processes, models, domain="ported", replicas=1, server={"metrics_port": port}):
        own = ask(("127.0.0.1", port), request_bytes("GET", "/metrics"))
        rebound = ask(("127.0.0.1", port), request_bytes("GET", "/metrics", headers={"host": "evil.example"}))

    assert (own.status, rebound.status, rebound.error["code"]) == (200, 403, "cross_origin")
