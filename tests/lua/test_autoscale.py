"""autoscale: how many replicas there should be, fast up, slow down, and never to and fro."""

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
import redis

from shared_state.policies import AutoscalePolicy
from shared_state.snapshots import ScalingSignal
from tests.support.recurring import carry
from tests.support.state import DEAD_AFTER_MS, Cluster

# Ten a replica, none to spare, so that the numbers are easy to follow.
POLICY = AutoscalePolicy(
    target_concurrency=10, utilization=1.0, min_replicas=1, max_replicas=50, scale_down_delay_ms=60_000
)
LIMIT = 200


def policy(**changed: Any) -> AutoscalePolicy:
    return msgspec.structs.replace(POLICY, **changed)


def told(cluster: Cluster, settings: AutoscalePolicy = POLICY, **options: Any) -> ScalingSignal:
    signal = cluster.autoscale(settings, **options)
    assert signal is not None
    return signal


def observe(cluster: Cluster, loads: Iterable[float], settings: AutoscalePolicy, version: int) -> list[ScalingSignal]:
    signals = []
    for load in loads:
        cluster.advance(1000)
        cluster.beat()
        carry(cluster, round(load))
        signals.append(told(cluster, settings, version=version))
    return signals


def follow(cluster: Cluster, loads: Iterable[float], settings: AutoscalePolicy = POLICY, version: int = 1) -> list[int]:
    """The replicas that there should be, second by second, while the cluster carries these loads."""
    return [signal.desired for signal in observe(cluster, loads, settings, version)]


def turns(curve: list[int]) -> int:
    """How often the curve changes its direction."""
    steps = [after - before for before, after in itertools.pairwise(curve) if after != before]
    return sum((before > 0) != (after > 0) for before, after in itertools.pairwise(steps))


@pytest.fixture
def settled(cluster: Cluster) -> Cluster:
    """One replica that has run for a while without any load."""
    cluster.configure("a")
    follow(cluster, [0])
    cluster.advance(POLICY.scale_down_delay_ms)
    assert follow(cluster, [0]) == [1]
    return cluster


# -- the curve ----------------------------------------------------------------------------------------------------


def noisy(shape: Callable[[int], float], seconds: int, share: float, seed: int) -> list[float]:
    lots = random.Random(seed)
    return [shape(second) * lots.uniform(1 - share, 1 + share) for second in range(seconds)]


def surge(second: int) -> float:
    """A quiet minute, a minute's climb to eightfold, two minutes there, a decay over four minutes, and quiet."""
    if second < 60:
        return 15
    if second < 120:
        return 15 + 105 * (second - 60) / 60
    if second < 240:
        return 120
    return max(15.0, 120 - 105 * (second - 240) / 240)


@pytest.mark.parametrize("seed", range(3))
def test_surge_and_its_decay_turn_the_curve_once(settled: Cluster, seed: int) -> None:
    signals = observe(settled, noisy(surge, 660, 0.25, seed), POLICY, 1)
    curve, wanted = [signal.desired for signal in signals], [signal.wanted for signal in signals]

    assert turns(curve) == 1
    assert (curve[30], curve[-1]) == (2, 2)
    assert 12 <= max(curve) <= 15
    assert turns(wanted) > 20  # the rule alone, without its memory


def test_replicas_come_within_seconds_of_the_load(settled: Cluster) -> None:
    curve = follow(settled, [100] * 15)

    assert curve[0] >= 3
    assert curve[5] >= 9
    assert curve[-1] == 10


def test_replicas_go_only_after_the_delay(settled: Cluster) -> None:
    curve = follow(settled, [100] * 30 + [0] * 90)

    assert curve[30 + 59] == 10
    assert curve[30 + 85 :] == [1] * 5


@pytest.mark.parametrize("seed", range(2))
def test_noise_on_a_plateau_takes_no_replica_away(settled: Cluster, seed: int) -> None:
    # Its mean is where eight replicas are just enough: every wave of the noise crosses that line.
    curve = follow(settled, noisy(lambda _: 80, 500, 0.2, seed))

    assert turns(curve) == 0
    assert curve[-1] in (9, 10)


def test_load_that_comes_and_goes_within_the_delay_moves_nothing(settled: Cluster) -> None:
    curve = follow(settled, ([100] * 30 + [0] * 30) * 10)

    assert set(curve[20:]) == {10}


def test_load_a_little_lower_than_what_a_replica_less_would_carry_moves_nothing(settled: Cluster) -> None:
    follow(settled, [100] * 30)

    assert set(follow(settled, [85] * 200)) == {10}
    assert follow(settled, [80] * 200)[-1] == 9


def test_silence_of_all_replicas_is_not_idleness(settled: Cluster) -> None:
    follow(settled, [100] * 30)
    settled.advance(200_000)

    assert follow(settled, [0])[-1] == 1


# -- the inputs ---------------------------------------------------------------------------------------------------


def test_formula_is_average_over_the_used_share_of_the_target(settled: Cluster) -> None:
    settings = policy(target_concurrency=100, utilization=0.7)

    exact = follow(settled, [140] * 30, settings, version=2)[-1]

    assert (exact, follow(settled, [142] * 30, settings, version=2)[-1]) == (2, 3)


def test_every_replica_gets_the_same_answer_computed_once_a_second(settled: Cluster) -> None:
    carry(settled, 40)
    settled.advance(1000)
    settled.beat("r2")
    first = told(settled, replica="r1")
    settled.advance(500)
    carry(settled, 200)
    second = told(settled, replica="r2")

    assert msgspec.structs.replace(second, now_ms=first.now_ms) == first
    assert second.now_ms == first.evaluated_at_ms + 500


