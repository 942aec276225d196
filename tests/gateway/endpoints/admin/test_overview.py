"""The views of an operator, over the wire: one deployment, events, replicas, settings, and the live stream."""

import json
from typing import Any

import pytest

from gateway.views.live import LISTENERS_MOST
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.wire import Call, request_bytes

EVENTS = "/v1/admin/events"
LIVE = "/v1/admin/live"
STREAM = {"accept": "text/event-stream"}


class Stream(Call):
    """Server-sent events, and all of them that were read so far."""

    def __init__(self, replica: ReplicaProcess, path: str, **headers: str) -> None:
        super().__init__(replica.address, request_bytes("GET", path, headers=STREAM | headers))
        self.received = b""
        self.wait_for(b"\r\n\r\n")
        assert b" 200 " in self.received.partition(b"\r\n")[0], self.received

    def wait_for(self, mark: bytes) -> None:
        wait_until(lambda: mark in self.received or not self.read(), lambda: f"{mark!r}: {self.received[-500:]!r}")

    def read(self) -> bytes:
        part = self.socket.recv(65536)
        assert part, f"closed: {self.received!r}"
        self.received += part
        return part


def events(replica: ReplicaProcess, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = replica.get(f"{EVENTS}{query}").json()["events"]
    return found


def force(replica: ReplicaProcess, action: str, reason: str) -> None:
    body = json.dumps({"reason": reason, "actor": "ann"}).encode()
    assert replica.request("POST", f"/v1/admin/deployments/primary/{action}", body).status == 200


def test_deployment_shows_its_histogram_and_all_that_is_stored(cluster: Cluster, replica: ReplicaProcess) -> None:
    for _ in range(3):
        replica.chat()
    cluster.wait_until_idle()
    shown = replica.get("/v1/admin/deployments/primary").json()

    assert sum(count for _, count in shown["histogram"]) == shown["requests"] == 3
    assert (shown["id"], shown["state"], shown["active"]) == ("primary", "closed", 0)
    assert shown["stored"]["latency_threshold_ms"] == "8000"


def test_deployment_shows_its_last_error_and_the_endpoints_that_it_lacks(
    cluster: Cluster, replica: ReplicaProcess
) -> None:
    at_ms = int(cluster.redis.hget(cluster.key("global"), "clock_ms") or 0)
    cluster.redis.set(cluster.key("last_error:primary"), f"{at_ms} connection refused")
    cluster.redis.hset(cluster.key("deployment:primary"), "unsupported:embeddings", at_ms + 600_000)
    shown = replica.get("/v1/admin/deployments/primary").json()
    stats = replica.get("/v1/admin/models/stats").json()["load_balancer"]["gpt-4"]["deployments"]["primary"]
    live = replica.get("/v1/admin/live?frames=1").text

    assert (shown["last_error"], shown["last_error_at_ms"]) == ("connection refused", at_ms)
    assert shown["unsupported"] == stats["unsupported"] == ["embeddings"]
    assert stats["last_error"] == "connection refused"
    assert '"unsupported":["embeddings"],"last_error":"connection refused"' in live


def test_deployment_whose_id_has_a_slash_is_found(replica: ReplicaProcess) -> None:
    assert replica.get("/v1/admin/deployments/org/nested").json()["id"] == "org/nested"


def test_unknown_deployment_is_not_found(replica: ReplicaProcess) -> None:
    assert replica.get("/v1/admin/deployments/nobody").status == 404


def test_event_of_a_forced_breaker_has_actor_and_reason(replica: ReplicaProcess) -> None:
    force(replica, "drain", "new certificate")
    newest = events(replica, "?limit=1")[0]

    assert (newest["subject"], newest["from"], newest["to"]) == ("primary", "closed", "disabled")
    assert newest["reason"] == "drain by ann: new certificate"


def test_breaker_that_opens_is_among_the_events_of_every_replica(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(error_rate=1)
    for _ in range(5):
        replica.chat()
    cluster.wait_for_state("primary", "open")
    found = [events(each, "?limit=1")[0] for each in cluster.replicas]

    assert {(event["subject"], event["to"], event["reason"]) for event in found} == {
        ("primary", "open", "consecutive_failures")
    }


def test_shedding_is_among_the_events(cluster: Cluster, replica: ReplicaProcess) -> None:
    for deployment in cluster.deployments():
        replica.force(deployment, "open")
    wait_until(lambda: any(event["subject"] == "load_shedding" for event in events(replica)))
    found = next(event for event in events(replica) if event["subject"] == "load_shedding")

    assert (found["from"], found["to"]) == ("", "healthy_ratio")


def test_events_come_in_pages(replica: ReplicaProcess) -> None:
    for number in range(3):
        force(replica, "open", f"{number}")
    first = replica.get(f"{EVENTS}?limit=2").json()
    second = replica.get(f"{EVENTS}?limit=100&before={first['next_before']}").json()
    reasons = [event["reason"] for event in first["events"] + second["events"] if "by ann" in event["reason"]]

    assert reasons == ["open by ann: 2", "open by ann: 1", "open by ann: 0"]
    assert second["next_before"] is None


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=1001", "?limit=x", "?before=x", "?before=1-2-3", "?limit=%C2%B2"]
)
def test_wrong_page_of_events_is_refused(replica: ReplicaProcess, query: str) -> None:
    assert replica.get(f"{EVENTS}{query}").status == 400


def test_events_are_streamed_as_they_come(replica: ReplicaProcess) -> None:
    with Stream(replica, EVENTS) as stream:
        stream.wait_for(b"retry: ")
        force(replica, "open", "seen live")
        stream.wait_for(b"seen live")

    assert b"event: transition\ndata: {" in stream.received


def test_stream_continues_after_the_last_event_that_was_seen(replica: ReplicaProcess) -> None:
    for number in range(3):
        force(replica, "open", f"number {number}")
    seen = events(replica, "?limit=3")[-1]["id"]
    with Stream(replica, EVENTS, **{"last-event-id": seen}) as stream:
        stream.wait_for(b"number 2")
        force(replica, "close", "the end")
        stream.wait_for(b"the end")

    assert [stream.received.count(b"number %d" % number) for number in range(3)] == [0, 1, 1]


def test_client_that_joins_others_gets_no_event_twice(replica: ReplicaProcess) -> None:
    with Stream(replica, EVENTS) as other:
        other.wait_for(b"retry: ")
        for number in range(5):  # some of them before the next look of the others' stream
            force(replica, "open", f"seen {number}.")
            seen = events(replica, "?limit=1")[0]["id"]
            with Stream(replica, EVENTS, **{"last-event-id": seen}) as stream:
                force(replica, "close", "the end")
                stream.wait_for(b"the end")
                assert f"seen {number}.".encode() not in stream.received


def test_last_event_that_is_no_event_is_refused(replica: ReplicaProcess) -> None:
    assert replica.get(EVENTS, STREAM | {"last-event-id": "x"}).status == 400


def test_live_stream_shows_a_force(replica: ReplicaProcess) -> None:
    with Stream(replica, LIVE) as stream:
        stream.wait_for(b"event: full\ndata: {")
        force(replica, "open", "to be seen")
        stream.wait_for(b"to be seen")

    assert b'"id":"primary","state":"forced_open"' in stream.received


def test_live_stream_may_be_limited_to_a_few_frames(replica: ReplicaProcess) -> None:
    answer = replica.get(f"{LIVE}?frames=1")

    assert (answer.status, answer.is_whole) == (200, True)
    assert [replica["id"][:2] for replica in json.loads(answer.events[0])["replicas"]] == ["r0", "r1"]


def test_number_of_streams_is_bounded_and_a_closed_one_makes_room(replica: ReplicaProcess) -> None:
    streams = [Stream(replica, LIVE) for _ in range(LISTENERS_MOST)]
    refused = replica.get(EVENTS, STREAM)
    for stream in streams:
        stream.leave()

    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    wait_until(lambda: replica.get(f"{LIVE}?frames=1").status == 200)


def test_replicas_are_listed_with_address_and_version(cluster: Cluster, replica: ReplicaProcess) -> None:
    shown = replica.get("/v1/admin/replicas").json()

    assert [each["id"][:2] for each in shown["replicas"]] == ["r0", "r1"]
    assert {each["address"] for each in shown["replicas"]} == {f"127.0.0.1:{each.port}" for each in cluster.replicas}
    assert all(each["store"] == "shared" and each["is_draining"] is False for each in shown["replicas"])
    assert all(each["age_ms"] > 0 and each["version"] for each in shown["replicas"])


def test_configuration_is_shown_without_its_secrets(replica: ReplicaProcess) -> None:
    answer = replica.get("/v1/admin/configuration")

    assert answer.json()["router"]["latency_threshold"] == "8s"
    assert "provider-secret" not in answer.text
