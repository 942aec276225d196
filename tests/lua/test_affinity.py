"""Soft affinity: a session stays with the deployment that served it, within bounds of load, number and time."""

import re
from collections import Counter
from typing import Any

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy

TTL_MS = 600_000
AFFINITY: dict[str, Any] = {"affinity_ttl_ms": TTL_MS, "affinity_band": 0.3, "affinity_entries": 1000}
POOL = ("a", "b", "c", "d")


@pytest.fixture
def pool(cluster: Cluster) -> Cluster:
    """Four equal deployments of 10 requests each."""
    cluster.configure(*(deployment_policy(name, limit=10) for name in POOL), **AFFINITY)
    return cluster


def turn(cluster: Cluster, session: str, *candidates: str, **options: object) -> Permit:
    """One whole call of a session."""
    permit = cluster.granted(*candidates or POOL, session=session, **options)
    cluster.settle(permit)
    return permit


def pins(cluster: Cluster) -> dict[str, str]:
    """The deployment of each stored hash."""
    found = {}
    for key in ("affinity:0", "affinity:1"):
        for name, value in cluster.cli.do("HGETALL", f"{cluster.keys.prefix}{key}").items():
            found[name.decode()] = re.split("[ ?]", value.decode())[1]
    return found


def occupied(cluster: Cluster, deployment_id: str, count: int) -> list[Permit]:
    return [cluster.granted(deployment_id) for _ in range(count)]


# -- staying ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    ["adaptive", "latency-based", "least-busy", "priority", "random", "usage-based", "cost-based"],
)
def test_session_stays_where_its_first_turn_went(pool: Cluster, strategy: str) -> None:
    for session in ("s1", "s2", "s3", "s4", "s5"):
        first = turn(pool, session, strategy=strategy)
        later = [turn(pool, session, strategy=strategy) for _ in range(8)]

        assert first.affinity == "new"
        assert {(each.deployment_id, each.affinity) for each in later} == {(first.deployment_id, "pinned")}


def test_sessions_are_spread(pool: Cluster) -> None:
    firsts = Counter(turn(pool, f"s{k}").deployment_id for k in range(200))

    assert set(firsts) == set(POOL)
    assert max(firsts.values()) < 1.5 * 50


def test_request_without_a_session_has_no_pin(pool: Cluster) -> None:
    permit = pool.granted(*POOL)

    assert permit.affinity == ""
    assert pins(pool) == {}


def test_nothing_is_pinned_where_affinity_is_off(cluster: Cluster) -> None:
    cluster.configure(*POOL)

    assert turn(cluster, "s").affinity == "none"
    assert pins(cluster) == {}


def test_turns_at_the_same_time_go_together(pool: Cluster) -> None:
    together = [pool.granted(*POOL, session="s") for _ in range(3)]

    assert len({each.deployment_id for each in together}) == 1


# -- bounded load -----------------------------------------------------------------------------------------------


def test_pin_holds_within_the_band_and_moves_once_beyond_it(pool: Cluster) -> None:
    home = turn(pool, "s").deployment_id
    occupied(pool, home, 3)
    assert turn(pool, "s").affinity == "pinned"

    occupied(pool, home, 1)
    moved = turn(pool, "s")

    assert moved.affinity == "moved(load)"
    assert moved.deployment_id != home
    assert (turn(pool, "s").deployment_id, turn(pool, "s").affinity) == (moved.deployment_id, "pinned")


def test_load_is_the_used_share_of_the_limit(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=10), deployment_policy("b", limit=100), **AFFINITY)
    turn(cluster, "s", "a")
    occupied(cluster, "b", 20)
    occupied(cluster, "a", 5)

    assert turn(cluster, "s", "a", "b").affinity == "pinned"


def test_full_deployment_loses_its_sessions(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1), "b", **AFFINITY)
    turn(cluster, "s", "a")
    occupied(cluster, "a", 1)

    moved = turn(cluster, "s", "a", "b")

    assert (moved.deployment_id, moved.affinity) == ("b", "moved(full)")


# -- outages ----------------------------------------------------------------------------------------------------


def test_open_breaker_moves_each_session_once_and_none_runs_back(pool: Cluster) -> None:
    homes = {f"s{k}": turn(pool, f"s{k}").deployment_id for k in range(40)}
    away = [session for session, home in homes.items() if home == "a"]
    pool.trip("a")

    during = {session: turn(pool, session) for session in away}
    again = [turn(pool, session) for session in away]
    pool.recover("a")
    after = [turn(pool, session) for session in away]

    assert {each.affinity for each in during.values()} == {"moved(open)"}
    assert len({each.deployment_id for each in during.values()}) == 3
    assert {each.affinity for each in again} == {"pinned"}
    assert [each.deployment_id for each in after] == [each.deployment_id for each in during.values()]


