"""Two regions, 80 ms apart, under load on the virtual clock: how much is spilled, and when it ends."""

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy

SERVICE_MS, LINE_MS = 200, 80


def evenly(per_second: float, seconds: float, from_s: float = 0.0) -> Iterator[float]:
    return (from_s + k / per_second for k in range(round(per_second * seconds)))


def at_random(per_second: float, seconds: float) -> Iterator[float]:
    draw, at_s = random.Random(7), 0.0
    while (at_s := at_s + draw.expovariate(per_second)) < seconds:
        yield at_s


def finding_all_taken(arrivals: Iterable[float], places: int) -> int:
    """How many come while every one of so many places is taken, when each of the others takes one for its time."""
    ends_s: list[float] = []
    lost = 0
    for at_s in arrivals:
        ends_s = [end_s for end_s in ends_s if end_s > at_s]
        if len(ends_s) < places:
            ends_s.append(at_s + SERVICE_MS / 1000)
        else:
            lost += 1
    return lost


def served(cluster: Cluster, arrivals: Iterable[tuple[float, str]]) -> Counter[tuple[str, str, int]]:
    """Requests by region, who served them, and the second they came in. One from afar takes the line's time as well."""
    began_ms, counts = cluster.now_ms, Counter[tuple[str, str, int]]()
    running: list[tuple[float, int, Permit]] = []
    for number, (at_s, region) in enumerate(arrivals):
        now_ms = began_ms + 1000 * at_s
        while running and running[0][0] <= now_ms:
            ends_ms, _, permit = heapq.heappop(running)
            cluster.set_clock(max(cluster.now_ms, int(ends_ms)))
            cluster.settle(permit, latency_ms=SERVICE_MS)
        cluster.set_clock(max(cluster.now_ms, int(now_ms)))
        permit = cluster.granted("eu", "us", region=region)
        took_ms = SERVICE_MS + (LINE_MS if permit.deployment_id != region else 0)
        heapq.heappush(running, (now_ms + took_ms, number, permit))
        counts[region, permit.deployment_id, int(at_s)] += 1
    return counts


def total(counts: Counter[tuple[str, str, int]], region: str, by: str, from_s: int, to_s: int) -> int:
    return sum(counts[region, by, second] for second in range(from_s, to_s))


def two_regions(cluster: Cluster, **limits: int) -> None:
    cluster.configure(
        *(deployment_policy(name, region=name, limit=limits[name]) for name in ("eu", "us")), max_active=100_000
    )
    cluster.report_round_trips("eu", eu=1, us=LINE_MS)
    cluster.report_round_trips("us", us=1, eu=LINE_MS)


def test_spill_is_the_excess_and_recovery_moves_it_back(cluster: Cluster) -> None:
    """Ten places of 200 ms are 50 requests a second. The eu gets 40, then 75, then 40 again; the us 20 all the time."""
    two_regions(cluster, eu=10, us=40)
    eu = [*evenly(40, 2), *evenly(75, 4, 2.0), *evenly(40, 3, 6.0)]
    counts = served(cluster, sorted([*((at_s, "eu") for at_s in eu), *((at_s, "us") for at_s in evenly(20, 9))]))

    assert total(counts, "eu", "us", 0, 2) == 0
    assert total(counts, "eu", "eu", 3, 6) == pytest.approx(50 * 3, rel=0.05)
    assert total(counts, "eu", "us", 3, 6) == pytest.approx(25 * 3, rel=0.05)
    assert total(counts, "eu", "us", 7, 9) == 0
    assert total(counts, "us", "eu", 0, 9) == 0


@pytest.mark.parametrize("per_second", [60, 100])
def test_random_arrivals_spill_what_finds_home_full(cluster: Cluster, per_second: int) -> None:
    two_regions(cluster, eu=10, us=200)
    arrivals = list(at_random(per_second, 8))
    counts = served(cluster, ((at_s, "eu") for at_s in arrivals))

    assert total(counts, "eu", "us", 0, 8) == pytest.approx(finding_all_taken(arrivals, 10), rel=0.05)


def test_rate_limited_home_spills_what_is_over_its_limit(cluster: Cluster) -> None:
    """120 a minute are 2 a second, once the minute's burst is used up."""
    cluster.configure(deployment_policy("eu", region="eu", rpm=120), deployment_policy("us", region="us"))
    cluster.report_round_trips("eu", eu=1, us=LINE_MS)
    cluster.call("eu", times=120)
    counts = served(cluster, ((at_s, "eu") for at_s in evenly(5, 40)))

    assert total(counts, "eu", "eu", 0, 40) == pytest.approx(80, rel=0.05)
    assert total(counts, "eu", "us", 0, 40) == pytest.approx(120, rel=0.05)
