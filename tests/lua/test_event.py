"""The event stream: every transition with its cause, and never more than the store can bear."""

from tests.support.state import Cluster


def test_event_tells_who_from_where_to_where_why_and_when(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(1234)
    cluster.trip("a")
    event = cluster.events("a")[0]

    assert event == {
        "subject": "a",
        "from": "closed",
        "to": "open",
        "reason": "consecutive_failures",
        "generation": "1",
        "sequence": cluster.domain()["sequence"],
        "at_ms": str(cluster.now_ms),
    }


def test_id_with_colons_is_reported_whole(cluster: Cluster) -> None:
    cluster.configure("org/model:8k:deployment:x")
    cluster.trip("org/model:8k:deployment:x")

    assert cluster.events()[0]["subject"] == "org/model:8k:deployment:x"


def test_flapping_deployment_does_not_fill_the_store(cluster: Cluster) -> None:
    cluster.configure("a")
    for k in range(1300):
        cluster.force("a", ("open", "close")[k % 2])

    assert 1000 <= cluster.cli.do("XLEN", cluster.keys.events) <= 1200


def test_call_that_changes_nothing_is_no_event(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=5)
    cluster.beat()

    assert cluster.events() == []
