"""autoscale's memory of last week: replicas are there before a surge that recurs, and a wrong memory is soon let go."""

from collections.abc import Iterable

import msgspec
import pytest

from shared_state.snapshots import ScalingSignal
from tests.support.recurring import WEEK_S, carry, policy
from tests.support.state import Cluster

SLOT_S = 300
POLICY = policy(utilization=1.0, min_replicas=1, scale_down_delay_ms=60_000)


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    """A cluster that has run for a while without any load, at the beginning of five minutes."""
    cluster.configure("a")
    cluster.advance(2 * SLOT_S * 1000 - cluster.now_ms % (SLOT_S * 1000))
    return cluster


def signal(cluster: Cluster, active: int, ahead_s: int = 60) -> ScalingSignal:
    carry(cluster, active)
    found = cluster.autoscale(msgspec.structs.replace(POLICY, ahead_ms=ahead_s * 1000))
    assert found is not None
    return found


def slots(cluster: Cluster, loads: Iterable[int], ahead_s: int = 60) -> list[ScalingSignal]:
    """Goes through five minutes with each of these loads; returns the signals of their ends."""
    found = []
    for load in loads:
        for _ in range(SLOT_S // 20):
            last = signal(cluster, load, ahead_s)
            cluster.advance(20_000)
        found.append(last)
    return found


def a_week_after(cluster: Cluster, gone: int) -> None:
    """Advances to a week after what began ``gone`` slots before."""
    cluster.advance((WEEK_S - gone * SLOT_S) * 1000)


SURGE = [8, 8, 100, 100, 8, 8]


def test_replicas_are_there_before_a_surge_of_last_week(cluster: Cluster) -> None:
    slots(cluster, SURGE)
    a_week_after(cluster, len(SURGE))
    quiet, before, *_ = slots(cluster, [8, 8])

    assert (quiet.desired, quiet.reason, quiet.foreseen) == (1, "load", 8.0)
    assert (before.desired, before.wanted, before.reason) == (10, 1, "foreseen")
    assert before.foreseen == pytest.approx(100, abs=0.2)


def test_they_come_no_earlier_than_ahead_says(cluster: Cluster) -> None:
    slots(cluster, SURGE)
    a_week_after(cluster, len(SURGE))
    slots(cluster, [8])
    cluster.advance((SLOT_S - 62) * 1000)
    early = signal(cluster, 8)
    cluster.advance(2000)

    assert (early.desired, signal(cluster, 8).desired) == (1, 10)


def test_ahead_of_zero_neither_learns_nor_looks(cluster: Cluster) -> None:
    slots(cluster, SURGE, ahead_s=0)
    kept = cluster.cli.do("EXISTS", cluster.keys.autoscale_week)
    a_week_after(cluster, len(SURGE))
    ends = slots(cluster, [8, 8])

    assert kept == 0
    assert [end.desired for end in ends] == [1, 1]


def test_surge_that_does_not_come_is_let_go_after_five_minutes(cluster: Cluster) -> None:
    surge = [8, 8, *[100] * 6, 8, 8]
    slots(cluster, surge)
    a_week_after(cluster, len(surge))
    ends = slots(cluster, [8] * 10)

    assert [end.desired for end in ends] == [1, 10, 10, 1, 1, 1, 1, 1, 1, 1]


def test_memory_is_followed_again_once_it_agrees(cluster: Cluster) -> None:
    both = [*SURGE, 8, 8, *SURGE]
    slots(cluster, both)
    a_week_after(cluster, len(both))
    ends = slots(cluster, [8] * (len(SURGE) + 4))

    assert [end.desired for end in ends] == [1, 10, 10, 1, 1, 1, 1, 1, 1, 10]


def test_one_week_without_the_surge_does_not_erase_it(cluster: Cluster) -> None:
    slots(cluster, SURGE)
    a_week_after(cluster, len(SURGE))
    slots(cluster, [8] * len(SURGE))
    a_week_after(cluster, len(SURGE))
    ends = slots(cluster, [8, 8])

    assert ends[-1].foreseen == pytest.approx(80, abs=0.2)
    assert ends[-1].desired == 8


def test_surge_that_is_gone_for_good_is_forgotten(cluster: Cluster) -> None:
    slots(cluster, SURGE)
    for _ in range(12):
        a_week_after(cluster, len(SURGE))
        slots(cluster, [8] * len(SURGE))
    a_week_after(cluster, len(SURGE))

    assert [end.desired for end in slots(cluster, [8, 8])] == [1, 1]


def test_maximum_holds_for_what_is_foreseen(cluster: Cluster) -> None:
    slots(cluster, SURGE)
    a_week_after(cluster, len(SURGE))
    slots(cluster, [8])
    cluster.advance((SLOT_S - 30) * 1000)
    small = cluster.autoscale(policy(utilization=1.0, max_replicas=4), version=2)

    assert small is not None
    assert (small.desired, small.reason) == (4, "foreseen")


def test_surge_is_carried_as_it_comes(cluster: Cluster) -> None:
    slots(cluster, SURGE)
    a_week_after(cluster, len(SURGE))
    ends = slots(cluster, [8, 8, 150, 100, 8, 8])

    assert [end.desired for end in ends] == [1, 10, 15, 12, 1, 1]
    assert ends[2].reason == "load"


def test_memory_is_of_one_size(cluster: Cluster) -> None:
    cluster.advance((WEEK_S - cluster.now_ms // 1000 % WEEK_S - SLOT_S) * 1000)
    slots(cluster, [8] * 20)

    hours = cluster.cli.do("HKEYS", cluster.keys.autoscale_week)
    assert hours == [b"167", b"0", b"1"]  # 168 at most
    assert {cluster.cli.do("HSTRLEN", cluster.keys.autoscale_week, hour) for hour in hours} == {48}


def test_flush_forgets_and_harms_nothing(cluster: Cluster) -> None:
    slots(cluster, SURGE)
    cluster.flush()
    cluster.configure("a", version=9)
    cluster.beat()

    assert signal(cluster, 8).foreseen == 0
