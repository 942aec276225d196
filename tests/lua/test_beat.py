"""beat: who lives, what hangs, how many are well."""

import pytest
import redis

from shared_state.records import Permit
from tests.support.state import DEAD_AFTER_MS, START_MS, Cluster, deployment_policy


def wait(cluster: Cluster, ms: int, *answered: Permit, replicas: tuple[str, ...] = ("r1",)) -> None:
    """Time passes while the replicas beat every second; ``answered`` is reported at the first beat. A deployment with a
    spare has relief.
    """
    if "spare" in cluster.ids:
        cluster.relieve("a")
    ends_at_ms = cluster.now_ms + ms
    while cluster.now_ms < ends_at_ms:
        cluster.advance(min(1000, ends_at_ms - cluster.now_ms))
        for replica in replicas:
            cluster.beat(replica, answered)
        answered = ()


def streams(cluster: Cluster, count: int, **options: str) -> list[Permit]:
    return [cluster.granted("a", stream=True, **options) for _ in range(count)]


# -- replicas ---------------------------------------------------------------------------------------------------


def test_replicas_that_beat_are_alive(cluster: Cluster) -> None:
    cluster.configure("a")
    alive = [cluster.beat(f"r{k}").replicas_alive for k in range(3)]

    assert alive == [1, 2, 3]


