"""events: the stream in pages, from either end."""

from tests.support.state import Cluster


def cluster_with_events(cluster: Cluster) -> list[str]:
    """Ids of five of them, oldest first."""
    cluster.configure("a")
    for action in ("open", "close", "drain", "close"):
        cluster.force("a", action, reason=f"to {action}")
    return [event_id.decode() for event_id, _ in cluster.cli.do("XRANGE", cluster.keys.events, "-", "+")]


def test_newest_come_first_and_in_pages(cluster: Cluster) -> None:
    ids = cluster_with_events(cluster)
    first = cluster.stored_events("newest", most=2)
    second = cluster.stored_events("newest", first[-1].id, most=2)

    assert [event.id for event in first + second] == ids[:0:-1]


def test_later_events_come_oldest_first(cluster: Cluster) -> None:
    ids = cluster_with_events(cluster)

    assert [event.id for event in cluster.stored_events("after", ids[1])] == ids[2:]
    assert [event.id for event in cluster.stored_events("after", most=3)] == ids[:3]
    assert cluster.stored_events("after", ids[-1]) == []


def test_event_of_a_force_tells_who_did_what_and_why(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.force("a", "open", reason="maintenance")
    [event] = cluster.stored_events("newest", most=1)

    assert (event.subject, event.before, event.to) == ("a", "closed", "forced_open")
    assert (event.reason, event.generation, event.at_ms) == ("open by ann: maintenance", 1, cluster.now_ms)


def test_domain_without_events_has_none(cluster: Cluster) -> None:
    assert cluster.stored_events("newest") == cluster.stored_events("after") == []
