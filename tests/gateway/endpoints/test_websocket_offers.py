"""Offers to open a WebSocket."""

import pytest

from gateway.request.calls import Kind
from tests.support.cluster import ReplicaProcess
from tests.support.wire import Call, request_bytes

OFFER = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("path", [f"/v1{kind.value}" for kind in Kind])
def test_websocket_is_refused_at_once(replica: ReplicaProcess, path: str) -> None:
    answer = replica.get(path, OFFER)

    assert answer.status == 426
    assert (answer.headers["upgrade"], answer.headers["x-should-retry"]) == ("HTTP/1.1", "false")
    assert answer.json()["error"]["code"] == "websocket_not_supported"


def test_connection_serves_the_request_after_the_refusal(replica: ReplicaProcess) -> None:
    with Call(replica.address, request_bytes("GET", "/v1/responses", headers=OFFER)) as call:
        assert call.read_until(b'websocket_not_supported"}}')
        call.send(request_bytes("GET", "/livez"))
        assert b"200 OK" in call.read_until(b"200 OK")


@pytest.mark.parametrize("headers", [{}, {"connection": "Upgrade", "upgrade": "h2c"}])
def test_get_without_a_websocket_remains_a_wrong_method(replica: ReplicaProcess, headers: dict[str, str]) -> None:
    answer = replica.get("/v1/responses", headers)

    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
