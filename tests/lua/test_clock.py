"""Time never runs back, whatever the store's own clock does."""

from tests.support.state import START_MS, Cluster


def test_clock_set_back_stands_still_in_every_reply(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(5000)
    cluster.granted("a")
    cluster.set_clock(START_MS - 60_000)

    assert cluster.beat().now_ms == START_MS + 5000


def test_time_continues_after_a_step_back(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(5000)
    cluster.granted("a")
    cluster.step_back(3_600_000)
    cluster.granted("a")
    cluster.advance(3000)

    assert cluster.beat().now_ms == START_MS + 8000 == cluster.now_ms


def test_small_step_back_is_waited_out(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(5000)
    cluster.granted("a")
    cluster.set_clock(START_MS + 4000)
    first = cluster.beat().now_ms
    cluster.set_clock(START_MS + 5500)

    assert (first, cluster.beat().now_ms) == (START_MS + 5000, START_MS + 5500)
    assert "clock_offset_ms" not in cluster.domain()


def test_dead_replica_is_noticed_after_a_step_back(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    cluster.beat("r7")
    cluster.step_back(3_600_000)
    cluster.beat("r1")
    cluster.advance(5001)

    assert cluster.beat("r1").dead_replicas == ("r7",)


def test_recorded_clock_is_never_taken_back(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(5000)
    cluster.granted("a")
    cluster.set_clock(START_MS)
    cluster.granted("a")

    assert cluster.domain()["clock_ms"] == str(START_MS + 5000)


def test_open_breaker_stays_open_when_the_clock_is_set_back(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.advance(20_000)
    remaining_ms = cluster.rejected("a").retry_after_ms
    cluster.set_clock(START_MS)

    assert cluster.rejected("a").retry_after_ms == remaining_ms


def test_calls_after_a_step_back_enter_the_same_window(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(25_000)
    cluster.call("a")
    cluster.set_clock(START_MS)
    cluster.call("a")

    assert cluster.snapshot().deployments[0].requests == 2


def test_reading_does_not_move_the_clock(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.advance(5000)
    cluster.snapshot()
    cluster.explain("a")

    assert cluster.domain()["clock_ms"] == str(START_MS)
