"""Web pages of configured origins can call the gateway and read its answers; no other page can."""

from collections.abc import Iterator

import pytest

from gateway.configuration.settings import ConfigurationError, parse
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import CHAT, ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

LISTED = "https://app.example"
KEY = "sk-page-4f9d1c7ae2b05863"
BEARER = {"authorization": f"Bearer {KEY}"}
ASK = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-lang"}
ALLOWED = "access-control-allow-origin"


@pytest.fixture(scope="module")
def pages(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    with running_cluster(
        store,
        provider_processes,
        [deployment("primary", provider_processes[0], "gpt-4")],
        domain="pages",
        replicas=1,
        server={"cors": {"origins": [LISTED, "http://localhost:3000"]}},
        auth={"keys": [{"name": "page", "key": KEY}], "admin_key": "sk-admin-4f9d1c7ae2b05863"},
    ) as running:
        yield running


@pytest.fixture(scope="module")
def keyless(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    with running_cluster(
        store,
        provider_processes,
        [deployment("primary", provider_processes[0], "gpt-4")],
        domain="keyless-pages",
        replicas=1,
        server={"cors": {"origins": [LISTED, "*"]}},
    ) as running:
        yield running


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/models", "/v1/responses/resp_1", "/v1/nowhere"])
def test_preflight_is_answered_without_a_key(pages: Cluster, path: str) -> None:
    answer = pages.replicas[0].request("OPTIONS", path, headers={"origin": LISTED, **ASK})

    assert (answer.status, answer.body, answer.headers[ALLOWED]) == (204, b"", LISTED)
    assert answer.headers["access-control-allow-headers"] == ASK["access-control-request-headers"]
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert answer.headers["access-control-max-age"] == "600"
    assert "origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_page_reads_an_answer_and_its_headers(pages: Cluster, stream: bool) -> None:
    answer = pages.replicas[0].chat(headers={"origin": LISTED, **BEARER}, stream=stream)

    assert (answer.status, answer.headers[ALLOWED], answer.headers["vary"][:6]) == (200, LISTED, "origin")
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert exposed >= {name for name in answer.headers if name.startswith("x-pllm-")} | {"x-request-id"}


@pytest.mark.parametrize(
    ("path", "headers", "status"), [(CHAT, {}, 401), (CHAT, BEARER, 400), ("/v1/nowhere", BEARER, 404)]
)
def test_page_reads_errors(pages: Cluster, path: str, headers: dict[str, str], status: int) -> None:
    answer = pages.replicas[0].request("POST", path, b"{", {"origin": LISTED, **headers})

    assert (answer.status, answer.headers[ALLOWED]) == (status, LISTED)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "http://app.example", "null"])
def test_other_origins_are_not_allowed(pages: Cluster, origin: str) -> None:
    replica = pages.replicas[0]
    answers = [
        replica.request("OPTIONS", CHAT, headers={"origin": origin, **ASK}),
        replica.chat(headers={"origin": origin, **BEARER}),
    ]

    assert [name for each in answers for name in each.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize("path", ["/v1/admin/live", "/admin", "/metrics", "/livez"])
def test_other_endpoints_stay_closed_to_pages(pages: Cluster, path: str) -> None:
    replica = pages.replicas[0]
    for method in ("GET", "OPTIONS"):
        assert ALLOWED not in replica.request(method, path, headers={"origin": LISTED, **ASK}).headers


def test_answers_to_other_clients_have_no_such_headers(pages: Cluster) -> None:
    answer = pages.replicas[0].chat(headers=BEARER)

    assert [name for name in answer.headers if name.startswith("access-control") or name == "vary"] == []


def test_without_the_setting_no_page_is_allowed(replica: ReplicaProcess) -> None:
    answer = replica.request("OPTIONS", CHAT, headers={"origin": LISTED, **ASK})

    assert (answer.status, ALLOWED in answer.headers) == (403, False)  # without keys, no page may call the gateway


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"origin": LISTED, "sec-fetch-site": "cross-site"}, 200),
        ({"origin": LISTED, "host": "evil.example"}, 403),
        ({"origin": "https://other.example", "sec-fetch-site": "cross-site"}, 403),
    ],
    ids=["listed", "listed, by another name of the machine", "by *"],
)
def test_gateway_without_keys_serves_pages_of_listed_origins(
    keyless: Cluster, more: dict[str, str], status: int
) -> None:
    answer = keyless.replicas[0].chat(headers=more)

    assert (answer.status, answer.headers[ALLOWED]) == (status, more["origin"])


@pytest.mark.parametrize("origin", ["", "app.example", "https://app.example/", "https://a b", "*.example", "null"])
def test_origin_that_no_page_has_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match=r"server\.cors\.origins"):
        parse(f"server: {{cors: {{origins: ['{origin}']}}}}\nmodel_list: [{{id: a, model_name: m}}]\n", {})