def test_replica_is_dead_after_five_seconds_of_silence(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    cluster.beat("r2")
    wait(cluster, DEAD_AFTER_MS)
    before = cluster.beat().dead_replicas
    cluster.advance(1)
    beat = cluster.beat()

    assert before == ()
    assert (beat.dead_replicas, beat.replicas_alive) == (("r2",), 1)


def test_replica_whose_beats_are_late_lives_by_its_latest_grant(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.beat("r2")
    wait(cluster, DEAD_AFTER_MS)
    cluster.granted("a", token="r2.plain.1")
    cluster.granted("b", token="r2.plain.2")
    wait(cluster, 2000)
    late = cluster.beat("r1")
    wait(cluster, DEAD_AFTER_MS - 1999)
    dead = cluster.beat("r1")

    assert (late.dead_replicas, late.replicas_alive) == ((), 2)
    assert (dead.dead_replicas, dead.replicas_alive) == (("r2",), 1)


def test_grant_soon_after_the_last_beat_prolongs_no_life(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r2")
    wait(cluster, 1000)
    cluster.granted("a", token="r2.plain.1")
    wait(cluster, DEAD_AFTER_MS - 999)

    assert cluster.beat("r1").dead_replicas == ("r2",)


def test_replica_that_beats_again_is_alive_again(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    cluster.beat("r2")
    cluster.advance(DEAD_AFTER_MS + 1000)
    cluster.beat("r2")

    assert cluster.beat("r2").dead_replicas == ("r1",)


def test_replica_shows_who_it_is(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r7", draining=True)
    shown = cluster.cli.do("HGETALL", cluster.keys.replica("r7"))

    assert shown == {
        b"address": b"127.0.0.1:8080",
        b"version": b"0.1.0",
        b"started_at_ms": str(START_MS).encode(),
        b"draining": b"1",
        b"behind": b"0",
        b"store": b"shared",
        b"deployments": b"a",
    }


def test_many_dead_replicas_are_reported_in_parts(cluster: Cluster) -> None:
    cluster.configure("a")
    for k in range(40):
        cluster.beat(f"dead{k:02}")
    cluster.advance(DEAD_AFTER_MS + 1)

    assert len(cluster.beat().dead_replicas) == 16


def test_replica_that_never_beat_is_missed_by_its_leases(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.granted("a", replica="r7")
    cluster.advance(DEAD_AFTER_MS + 1)
    early = cluster.beat().dead_replicas
    cluster.advance(1000)
    late = cluster.beat().dead_replicas

    assert (early, late) == (("r7",), ("r7",))
    assert cluster.reap_chunk("r7", "a") == (1, -1)
    assert cluster.beat().dead_replicas == ()


def test_young_lease_of_an_unknown_replica_is_left_alone(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.granted("a", replica="r7")
    cluster.advance(DEAD_AFTER_MS)

    assert cluster.beat().dead_replicas == ()


def test_store_without_policy_is_reported(cluster: Cluster) -> None:
    before = cluster.beat().policy_version
    cluster.configure("a", version=7)

    assert (before, cluster.beat().policy_version) == (0, 7)


def test_beat_tells_the_active_requests_of_the_domain(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for replica in ("r1", "r2", "r3"):
        cluster.granted("a", "b", replica=replica)

    assert cluster.beat().active == 3


def test_cluster_is_judged_once_a_second_however_many_replicas_beat(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    first = cluster.domain()["evaluated_at_ms"]
    cluster.advance(500)
    cluster.beat("r2")
    second = cluster.domain()["evaluated_at_ms"]
    cluster.advance(500)
    cluster.beat("r1")

    assert first == second != cluster.domain()["evaluated_at_ms"]


# -- overdue in flight ------------------------------------------------------------------------------------------


def test_three_hung_streams_open_before_one_has_timed_out(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    streams(cluster, 3)
    wait(cluster, 3999)
    before = cluster.state("a")
    wait(cluster, 1000)

    assert (before, cluster.state("a")) == ("closed", "open")
    assert cluster.deployment("a")["open_reason"] == "overdue"


@pytest.mark.parametrize(("hung", "state"), [(1400, "open"), (1100, "closed")])
def test_share_of_waiting_calls_is_judged_however_many_there_are(cluster: Cluster, hung: int, state: str) -> None:
    cluster.configure(deployment_policy("a", limit=10_000), "spare")
    cluster.beat()
    for count, age_ms in ((hung, 5000), (2500 - hung, 0)):
        leases = [word for k in range(count) for word in (cluster.now_ms + 5000 - age_ms, f"r1.stream.{age_ms}x{k}")]
        cluster.cli.do("ZADD", cluster.keys.deployment_leases("a"), *leases)
    wait(cluster, 5000)

    assert cluster.state("a") == state


def test_two_hung_streams_are_no_pattern(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    streams(cluster, 2)
    wait(cluster, 30_000)

    assert cluster.state("a") == "closed"


def test_hung_calls_of_all_replicas_count_together(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    for replica in ("r1", "r2", "r3"):
        streams(cluster, 1, replica=replica)
    wait(cluster, 6000, replicas=("r1", "r2", "r3"))

    assert cluster.state("a") == "open"


def test_streams_that_have_their_first_byte_may_take_their_time(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    wait(cluster, 40_000, *streams(cluster, 10))

    assert cluster.state("a") == "closed"


def test_as_many_answered_as_waiting_is_half_and_opens(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    permits = streams(cluster, 6)
    wait(cluster, 6000, *permits[:3])

    assert cluster.state("a") == "open"


def test_more_answered_than_waiting_does_not_open(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    permits = streams(cluster, 7)
    wait(cluster, 30_000, *permits[:4])

    assert cluster.state("a") == "closed"


def test_fresh_calls_beside_the_hung_ones_keep_it_closed(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    streams(cluster, 3)
    wait(cluster, 3000)
    for _ in range(4):
        streams(cluster, 1)
    wait(cluster, 1500)

    assert cluster.state("a") == "closed"


def test_usual_latency_of_the_deployment_raises_the_bar(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=5000), "spare")
    for _ in range(30):
        cluster.settle(streams(cluster, 1)[0], latency_ms=9000 if _ % 3 == 0 else 4900)
    cluster.advance(1000)
    cluster.call("a")
    streams(cluster, 3)
    wait(cluster, 15_000)
    before = cluster.state("a")
    wait(cluster, 7000)

    assert (before, cluster.state("a")) == ("closed", "open")


def test_threshold_of_the_deployment_counts(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=10_000), "spare")
    streams(cluster, 3)
    wait(cluster, 19_999)
    before = cluster.state("a")
    wait(cluster, 1000)

    assert (before, cluster.state("a")) == ("closed", "open")


def known(cluster: Cluster, calls: int) -> None:
    """So many calls in the window, and the hash knows."""
    cluster.call("a", times=calls - 1)
    cluster.advance(300)
    cluster.call("a")


@pytest.mark.parametrize(("calls", "state"), [(19, "closed"), (20, "open")])
def test_plain_calls_are_overdue_only_once_twenty_samples_are_known(cluster: Cluster, calls: int, state: str) -> None:
    cluster.configure("a", "spare")
    known(cluster, calls)
    for _ in range(5):
        cluster.granted("a")
    wait(cluster, 6000)

    assert cluster.state("a") == state


def test_samples_that_left_the_window_do_not_make_plain_calls_overdue(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=40_000), "spare")
    known(cluster, 30)
    for _ in range(5):
        cluster.granted("a")
    wait(cluster, 74_000)

    assert cluster.state("a") == "closed"


def test_call_is_as_old_as_it_was_when_its_replica_could_last_tell(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    streams(cluster, 3, replica="r2")
    cluster.relieve("a")
    cluster.advance(3900)
    cluster.beat("r2")
    cluster.advance(1000)
    cluster.beat("r1")
    before = cluster.state("a")
    cluster.beat("r2")
    cluster.advance(1000)
    cluster.beat("r1")

    assert (before, cluster.state("a")) == ("closed", "open")


def test_plain_call_is_as_old_as_when_its_replica_took_another(cluster: Cluster) -> None:
    """Its last beat need not be so late: a plain call that was answered would have been settled."""
    cluster.configure("a", "spare")
    known(cluster, 30)
    for _ in range(3):
        cluster.granted("a", ("spare", 1), replica="r2")
    cluster.advance(3900)
    cluster.beat("r2")
    cluster.advance(150)
    cluster.beat("r1")
    before = cluster.state("a")
    cluster.granted("a", ("spare", 1), replica="r2")
    cluster.advance(900)
    cluster.beat("r1")

    assert (before, cluster.state("a")) == ("closed", "open")


def test_stream_that_another_call_followed_may_have_begun_since_the_last_beat(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    known(cluster, 30)
    streams(cluster, 3, replica="r2")
    cluster.advance(3900)
    cluster.beat("r2")
    cluster.advance(900)
    cluster.granted("a", ("spare", 1), replica="r2")
    cluster.beat("r1")

    assert cluster.state("a") == "closed"


def hung_among_fresh(cluster: Cluster, stream: bool) -> list[Permit]:
    """Three calls that have waited long, and twice as many that have not."""
    known(cluster, 30)
    permits = [cluster.granted("a", stream=stream) for _ in range(3)]
    wait(cluster, 3000)
    permits += [cluster.granted("a", stream=stream) for _ in range(6)]
    return permits


@pytest.mark.parametrize("stream", [False, True])
def test_where_nothing_comes_back_fresh_calls_do_not_keep_it_closed(cluster: Cluster, stream: bool) -> None:
    """Of 25 calls a second half would be overdue only after four times the threshold."""
    cluster.configure("a", "spare")
    hung_among_fresh(cluster, stream)
    wait(cluster, 1100)

    assert cluster.events("a")[-1]["reason"] == "overdue"


def test_one_that_came_back_shows_that_the_others_only_take_long(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    cluster.settle(hung_among_fresh(cluster, stream=False)[-1])
    wait(cluster, 1100)

    assert cluster.state("a") == "closed"


@pytest.mark.parametrize(("which", "fresh"), [(2, 0), (2, 70), (8, 0)])
def test_stream_that_has_begun_shows_that_the_others_only_take_long(cluster: Cluster, which: int, fresh: int) -> None:
    """Be it an old one, far from the newest, or a fresh one."""
    cluster.configure(deployment_policy("a", limit=1000), "spare")
    cluster.granted("a", stream=True)
    permits = hung_among_fresh(cluster, stream=True)
    streams(cluster, fresh)
    wait(cluster, 1100, permits[which])

    assert cluster.state("a") == "closed"


def test_stream_that_began_earlier_does_not_vouch_for_waiting_calls(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1000), "spare")
    wait(cluster, 1000, *streams(cluster, 1))
    hung_among_fresh(cluster, stream=True)
    wait(cluster, 1100)

    assert cluster.events("a")[-1]["reason"] == "overdue"


def test_calls_of_a_silent_replica_are_not_overdue(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    streams(cluster, 5, replica="gone")
    cluster.beat("gone")
    wait(cluster, 10_000)

    assert cluster.state("a") == "closed"


def test_expired_leases_are_not_overdue(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", lease_ms=3000), "spare")
    streams(cluster, 5)
    wait(cluster, 10_000)

    assert cluster.state("a") == "closed"


def test_breaker_that_is_turned_off_does_not_open_for_hung_calls(cluster: Cluster) -> None:
    cluster.configure("a", "spare", breaker_enabled=False)
    streams(cluster, 5)
    wait(cluster, 10_000)

    assert cluster.state("a") == "closed"


def test_hung_probes_are_left_to_their_deadline(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    cluster.trip("a")
    cluster.cool_down("a")
    streams(cluster, 3)
    wait(cluster, 30_000)

    assert cluster.state("a") == "half_open"


def test_hung_probe_of_a_breaker_that_closed_meanwhile_is_a_waiting_call(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    cluster.trip("a")
    cluster.cool_down("a")
    streams(cluster, 1)
    cluster.call("a", times=2)
    streams(cluster, 2)
    wait(cluster, 6000)

    assert [e["reason"] for e in cluster.events("a")][-1] == "overdue"


def test_overdue_opens_once(cluster: Cluster) -> None:
    cluster.configure("a", "spare")
    streams(cluster, 5)
    wait(cluster, 20_000, replicas=("r1", "r2"))

    assert [e["reason"] for e in cluster.events("a")] == ["overdue"]


def test_answered_stream_stays_active(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = streams(cluster, 1)[0]
    wait(cluster, 2000, permit)

    assert cluster.snapshot().deployments[0].active == 1
    assert cluster.settle(permit).is_known


def test_late_report_does_not_bring_back_a_settled_stream(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = streams(cluster, 1)[0]
    cluster.settle(permit)
    cluster.beat(answered=(permit,))

    assert cluster.active("a") == 0


def test_first_byte_reported_twice_counts_once(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = streams(cluster, 3)
    for _ in range(4):
        cluster.beat(answered=tuple(permits))
    wait(cluster, 10_000)

    assert cluster.state("a") == "closed"
    assert cluster.snapshot().deployments[0].oldest_ms == 10_000


def test_answered_probe_is_still_a_probe(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    permit = streams(cluster, 1)[0]
    cluster.beat(answered=(permit,))
    again = cluster.granted("a", token=permit.token, stream=True, resend=True)

    assert again.is_probe


# -- what a replica says of itself ------------------------------------------------------------------------------


def test_switch_to_the_standby_store_and_back_is_an_event_each(cluster: Cluster) -> None:
    cluster.configure("a")
    for store in ("shared", "standby", "standby", "shared", "shared"):
        cluster.beat("r7", store=store)

    assert [(e["subject"], e["from"], e["to"], e["reason"]) for e in cluster.events("r7")] == [
        ("r7", "shared", "standby", "why"),
        ("r7", "standby", "shared", "why"),
    ]


def test_replica_that_leaves_is_gone_at_once(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.beat("r1")
    cluster.beat("r7")
    cluster.beat("r7", gone=True)

    assert cluster.beat("r1").replicas_alive == 1
    assert cluster.cli.do("EXISTS", cluster.keys.replica("r7")) == 0


@pytest.mark.parametrize(("silent_ms", "is_known"), [(DEAD_AFTER_MS, True), (DEAD_AFTER_MS + 1, False)])
def test_replica_learns_that_it_was_taken_for_dead(cluster: Cluster, silent_ms: int, is_known: bool) -> None:
    cluster.configure("a")
    first = cluster.beat("r1").is_known
    cluster.advance(silent_ms)

    assert (first, cluster.beat("r1").is_known) == (False, is_known)


def test_beat_shows_every_breaker_that_ever_moved(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c")
    cluster.trip("b")
    cluster.trip("c")
    cluster.recover("c")
    shown = cluster.beat().breakers

    assert {position: (b.state, b.generation, b.trips) for position, b in shown.items()} == {
        1: ("open", 1, 1),
        2: ("closed", 3, 1),
    }
    assert shown[1].reason == "consecutive_failures"


def test_other_schema_is_an_error_and_nothing_is_written(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.cli.do("HSET", cluster.keys.domain, "schema", 2)
    before = cluster.dump()
    for attempt in (cluster.beat, lambda: cluster.configure("b")):
        with pytest.raises(redis.ResponseError, match=r"SCHEMA of .* is 2, this version writes 1"):
            attempt()

    assert cluster.dump() == before


@pytest.mark.parametrize(("ttl_ms", "passed_ms", "ends"), [(0, 500, False), (1000, 400, True), (1000, 2000, True)])
def test_beat_tells_a_time_that_has_passed_from_one_that_never_ends(
    cluster: Cluster, ttl_ms: int, passed_ms: int, ends: bool
) -> None:
    cluster.configure("a")
    cluster.force("a", "open", ttl_ms=ttl_ms)
    cluster.advance(passed_ms)

    assert (cluster.beat().breakers[0].ends_s > 0) == ends
