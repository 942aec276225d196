"""reassert: what a store has forgotten comes back, and only that."""

import time
from typing import Any

import pytest

from shared_state.errors import NotConfigured
from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy

LEASE_MS = 75_000
LEARNING_MS = 5_000
OPEN: dict[str, Any] = {"state": "open", "generation": 3, "remaining_ms": 9_000, "trips": 2, "reason": "failure_rate"}


@pytest.fixture
def flushed(cluster: Cluster) -> Cluster:
    """A store in the first moment of a new epoch; replicas remember the one before."""
    cluster.configure("a", "b")
    cluster.flush()
    cluster.configure("a", "b")
    return cluster


def granted(cluster: Cluster, count: int) -> list[Permit]:
    return [cluster.granted("a", replica="r1") for _ in range(count)]


# -- leases -----------------------------------------------------------------------------------------------------


def test_leases_that_are_missing_are_taken(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = granted(cluster, 5)
    cluster.flush()
    cluster.configure("a")

    assert cluster.reassert("a", permits, age_ms=2_000, seen_epoch="before") == (5, False)
    assert (cluster.active("a"), cluster.beat().active) == (5, 5)
    assert cluster.deployment("a")["active"] == "5"


def test_leases_that_are_known_are_left_as_they_are(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = granted(cluster, 3)
    before = cluster.cli.do("ZRANGE", cluster.keys.deployment_leases("a"), 0, -1, "WITHSCORES")

    assert cluster.reassert("a", permits, age_ms=30_000) == (0, False)
    assert cluster.cli.do("ZRANGE", cluster.keys.deployment_leases("a"), 0, -1, "WITHSCORES") == before


def test_lease_keeps_its_age(flushed: Cluster) -> None:
    permit = granted(flushed, 1)[0]
    flushed.flush()
    flushed.configure("a")
    flushed.reassert("a", [permit], age_ms=LEASE_MS - 1_000, seen_epoch="before")
    flushed.advance(999)
    before = flushed.beat().active
    flushed.advance(1)

    assert (before, flushed.beat().active) == (1, 0)


def test_lease_that_has_expired_is_not_taken(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = granted(cluster, 1)
    cluster.flush()
    cluster.configure("a")

    assert cluster.reassert("a", permits, age_ms=LEASE_MS, seen_epoch="before") == (0, False)
    assert cluster.active("a") == 0


def test_lease_that_was_put_back_can_be_settled_and_resent(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = granted(cluster, 1)[0]
    cluster.flush()
    cluster.configure("a")
    cluster.reassert("a", [permit], seen_epoch="before")
    again = cluster.granted("a", token=permit.token, resend=True)

    assert (again.token, again.generation) == (permit.token, permit.generation)
    assert cluster.settle(permit).is_known
    assert not cluster.settle(permit).is_known


def test_probe_and_first_byte_stay_marked(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    probe = cluster.granted("a", stream=True)
    cluster.flush()
    cluster.configure("a")
    cluster.reassert("a", [probe], answered=True, seen_epoch="before")
    score = float(cluster.cli.do("ZSCORE", cluster.keys.deployment_leases("a"), probe.token))

    assert probe.is_probe
    assert score - cluster.now_ms == 0.75


@pytest.mark.parametrize(("answered", "mark"), [(True, 0.25), (False, 0)])
def test_first_byte_of_a_call_that_is_no_probe_stays_marked(flushed: Cluster, answered: bool, mark: float) -> None:
    permit = flushed.granted("a", stream=True)
    flushed.settle(permit, "cancelled")
    flushed.reassert("a", [permit], answered=answered)
    score = float(flushed.cli.do("ZSCORE", flushed.keys.deployment_leases("a"), permit.token))

    assert score - flushed.now_ms == mark


@pytest.mark.parametrize(("age_ms", "issued"), [(0, 1), (99, 1), (100, 0)])
def test_probe_of_the_current_generation_counts_again(cluster: Cluster, age_ms: int, issued: int) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    probes = [cluster.granted("a", replica=replica) for replica in ("r1", "r2")]
    cluster.advance(1)
    cluster.reap_chunk("r1", "a", last=False, own_before_ms=cluster.now_ms)
    before = cluster.deployment("a")["probes_issued"]
    cluster.reassert("a", probes[:1], age_ms=1 + age_ms)

    assert (before, cluster.deployment("a")["probes_issued"]) == ("1", str(1 + issued))


def test_probe_that_no_longer_counts_gives_nothing_back(cluster: Cluster) -> None:
    """It began long before the breaker that came back with it."""
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    probe = cluster.granted("a")
    cluster.flush()
    cluster.configure("a")
    told: dict[str, Any] = {"state": "half_open", "generation": probe.generation, "trips": 1, "reason": "told"}
    cluster.reassert("a", [probe], age_ms=5000, seen_epoch="before", **told)
    cluster.settle(probe, "cancelled")
    decisions = [cluster.acquire("a") for _ in range(5)]

    assert sum(isinstance(d, Permit) for d in decisions) == 3


def test_unconfigured_deployment_takes_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = granted(cluster, 1)
    cluster.flush()
    before = cluster.dump()

    with pytest.raises(NotConfigured):
        cluster.reassert("a", permits)
    assert cluster.dump() == before


# -- breakers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["open", "forced_open", "disabled"])
def test_breaker_comes_back_while_the_store_is_learning(flushed: Cluster, state: str) -> None:
    told = flushed.reassert("a", **(OPEN | {"state": state}), seen_epoch="before", seen_generation=3)
    shown = flushed.deployment("a")

    assert told == (0, True)
    assert (shown["state"], shown["generation"], shown["trips"]) == (state, "3", "2")
    assert int(shown["open_until_ms"]) - flushed.now_ms == 9_000
    assert [(e["to"], e["reason"], e["generation"]) for e in flushed.events("a")] == [(state, "reasserted", "3")]
    assert flushed.rejected("a").verdicts == (state,)


def test_breaker_without_an_end_has_none(flushed: Cluster) -> None:
    flushed.reassert("a", **(OPEN | {"state": "disabled", "remaining_ms": 0}), seen_epoch="before", seen_generation=3)

    assert "open_until_ms" not in flushed.deployment("a")


def test_second_replica_that_tells_the_same_changes_nothing(flushed: Cluster) -> None:
    flushed.reassert("a", **OPEN, seen_epoch="before", seen_generation=3)
    again = flushed.reassert("a", **OPEN, seen_epoch="before", seen_generation=3)

    assert again == (0, False)
    assert len(flushed.events("a")) == 1


def test_learning_ends(flushed: Cluster) -> None:
    flushed.advance(LEARNING_MS)

    assert flushed.reassert("a", **OPEN, seen_epoch="before", seen_generation=3) == (0, False)
    assert flushed.state("a") == "closed"


def test_own_store_learns_at_any_time(flushed: Cluster) -> None:
    flushed.advance(LEARNING_MS)

    assert flushed.reassert("a", **OPEN, seen_epoch="", own=True) == (0, True)


def test_store_that_lost_its_last_seconds_gets_the_trip_back(cluster: Cluster) -> None:
    """Same epoch, but the replica has seen a generation that the store does not know any more."""
    cluster.configure("a")
    cluster.advance(LEARNING_MS)

    assert cluster.reassert("a", **OPEN, seen_generation=3) == (0, True)
    assert cluster.deployment("a")["generation"] == "3"


def test_trip_on_the_standby_counts_where_nothing_moved_meanwhile(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.recover("a")
    base = int(cluster.deployment("a")["generation"])

    assert cluster.reassert("a", **(OPEN | {"generation": base + 1}), seen_generation=base) == (0, True)
    assert cluster.state("a") == "open"


def test_trip_on_the_standby_is_old_news_where_the_breaker_has_moved(cluster: Cluster) -> None:
    cluster.configure("a")
    base = int(cluster.deployment("a")["generation"])
    cluster.trip("a")
    cluster.recover("a")

    assert cluster.reassert("a", **(OPEN | {"generation": 99}), seen_generation=base) == (0, False)
    assert cluster.state("a") == "closed"


def test_trip_on_the_standby_counts_from_a_replica_that_missed_a_new_epoch(cluster: Cluster) -> None:
    """The store was flushed, and lost again before the replica's next beat."""
    cluster.configure("a")
    cluster.advance(LEARNING_MS)

    assert cluster.reassert("a", **OPEN, seen_epoch="before", seen_generation=2) == (0, True)
    assert cluster.state("a") == "open"


def test_trip_of_another_epoch_is_old_news_where_the_breaker_has_moved(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.recover("a")
    cluster.advance(LEARNING_MS)

    assert cluster.reassert("a", **(OPEN | {"generation": 99}), seen_epoch="before", seen_generation=0) == (0, False)
    assert cluster.state("a") == "closed"


def test_breaker_that_is_open_already_stays_as_it_is(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    before = cluster.deployment("a")

    assert cluster.reassert("a", **(OPEN | {"generation": 9}), seen_generation=9) == (0, False)
    assert cluster.deployment("a") == before


def test_closed_breaker_keeps_the_generation_of_its_permits(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.recover("a")
    permits = [cluster.granted("a") for _ in range(5)]
    cluster.flush()
    cluster.configure("a")
    cluster.reassert("a", permits, generation=permits[0].generation, seen_generation=3, seen_epoch="before")
    for permit in permits:
        cluster.settle(permit, "failure")

    assert permits[0].generation == 3
    assert cluster.state("a") == "open"


def test_every_generation_is_one_event_afterwards(flushed: Cluster) -> None:
    flushed.reassert("a", **OPEN, seen_epoch="before", seen_generation=3)
    flushed.cool_down("a")
    flushed.recover("a")

    assert [int(e["generation"]) for e in flushed.events("a")] == [3, 4, 5]


def test_limit_counts_what_came_back(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=3))
    permits = granted(cluster, 3)
    cluster.flush()
    cluster.configure(deployment_policy("a", limit=3))
    cluster.reassert("a", permits, seen_epoch="before")

    assert cluster.rejected("a").verdicts == ("full",)


def test_leases_reported_too_late_are_not_taken(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = granted(cluster, 2)
    cluster.flush()
    cluster.configure("a")
    cluster.reassert("a", permits, era=2)
    for permit in permits:
        cluster.settle(permit)

    assert cluster.reassert("a", permits, era=1) == (0, False)
    assert cluster.active("a") == 0


def test_cooldown_and_used_limits_are_kept(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=2), "b")
    cluster.reassert("a", used_ms=61_000)
    cluster.reassert("b", cool_ms=9_000)
    first = cluster.rejected("a", "b")
    cluster.advance(9_000)

    assert first.verdicts == ("rate_limited", "cooling")
    assert cluster.granted("a", "b").deployment_id == "b"


@pytest.mark.parametrize(("used_ms", "wait_ms"), [(30_000, 60_000), (80_000, 50_000)])
def test_used_limits_are_not_returned(cluster: Cluster, used_ms: int, wait_ms: int) -> None:
    cluster.configure(deployment_policy("a", rpm=1))
    cluster.granted("a")
    cluster.reassert("a", used_ms=used_ms)

    assert cluster.rejected("a").retry_after_ms == wait_ms + (used_ms > 60_000) * 30_000


def test_beat_shows_what_cools_and_what_is_used_up(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=2), "b")
    cluster.granted("a")
    cluster.call("b", "throttled", retry_after_ms=7_000)
    before_s = time.monotonic()
    shown = cluster.beat().breakers

    assert {k: (b.state, b.generation) for k, b in shown.items()} == {0: ("closed", 0), 1: ("closed", 0)}
    assert 29 <= shown[0].used_s - before_s <= 31
    assert 6 <= shown[1].cools_s - before_s <= 8
