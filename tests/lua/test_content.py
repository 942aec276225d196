"""Probes that are streams are judged at their first content, and once."""

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster


@pytest.fixture
def half_open(cluster: Cluster) -> Cluster:
    cluster.configure("a", "b", probes=3, probe_successes=2)
    cluster.trip("a")
    cluster.cool_down("a")
    return cluster


def probe(cluster: Cluster) -> Permit:
    return cluster.granted("a", stream=True)


def counts(cluster: Cluster) -> tuple[str, int, int]:
    fields = cluster.deployment("a")
    return fields["state"], int(fields.get("probes_issued", 0)), int(fields.get("probes_succeeded", 0))


def test_second_first_content_closes_while_both_streams_last(half_open: Cluster) -> None:
    probes = [probe(half_open) for _ in range(2)]
    half_open.content(probes[0])
    before = counts(half_open)
    half_open.content(probes[1])

    assert before == ("half_open", 2, 1)
    assert half_open.state("a") == "closed"
    assert half_open.events("a")[-1]["reason"] == "probes_succeeded"


@pytest.mark.parametrize("outcome", ["success", "cancelled", "client_error"])
def test_end_of_a_judged_stream_counts_no_second_time(half_open: Cluster, outcome: str) -> None:
    permit = probe(half_open)
    half_open.content(permit)
    half_open.settle(permit, outcome)

    assert counts(half_open) == ("half_open", 1, 1)


def test_judged_stream_that_breaks_is_a_failed_probe(half_open: Cluster) -> None:
    permit = probe(half_open)
    half_open.content(permit)
    half_open.settle(permit, "failure")

    assert (half_open.state("a"), half_open.deployment("a")["open_reason"]) == ("open", "probe_failed")


def test_judged_stream_that_breaks_after_the_close_does_not_open(half_open: Cluster) -> None:
    probes = [probe(half_open) for _ in range(2)]
    for permit in probes:
        half_open.content(permit)
    for permit in probes:
        half_open.settle(permit, "failure")

    assert half_open.state("a") == "closed"


def test_content_sent_twice_counts_once(half_open: Cluster) -> None:
    permit = probe(half_open)
    known = [half_open.content(permit).is_known for _ in range(2)]

    assert known == [True, False]
    assert counts(half_open) == ("half_open", 1, 1)


def test_judged_stream_keeps_its_mark_when_its_first_byte_is_reported(half_open: Cluster) -> None:
    permit = probe(half_open)
    half_open.content(permit)
    half_open.beat(answered=(permit,))
    half_open.settle(permit)

    assert counts(half_open) == ("half_open", 1, 1)


def test_content_of_an_ended_lease_or_an_older_generation_moves_nothing(half_open: Cluster) -> None:
    ended, older = probe(half_open), probe(half_open)
    half_open.settle(ended, "cancelled")
    half_open.content(ended)
    before = counts(half_open)
    half_open.force("a", "close")
    half_open.trip("a")
    half_open.content(older)

    assert before == ("half_open", 1, 0)
    assert half_open.state("a") == "open"


def test_content_of_a_call_that_is_no_probe_moves_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a", stream=True)

    assert not cluster.content(permit).is_known
    assert cluster.state("a") == "closed"


@pytest.mark.parametrize(("relief", "state"), [(True, "open"), (False, "half_open")])
def test_slow_first_content_fails_the_probe_only_where_another_can_serve(
    half_open: Cluster, relief: bool, state: str
) -> None:
    permit = half_open.granted("a", "b", stream=True) if relief else probe(half_open)
    assert permit.is_probe
    half_open.content(permit, latency_ms=2001)

    assert half_open.state("a") == state


def test_last_resort_that_is_a_stream_counts_at_its_first_content(cluster: Cluster) -> None:
    cluster.configure("a", last_resort=True)
    cluster.trip("a")
    permit = cluster.granted("a", stream=True)
    cluster.content(permit)
    before = counts(cluster)
    cluster.settle(permit, "failure")

    assert before == counts(cluster) == ("half_open", 1, 1)