def test_waiting_requests_of_all_living_replicas_count(settled: Cluster) -> None:
    for replica, waiting in (("r2", 5), ("r3", 7)):
        settled.beat(replica)
        told(settled, replica=replica, waiting=waiting)
    settled.advance(1000)
    all_of_them = told(settled, replica="r1", waiting=2).waiting
    settled.advance(DEAD_AFTER_MS)
    settled.beat("r1")

    assert all_of_them == 14
    assert told(settled, replica="r1", waiting=2).waiting == 2


def test_waiting_requests_count_up_to_what_deployments_serve_at_once(settled: Cluster) -> None:
    settled.advance(600_000)
    signal = told(settled, waiting=10_000)

    assert (signal.waiting, signal.limit) == (10_000, LIMIT)
    assert signal.average == pytest.approx(LIMIT, rel=0.001)


def test_deployment_that_is_open_serves_nothing(settled: Cluster) -> None:
    settled.configure("b")
    settled.advance(1000)
    both = told(settled).limit
    settled.trip("b")
    settled.advance(1000)

    assert (both, told(settled).limit) == (2 * LIMIT, LIMIT)


# -- bounds and settings ------------------------------------------------------------------------------------------


def test_bounds_hold_and_are_the_reason(settled: Cluster) -> None:
    bounded = policy(min_replicas=3, max_replicas=6)
    settled.cli.do("DEL", settled.keys.autoscale)
    follow(settled, [0] * 2, bounded)
    low = told(settled, bounded)
    follow(settled, [500] * 10, bounded)
    high = told(settled, bounded)

    assert (low.desired, low.reason) == (3, "min")
    assert (high.desired, high.reason) == (6, "max")


def test_reason_tells_load_from_what_is_held(settled: Cluster) -> None:
    follow(settled, [100] * 30)
    loaded = told(settled)
    follow(settled, [20] * 30)
    held = told(settled)

    assert (loaded.reason, loaded.desired, loaded.wanted) == ("load", 10, 10)
    assert (held.reason, held.desired, held.wanted, round(held.peak)) == ("held", 10, 2, 100)


def test_newest_settings_are_those_of_all_replicas(settled: Cluster) -> None:
    told(settled, policy(target_concurrency=20), version=7)
    old = told(settled, policy(target_concurrency=10), replica="r2", version=6)

    assert old.target_concurrency == 20


def test_other_delay_begins_anew_but_loses_nothing(settled: Cluster) -> None:
    follow(settled, [100] * 30)
    told(settled, policy(scale_down_delay_ms=20_000), version=2)
    curve = follow(settled, [0] * 40)

    assert curve[15] == 10
    assert curve[-1] == 1


def test_lower_maximum_is_obeyed_at_once(settled: Cluster) -> None:
    follow(settled, [100] * 30)
    settled.advance(1000)

    assert told(settled, policy(max_replicas=4), version=2).desired == 4


# -- a young memory -------------------------------------------------------------------------------------------------


def test_cluster_that_is_new_to_the_store_keeps_what_it_has(cluster: Cluster) -> None:
    cluster.configure("a")
    for replica in ("r1", "r2", "r3", "r4"):
        cluster.beat(replica)
    first = told(cluster)
    curve = follow(cluster, [0] * 70)

    assert (first.desired, first.reason) == (4, "learning")
    assert curve[50] == 4
    assert curve[-1] == 1


def test_flush_takes_no_replica_away(settled: Cluster) -> None:
    replicas = [f"r{k}" for k in range(8)]
    follow(settled, [80] * 30)
    settled.flush()
    settled.configure("a", version=9)
    settled.beat("r0")
    alone = told(settled, replica="r0").desired
    for replica in replicas:
        settled.beat(replica)
    settled.advance(1000)

    assert alone == 1  # until the others have told that they live, a second later
    assert told(settled, replica="r0").desired == 8


def test_store_without_a_cluster_answers_nothing_and_stays_unwritten(cluster: Cluster) -> None:
    before = cluster.dump()

    assert cluster.autoscale(POLICY) is None
    assert cluster.dump() == before


def test_other_schema_is_an_error_and_nothing_is_written(settled: Cluster) -> None:
    settled.cli.do("HSET", settled.keys.domain, "schema", 2)
    before = settled.dump()

    with pytest.raises(redis.ResponseError, match="SCHEMA"):
        settled.autoscale(POLICY, waiting=5)
    assert settled.dump() == before


def test_requests_in_other_domains_are_carried_too(settled: Cluster) -> None:
    """Deployments there serve as many at once as they do now, so as many that wait count as well."""
    for replica, elsewhere in (("r1", 50), ("r2", 30)):
        settled.beat(replica)
        told(settled, replica=replica, elsewhere=elsewhere)
    settled.advance(1000)
    signal = told(settled, replica="r1", waiting=500, elsewhere=60)

    assert (signal.active, signal.waiting, signal.limit) == (90, 500, LIMIT + 90)
    assert told(settled, replica="r2").active == 90
    settled.advance(1000)
    assert told(settled, replica="r2").active == 0  # that replica has the home domain only


# -- what is left behind --------------------------------------------------------------------------------------------


def test_changes_are_events(settled: Cluster) -> None:
    follow(settled, [15] * 30)

    assert [(e["from"], e["to"], e["reason"]) for e in settled.events("desired_replicas")] == [("1", "2", "load")]


def test_what_is_remembered_does_not_grow(settled: Cluster) -> None:
    follow(settled, [100] * 200)
    peaks = str(settled.cli.do("HGET", settled.keys.autoscale, "peaks"))

    assert peaks.count("=") == 11
