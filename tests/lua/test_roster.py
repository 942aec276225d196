"""roster: who is there, and what each says of itself."""

from tests.support.state import Cluster


def test_replicas_are_shown_with_the_age_of_their_last_heartbeat(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r2")
    cluster.advance(1200)
    cluster.beat("r1")

    assert [(replica.id, replica.silent_ms) for replica in cluster.roster()] == [("r1", 0), ("r2", 1200)]


def test_roster_shows_what_a_replica_reports(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    said = cluster.cli.do("HGETALL", cluster.keys.replica("r1"))
    [replica] = cluster.roster()

    assert (replica.address, replica.version) == (said[b"address"].decode(), said[b"version"].decode())
    assert (replica.store, replica.is_draining) == ("shared", False)


def test_replica_whose_hash_has_expired_is_still_named(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    cluster.cli.do("DEL", cluster.keys.replica("r1"))
    [replica] = cluster.roster()

    assert (replica.id, replica.address, replica.age_ms) == ("r1", "", 0)


def test_roster_is_limited_to_the_requested_number(cluster: Cluster) -> None:
    cluster.configure("a")
    for name in ("r1", "r2", "r3"):
        cluster.beat(name)

    assert len(cluster.roster(most=2)) == 2


def test_empty_domain_has_no_replica(cluster: Cluster) -> None:
    assert cluster.roster() == []