def test_idle_deployment_that_recovers_takes_no_session_away(pool: Cluster) -> None:
    pool.trip("a")
    homes = {f"s{k}": turn(pool, f"s{k}").deployment_id for k in range(20)}
    for name in "bcd":
        occupied(pool, name, 5)
    pool.recover("a")

    assert {session: turn(pool, session).deployment_id for session in homes} == homes


def test_failed_attempt_moves_the_session_to_the_one_that_served(pool: Cluster) -> None:
    home = turn(pool, "s").deployment_id
    others = [name for name in POOL if name != home]
    failed = pool.granted(*POOL, session="s")
    pool.settle(failed, "failure", final=False)

    served = turn(pool, "s", *others, attempt=2)

    assert (failed.affinity, served.affinity) == ("pinned", "moved(failed)")
    assert served.deployment_id == turn(pool, "s").deployment_id


def test_session_whose_only_call_failed_has_no_pin(pool: Cluster) -> None:
    permit = pool.granted(*POOL, session="s")
    pool.settle(permit, "failure", learned="s")

    assert pins(pool) == {}
    assert turn(pool, "s").affinity == "new"


def test_failure_after_a_move_does_not_bring_back_the_pin_from_before(cluster: Cluster) -> None:
    cluster.configure(*POOL, **AFFINITY | {"affinity_entries": 100})
    turn(cluster, "s", "a")
    for k in range(60):
        turn(cluster, f"s{k}")  # the pin is in the older one of two hashes
    moved = cluster.granted("b", session="s")
    cluster.settle(moved, "failure", learned="s")

    assert moved.affinity == "moved(gone)"
    assert turn(cluster, "s").affinity == "new"


def test_failure_elsewhere_leaves_a_pin_that_moved_meanwhile(pool: Cluster) -> None:
    slow = pool.granted("a", session="s")
    served = turn(pool, "s", "b")
    pool.settle(slow, "timeout", learned="s")

    assert served.affinity == "moved(gone)"
    assert pins(pool) == {"s": "b"}


def test_probe_moves_no_session(pool: Cluster) -> None:
    turn(pool, "s", "b")
    pool.trip("a")
    pool.cool_down("a")

    probe = turn(pool, "s", "a", "b")

    assert (probe.deployment_id, probe.affinity) == ("a", "none")
    assert pins(pool) == {"s": "b"}


def test_last_resort_moves_no_session(cluster: Cluster) -> None:
    cluster.configure("a", "b", last_resort=True, **AFFINITY)
    turn(cluster, "s", "a")
    for name in ("a", "b"):
        cluster.call(name, "failure", times=5)

    permit = cluster.granted("b", session="s")

    assert (permit.is_last_resort, permit.affinity) == (True, "none")
    assert pins(cluster) == {"s": "a"}


# -- inside the tier --------------------------------------------------------------------------------------------


def test_pin_of_a_fallback_does_not_keep_a_session_from_its_own_model(pool: Cluster) -> None:
    turn(pool, "s", "b")

    back = pool.granted("a", ("b", 1), session="s")

    assert (back.deployment_id, back.affinity) == ("a", "moved(tier)")


@pytest.mark.parametrize(("strategy", "field"), [("priority", "priority"), ("cost-based", "price")])
def test_strategy_of_fixed_values_keeps_to_its_best(cluster: Cluster, strategy: str, field: str) -> None:
    best = {"priority": 60, "price": 1}[field]
    cluster.configure(deployment_policy("a", **{field: best}), deployment_policy("b", **{field: 50}), **AFFINITY)
    turn(cluster, "s", "b")

    permit = turn(cluster, "s", "a", "b", strategy=strategy)

    assert (permit.deployment_id, permit.affinity) == ("a", "moved(strategy)")


