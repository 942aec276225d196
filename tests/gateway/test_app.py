"""Routes: what is not there is said in OpenAI's words, and in Anthropic's where its clients look for it."""

import pytest

from tests.loadtest.process import CHAT, ProviderProcess
from tests.support.cluster import STATS, ReplicaProcess


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/livez/", "//livez", "/%ff%00", "/v1/admin", "/docs"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path_is_not_found(replica: ReplicaProcess, method: str, path: str) -> None:
    answer = replica.request(method, path)

    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/messages/batches", "/v1/messages/"])
def test_unknown_path_of_anthropics_clients_is_told_in_their_dialect(each_engine: ReplicaProcess, path: str) -> None:
    answer = each_engine.request("POST", path)

    assert answer.status == 404
    assert (answer.json()["type"], answer.json()["error"]["type"]) == ("error", "not_found_error")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", CHAT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("OPTIONS", "/v1/models", "GET"),
        ("PUT", STATS, "GET"),
        ("GET", "/v1/admin/deployments/primary/open", "POST"),
    ],
)
def test_wrong_method_is_refused_and_the_right_one_named(
    each_engine: ReplicaProcess, method: str, path: str, allowed: str
) -> None:
    answer = each_engine.request(method, path)

    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert allowed in answer.headers["allow"]


def test_websocket_is_refused(each_engine: ReplicaProcess, provider: ProviderProcess) -> None:
    upgrade = {"sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    answer = each_engine.get(CHAT, {"upgrade": "websocket", "connection": "upgrade", **upgrade})

    assert answer.status >= 400
    assert provider.counts()["requests"] == 0
