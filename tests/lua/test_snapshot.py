"""snapshot: everything as it stands now, read and never written."""

from tests.support.state import DEAD_AFTER_MS, Cluster, deployment_policy


def test_snapshot_writes_nothing(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")
    cluster.granted("b")
    cluster.advance(5000)
    before = cluster.dump()
    cluster.snapshot()

    assert cluster.dump() == before


def test_store_refuses_to_let_it_write(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.advance(100_000)

    assert cluster.snapshot(read_only=True) == cluster.snapshot()


def test_domain_without_configuration_is_empty(cluster: Cluster) -> None:
    snapshot = cluster.snapshot()

    assert (snapshot.epoch, snapshot.policy_version, snapshot.active, snapshot.deployments) == ("", 0, 0, ())
    assert not snapshot.should_shed_load


def test_unconfigured_deployment_is_shown_as_unknown(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.ids.append("b")
    a, b = cluster.snapshot().deployments

    assert (a.limit, b.id, b.limit) == (200, "b", 0)


def test_lost_policy_is_no_error(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.cli.do("DEL", cluster.keys.policy)

    assert cluster.snapshot().policy_version == 0


def test_counts_are_those_of_this_moment(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=3)
    cluster.call("a", "failure")
    cluster.call("a", latency_ms=2001)
    row = cluster.snapshot().deployments[0]

    assert (row.requests, row.failures, row.slow, row.consecutive_failures, row.consecutive_slow) == (5, 1, 1, 0, 1)


def test_open_breaker_shows_how_long(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.advance(10_000)
    row = cluster.snapshot().deployments[0]

    assert (row.state, row.open_reason, row.trips) == ("open", "consecutive_failures", 1)
    assert row.wait_ms == cluster.rejected("a").retry_after_ms


def test_half_open_breaker_shows_its_probes(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.granted("a")
    cluster.call("a")
    row = cluster.snapshot().deployments[0]

    assert (row.state, row.probes_issued, row.probes_succeeded) == ("half_open", 2, 1)


def test_replicas_alive_are_counted(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    cluster.beat("r2")
    alive = [cluster.snapshot().replicas_alive]
    cluster.advance(DEAD_AFTER_MS + 1)
    alive.append(cluster.snapshot().replicas_alive)

    assert alive == [2, 0]


def test_should_shed_load_comes_with_its_reasons(cluster: Cluster) -> None:
    cluster.configure("a", max_active=2)
    for _ in range(2):
        cluster.granted("a", priority=0)
    snapshot = cluster.snapshot()

    assert (snapshot.should_shed_load, snapshot.shed_reasons) == (True, "active_requests")


def test_deployments_come_in_the_requested_order(cluster: Cluster) -> None:
    cluster.configure(*(deployment_policy(name, limit=k + 1) for k, name in enumerate("zamb")))

    assert [(d.id, d.limit) for d in cluster.snapshot().deployments] == [("z", 1), ("a", 2), ("m", 3), ("b", 4)]


def test_latency_of_a_deployment_is_the_same_for_every_replica(cluster: Cluster) -> None:
    cluster.configure("a")
    for k in range(40):
        cluster.settle(cluster.granted("a", replica=f"r{k % 4}"), latency_ms=100 + k)
    row = cluster.snapshot().deployments[0]

    assert row.requests == 40
    assert 100 < row.p50_ms <= row.p95_ms <= row.p99_ms < 160


def test_histogram_counts_every_success_of_the_window(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=3, latency_ms=100)
    cluster.call("a", latency_ms=1000)
    cluster.call("a", "failure")
    histogram = cluster.snapshot(detail=1).deployments[0].histogram

    assert [(bucket.up_to_ms, bucket.count) for bucket in histogram] == [(107.6, 3), (1024.0, 1)]


def test_histogram_slides_out_with_the_window(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=4, latency_ms=100)
    counts = []
    for step_ms in (0, 55_000, 5000):
        cluster.advance(step_ms)
        counts.append([bucket.count for bucket in cluster.snapshot(detail=1).deployments[0].histogram])

    assert counts == [[4], [2], []]


def test_stored_records_are_shown_only_on_request(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    plain, full = cluster.snapshot().deployments[0], cluster.snapshot(detail=2, read_only=True).deployments[0]

    assert (plain.stored, plain.histogram) == ({}, ())
    assert full.stored == cluster.deployment("a")
    assert full.state == full.stored["state"] == "open"