def test_weights_are_exact_whatever_the_sessions(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", weight=1), deployment_policy("b", weight=3), **AFFINITY)
    counts = Counter(turn(cluster, "s", "a", "b", strategy="weighted").deployment_id for _ in range(400))

    assert counts["b"] / 400 == pytest.approx(0.75, abs=0.07)


def test_pin_to_a_removed_deployment_moves(pool: Cluster) -> None:
    home = turn(pool, "s").deployment_id
    left = [name for name in POOL if name != home]

    assert turn(pool, "s", *left).affinity == "moved(gone)"
    assert turn(pool, "s", *left).affinity == "pinned"


# -- first turns that only their beginning names ------------------------------------------------------------------


def test_later_turn_finds_the_first_turn_of_its_beginning(pool: Cluster) -> None:
    first = turn(pool, "+s")
    later = [turn(pool, "s") for _ in range(4)]

    assert first.affinity == "new"
    assert {(each.deployment_id, each.affinity) for each in later} == {(first.deployment_id, "pinned")}


def test_identical_single_requests_are_spread_and_the_first_of_them_writes_the_pin(pool: Cluster) -> None:
    first = turn(pool, "+s")
    singles = [turn(pool, "+s") for _ in range(200)]
    counts = Counter(each.deployment_id for each in singles)

    assert {each.affinity for each in singles} == {"new"}
    assert set(counts) == set(POOL)
    assert max(counts.values()) < 1.5 * 50
    assert pins(pool) == {"s": first.deployment_id}


def test_beginning_of_a_conversation_that_has_a_later_turn_attracts_further_first_turns(pool: Cluster) -> None:
    home = turn(pool, "+s").deployment_id
    turn(pool, "s")

    assert {(each.deployment_id, each.affinity) for each in (turn(pool, "+s") for _ in range(8))} == {(home, "pinned")}


def test_first_turn_that_moves_a_known_beginning_leaves_it_known(pool: Cluster) -> None:
    home = turn(pool, "s").deployment_id
    occupied(pool, home, 5)
    moved = turn(pool, "+s")

    assert moved.affinity == "moved(load)"
    assert (turn(pool, "+s").deployment_id, turn(pool, "+s").affinity) == (moved.deployment_id, "pinned")


def test_failed_first_turn_ends_its_pin(pool: Cluster) -> None:
    pool.settle(pool.granted("a", session="+s"), "failure", learned="+s")

    assert pins(pool) == {}


def test_hidden_pin_expires(pool: Cluster) -> None:
    turn(pool, "+s", "a")
    pool.advance(TTL_MS)

    assert turn(pool, "s", "b").affinity == "new"


# -- prefixes ---------------------------------------------------------------------------------------------------


def test_session_with_a_known_prefix_joins_it(pool: Cluster) -> None:
    first = turn(pool, "s1 long short")
    joined = [turn(pool, f"s{k} other{k} short") for k in range(2, 8)]

    assert {each.deployment_id for each in joined} == {first.deployment_id}
    assert {each.affinity for each in joined} == {"pinned"}


def test_longest_prefix_counts(pool: Cluster) -> None:
    turn(pool, "s1 short", "a")
    turn(pool, "s2 long", "b")

    assert turn(pool, "s3 long short").deployment_id == "b"


def test_session_counts_before_its_prefixes_and_leaves_their_pins(pool: Cluster) -> None:
    turn(pool, "s1 prefix", "a")
    turn(pool, "s2", "b")

    assert turn(pool, "s2 prefix").deployment_id == "b"
    assert pins(pool) == {"s1": "a", "s2": "b", "prefix": "a"}


def test_prefix_whose_deployment_is_crowded_moves(pool: Cluster) -> None:
    turn(pool, "s1 prefix", "a")
    occupied(pool, "a", 5)

    moved = turn(pool, "s2 prefix")

    assert moved.affinity == "moved(load)"
    assert pins(pool) == {"s1": "a", "s2": moved.deployment_id, "prefix": moved.deployment_id}


# -- bounds -----------------------------------------------------------------------------------------------------


def test_pin_ends_after_its_ttl_of_silence(pool: Cluster) -> None:
    turn(pool, "s")
    pool.advance(TTL_MS - 1)
    assert turn(pool, "s").affinity == "pinned"

    pool.advance(TTL_MS)
    assert turn(pool, "s").affinity == "new"


def test_pin_in_use_outlives_many_ttls(pool: Cluster) -> None:
    home = turn(pool, "s").deployment_id
    for _ in range(50):
        pool.advance(TTL_MS // 3)
        permit = turn(pool, "s")
        assert (permit.deployment_id, permit.affinity) == (home, "pinned")


def test_turn_of_a_fresh_pin_writes_nothing(pool: Cluster) -> None:
    turn(pool, "s")
    before = pool.dump()
    pool.advance(TTL_MS // 8 - 1)
    turn(pool, "s")
    kept = {name: pool.dump().get(name) for name in before if ":affinity:" in name}

    assert kept == {name: value for name, value in before.items() if ":affinity:" in name}


def test_number_of_pins_is_bounded_and_the_oldest_go(cluster: Cluster) -> None:
    cluster.configure(*POOL, **AFFINITY | {"affinity_entries": 100})
    most = 0
    for k in range(500):
        turn(cluster, f"s{k}")
        most = max(most, len(pins(cluster)) if k % 10 == 9 else 0)

    assert 50 <= most <= 100
    assert turn(cluster, "s499").affinity == "pinned"
    assert turn(cluster, "s0").affinity == "new"


def test_flood_of_sessions_leaves_those_in_use(cluster: Cluster) -> None:
    cluster.configure(*POOL, **AFFINITY | {"affinity_entries": 100})
    for k in range(400):
        turn(cluster, f"flood{k}")
        kept = turn(cluster, "s") if k % 20 == 0 else None
        assert kept is None or k == 0 or kept.affinity == "pinned"


def test_pins_are_in_two_keys_that_expire_and_can_be_measured(pool: Cluster) -> None:
    for k in range(100):
        turn(pool, f"{k:024x}")
    [key] = [each for each in pool.cli.do("KEYS", f"{pool.keys.prefix}*") if b"affinity" in each]

    assert TTL_MS < pool.cli.do("PTTL", key) <= 2 * TTL_MS
    assert 0 < pool.cli.do("MEMORY", "USAGE", key) < 100 * 200


# -- measured benefit -------------------------------------------------------------------------------------------


def measured(cluster: Cluster, deployment_id: str, share: float, times: int) -> None:
    for _ in range(times):
        cluster.settle(cluster.granted(deployment_id), learned=f"={share:.3f}")


def test_band_shrinks_where_the_cache_does_not_hold(pool: Cluster) -> None:
    turn(pool, "s", "a")
    measured(pool, "a", 0.0, 100)
    occupied(pool, "a", 1)

    assert float(pool.deployment("a")["cache_hit"]) < 0.05
    assert turn(pool, "s").affinity == "moved(load)"


def test_band_recovers_with_the_cache(pool: Cluster) -> None:
    turn(pool, "s", "a")
    measured(pool, "a", 0.0, 100)
    measured(pool, "a", 0.9, 200)
    occupied(pool, "a", 2)

    assert turn(pool, "s").affinity == "pinned"


def test_cache_that_is_not_measured_is_taken_to_hold(pool: Cluster) -> None:
    turn(pool, "s", "a")

    assert "cache_hit" not in pool.deployment("a")
    assert pool.snapshot().deployments[0].cache_hit is None


def test_snapshot_shows_the_measured_hits(pool: Cluster) -> None:
    measured(pool, "a", 0.5, 1)

    assert pool.snapshot().deployments[0].cache_hit == pytest.approx(1 - 0.5 / 8, abs=0.001)


# -- explain, resend, secret ------------------------------------------------------------------------------------


def test_explain_shows_the_pin_and_writes_nothing(pool: Cluster) -> None:
    home = turn(pool, "s").deployment_id
    before = pool.dump()

    pinned, new = pool.explain(*POOL, session="s", read_only=True), pool.explain(*POOL, session="t")

    assert (pinned.picked, pinned.affinity) == (home, "pinned")
    assert (new.affinity, pool.explain(*POOL).affinity) == ("new", "none")
    assert pool.dump() == before


def test_resent_acquire_keeps_its_grant(pool: Cluster) -> None:
    first = pool.granted(*POOL, session="s", token="r1.plain.x")
    again = pool.granted(*POOL, session="s", token="r1.plain.x", resend=True, traced=True)

    assert again.deployment_id == first.deployment_id
    assert pins(pool) == {"s": first.deployment_id}


def test_traced_decision_reports_both(pool: Cluster) -> None:
    permit = pool.granted(*POOL, session="s", traced=True)

    assert permit.affinity == "new"
    assert permit.verdicts == ("eligible",) * 4


def test_secret_is_set_once_and_read_by_every_replica(pool: Cluster) -> None:
    first, second = pool.beat("r1"), pool.beat("r2")

    assert first.secret == second.secret == b"secret"


@pytest.mark.parametrize("session", ["0", "1e5", "-1", "nan", "x" * 1000, "é"])
def test_odd_hashes_are_harmless(pool: Cluster, session: str) -> None:
    home = turn(pool, session).deployment_id

    assert turn(pool, session).deployment_id == home
