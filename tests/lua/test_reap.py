"""reap: what a dead replica held is free again, what a live one holds is untouched."""

import pytest

from tests.support.state import DEAD_AFTER_MS, Cluster


def dead(cluster: Cluster, *replicas: str) -> None:
    """They have been silent for too long, r1 has not."""
    for replica in replicas:
        cluster.beat(replica)
    cluster.advance(DEAD_AFTER_MS + 1)
    cluster.beat("r1")


def test_leases_of_a_dead_replica_are_removed_everywhere(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for _ in range(5):
        cluster.granted("a", replica="r2")
    dead(cluster, "r2")
    removed = cluster.reap_chunk("r2", "a")

    assert removed == (5, -1)
    assert (cluster.active("a"), cluster.beat().active) == (0, 0)


def test_leases_of_a_dead_replica_whose_name_has_dots_are_removed(cluster: Cluster) -> None:
    cluster.configure("a")
    for replica in ("host.example.2", "host"):
        cluster.granted("a", replica=replica)
    dead(cluster, "host.example.2")

    assert cluster.reap_chunk("host.example.2", "a") == (1, -1)


def test_replica_that_beats_is_not_touched(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r2")
    cluster.granted("a", replica="r2")
    cluster.advance(DEAD_AFTER_MS)
    before = cluster.dump()

    assert cluster.reap_chunk("r2", "a") == (0, -1)
    assert cluster.dump() == before


def test_replica_that_comes_back_in_the_middle_keeps_the_rest(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(10):
        cluster.granted("a", replica="r2")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a", chunk=4)
    cluster.beat("r2")

    assert cluster.reap_chunk("r2", "a", chunk=4) == (0, -1)
    assert cluster.active("a") == 6


def test_leases_of_others_stay(cluster: Cluster) -> None:
    cluster.configure("a")
    for k in range(30):
        cluster.granted("a", replica=f"r{1 + k % 3}")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a")

    assert cluster.active("a") == 20


@pytest.mark.parametrize("other", ["r", "r22", "xr2", "r2-b", "R2"])
def test_replica_of_a_similar_name_is_another(cluster: Cluster, other: str) -> None:
    cluster.configure("a")
    cluster.granted("a", replica=other)
    dead(cluster, "r2")

    assert cluster.reap_chunk("r2", "a") == (0, -1)
    assert cluster.active("a") == 1


def test_chunks_cover_all_and_each_is_bounded(cluster: Cluster) -> None:
    cluster.configure("a")
    for k in range(100):
        cluster.granted("a", replica=f"r{1 + k % 2}")
    dead(cluster, "r2")
    removed: list[int] = []
    offset = 0
    while offset >= 0 and len(removed) < 30:
        count, offset = cluster.reap_chunk("r2", "a", offset=offset, chunk=7)
        removed.append(count)

    assert (sum(removed), max(removed)) == (50, 7)
    assert cluster.active("a") == 50


def test_only_the_last_chunk_forgets_the_replica(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.granted("a", replica="r2")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a", last=False)
    before = cluster.beat().dead_replicas
    cluster.reap_chunk("r2", "b", last=True)

    assert (before, cluster.beat().dead_replicas) == (("r2",), ())
    assert cluster.cli.do("EXISTS", cluster.keys.replica("r2")) == 0


def test_replica_is_not_forgotten_in_the_middle_of_a_deployment(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(2):
        cluster.granted("a", replica="r2")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a", chunk=1)

    assert cluster.beat().dead_replicas == ("r2",)


def test_reaped_probe_gives_its_permit_back(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    for replica in ("r1", "r2", "r2"):
        cluster.granted("a", replica=replica)
    cluster.rejected("a")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a")

    assert [cluster.granted("a").is_probe for _ in range(2)] == [True, True]
    cluster.rejected("a")


def test_reaped_probes_leave_no_deadline_behind(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.granted("a", replica="r2")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a")
    cluster.advance(3_600_000)

    assert cluster.granted("a").is_probe


def test_probe_of_an_earlier_generation_gives_nothing_back(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.granted("a", replica="r2")
    cluster.call("a", "failure")
    dead(cluster, "r2")
    cluster.cool_down("a")
    for _ in range(3):
        cluster.granted("a")
    cluster.reap_chunk("r2", "a")

    cluster.rejected("a")


def test_reaping_twice_is_once(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.granted("a", replica="r2")
    dead(cluster, "r2")
    removed = [cluster.reap_chunk("r2", "a")[0] for _ in range(2)]

    assert removed == [1, 0]


def test_death_is_an_event_once(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a", last=False)
    for deployment_id in ("b", "b"):  # two replicas have seen that it is silent
        cluster.reap_chunk("r2", deployment_id)

    told = [(event["from"], event["to"], event["reason"]) for event in cluster.events("r2")]
    assert told == [("alive", "dead", "silent")]


def test_settle_after_the_reaper_is_unknown(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a", replica="r2")
    dead(cluster, "r2")
    cluster.reap_chunk("r2", "a")

    assert not cluster.settle(permit, "failure").is_known
    assert cluster.snapshot().deployments[0].failures == 0


def test_dead_replica_holds_nothing_six_seconds_after_its_last_beat(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r2")
    for _ in range(5):
        cluster.granted("a", replica="r2")
    for _ in range(6):
        cluster.advance(1000)
        for silent in cluster.beat("r1").dead_replicas:
            cluster.reap_chunk(silent, "a")

    assert cluster.active("a") == 0


def test_replica_removes_its_own_leases_of_before_a_rollback(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r2")
    for replica in ("r2", "r1", "r2"):
        cluster.granted("a", replica=replica)
    cluster.advance(1)
    late = cluster.granted("a", replica="r2")
    removed = cluster.reap_chunk("r2", "a", last=False, own_before_ms=cluster.now_ms)

    assert removed == (2, -1)
    assert cluster.active("a") == 2
    assert cluster.settle(late).is_known
    assert cluster.beat("r2").is_known
