"""The sliding window: percentiles within a bucket's error, slices that fade, a size that never grows."""

import math
from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_state.scripts import Script
from shared_state.snapshots import DeploymentSnapshot
from tests.support.state import START_MS, Cluster, deployment_policy
from tests.support.stores import RedisCli

BUCKET_ERROR = 0.0865
NEVER_SLOW_MS = 10_000_000
PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}

_Item = TypeVar("_Item")


def window(cluster: Cluster) -> DeploymentSnapshot:
    return cluster.snapshot().deployments[0]


def nearest_rank(samples: Sequence[int], share: float) -> int:
    return sorted(samples)[max(0, math.ceil(share * len(samples) - 1e-9) - 1)]


def assert_close(measured_ms: float, exact_ms: float) -> None:
    assert abs(measured_ms - exact_ms) <= BUCKET_ERROR * exact_ms + 0.5, (measured_ms, exact_ms)


def of_any_length(items: st.SearchStrategy[_Item], most: int) -> st.SearchStrategy[list[_Item]]:
    """Half of them have 21 items at least: with fewer, p95 and p99 are both the largest."""
    return st.lists(items, min_size=1, max_size=20) | st.lists(items, min_size=21, max_size=most)


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(latencies=of_any_length(st.integers(27, 131_000), 60))
def test_percentiles_are_those_of_the_samples(cli: RedisCli, scripts: dict[str, Script], latencies: list[int]) -> None:
    cluster = Cluster(cli, scripts)
    cluster.configure(deployment_policy("a", latency_threshold_ms=NEVER_SLOW_MS))
    for latency_ms in latencies:
        cluster.call("a", latency_ms=latency_ms)
    row = window(cluster)

    for field, share in PERCENTILES.items():
        assert_close(getattr(row, field), nearest_rank(latencies, share))


@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=of_any_length(st.tuples(st.integers(0, 900), st.integers(27, 20_000)), 40))
def test_percentiles_of_the_youngest_forty_seconds_weigh_every_call_alike(
    cli: RedisCli, scripts: dict[str, Script], calls: list[tuple[int, int]]
) -> None:
    cluster = Cluster(cli, scripts)
    cluster.configure(deployment_policy("a", latency_threshold_ms=NEVER_SLOW_MS))
    for pause_ms, latency_ms in calls:
        cluster.advance(pause_ms)
        cluster.call("a", latency_ms=latency_ms)
    row = window(cluster)

    for field, share in PERCENTILES.items():
        assert_close(getattr(row, field), nearest_rank([latency_ms for _, latency_ms in calls], share))


def test_each_percentile_is_its_own_rank(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=NEVER_SLOW_MS))
    for latency_ms, times in ((100, 90), (1000, 8), (10_000, 2)):
        cluster.call("a", latency_ms=latency_ms, times=times)
    row = window(cluster)

    assert_close(row.p50_ms, 100)
    assert_close(row.p95_ms, 1000)
    assert_close(row.p99_ms, 10_000)


@pytest.mark.parametrize("latency_ms", [27, 32, 33, 64, 65, 1000, 1024, 60_000, 110_000, 120_000, 131_072])
def test_every_latency_up_to_two_minutes_is_exact_to_a_bucket(cluster: Cluster, latency_ms: int) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=NEVER_SLOW_MS))
    cluster.call("a", latency_ms=latency_ms)

    assert_close(window(cluster).p99_ms, latency_ms)


@pytest.mark.parametrize(("latency_ms", "told_ms"), [(0, 29), (1, 29), (3_600_000, 120_000)])
def test_latency_beyond_the_buckets_reads_as_the_nearest(cluster: Cluster, latency_ms: int, told_ms: int) -> None:
    cluster.configure(deployment_policy("a", latency_threshold_ms=NEVER_SLOW_MS))
    cluster.call("a", latency_ms=latency_ms)

    assert abs(window(cluster).p99_ms - told_ms) <= 0.09 * told_ms


def test_average_is_exact(cluster: Cluster) -> None:
    cluster.configure("a")
    for latency_ms in (100, 201, 1500):
        cluster.call("a", latency_ms=latency_ms)

    assert window(cluster).avg_ms == round((100 + 201 + 1500) / 3)


def test_percentiles_without_calls_are_zero(cluster: Cluster) -> None:
    cluster.configure("a")
    row = window(cluster)

    assert (row.p50_ms, row.p95_ms, row.p99_ms, row.avg_ms) == (0, 0, 0, 0)


def test_window_slides_instead_of_jumping(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=100)
    seen = []
    for _ in range(70):
        cluster.advance(1000)
        seen.append(window(cluster).requests)

    assert seen[:49] == [100] * 49
    assert seen[49:60] == [100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0]
    assert set(seen[60:]) == {0}


def test_oldest_slice_weighs_less_in_percentiles(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", latency_ms=1000, times=10)
    cluster.advance(30_000)
    cluster.call("a", latency_ms=100, times=10)
    cluster.advance(21_000)
    early = window(cluster).p50_ms
    cluster.advance(8000)

    assert_close(early, 100)
    assert_close(window(cluster).p95_ms, 1000)
    cluster.advance(900)
    assert_close(window(cluster).p95_ms, 100)


def test_slice_is_emptied_when_its_turn_comes_again(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=5)
    cluster.advance(60_000)
    cluster.call("a", times=2)

    assert window(cluster).requests == 2


def test_slice_from_an_hour_ago_does_not_count(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", times=5)
    cluster.advance(3_600_000)

    assert window(cluster).requests == 0


@pytest.mark.parametrize("offset_ms", [0, 1, 9999, 10_000, 59_999, 123_456])
def test_window_begins_anywhere_in_a_slice(cluster: Cluster, offset_ms: int) -> None:
    cluster.configure("a")
    cluster.set_clock(START_MS + offset_ms)
    cluster.call("a", times=3)
    cluster.advance(40_000)

    assert window(cluster).requests == 3


def test_window_never_grows(cluster: Cluster) -> None:
    cluster.configure("a")
    sizes = set()
    for k in range(30):
        cluster.call("a", latency_ms=10 + 300 * k % 1999, output_tokens=20_000)
        sizes.add(cluster.cli.do("STRLEN", cluster.keys.deployment_window("a")))
        cluster.advance(7000)

    assert len(sizes) == 1


def test_full_bucket_stays_full(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a")
    key = cluster.keys.deployment_window("a")
    words, slice_bytes = 7 * 4, len(cluster.cli.do("GET", key)) // 6
    start = START_MS // 10_000 % 6 * slice_bytes + words
    bucket = cluster.cli.do("GET", key).index(b"\x00\x01", start)
    cluster.cli.do("SETRANGE", key, bucket, b"\xff\xff")
    cluster.call("a")

    assert_close(window(cluster).p50_ms, 100)


def test_window_goes_by_itself_when_traffic_ends(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a")

    assert 69_000 < cluster.cli.do("PTTL", cluster.keys.deployment_window("a")) <= 70_000


def test_counts_of_a_busy_slice_are_exact(cluster: Cluster) -> None:
    cluster.configure("a")
    for k in range(1000):
        cluster.call("a", "failure" if k % 10 == 0 else "success", latency_ms=2001 if k % 10 == 5 else 100)
    row = window(cluster)

    assert (row.requests, row.failures, row.slow) == (1000, 100, 100)
