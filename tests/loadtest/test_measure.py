"""Percentiles and what is counted where."""

from typing import Any

import pytest

from loadtest.measure import Measurement, Percentiles, Sample, Series, percentile


def sample(**fields: Any) -> Sample:
    return Sample(**{"url": "u", "failure": None, "total_ms": 10.0, "queue_ms": 1.0, **fields})


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.9, 90), (0.99, 99), (1, 100)]
)
def test_percentile_is_the_nearest_rank(ratio: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], ratio) == expected


@pytest.mark.parametrize("ratio", [0, 0.5, 0.99, 1])
def test_percentile_of_one_value_is_that_value(ratio: float) -> None:
    assert percentile([3.0], ratio) == 3.0


def test_percentile_of_few_values_is_never_invented() -> None:
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile([1.0, 2.0], 0.51) == 2.0


def test_series_sorts_what_it_was_given() -> None:
    series = Series()
    for value in (30.0, 10.0, 20.0):
        series.add(value)
    series.add(None)

    assert series.percentiles() == Percentiles(p50_ms=20, p90_ms=30, p99_ms=30, max_ms=30)


def test_empty_series_has_no_percentiles() -> None:
    assert Series().percentiles() is None


def test_failed_calls_stay_out_of_the_latency_of_good_ones() -> None:
    measurement = Measurement()
    measurement.add(sample(total_ms=10.0, tokens=5))
    measurement.add(sample(total_ms=9000.0, failure="503 x", tokens=3))

    latency, failed = measurement.ok_total.percentiles(), measurement.failed_total.percentiles()
    assert latency is not None
    assert failed is not None
    assert (latency.max_ms, failed.max_ms) == (10, 9000)
    assert (measurement.tokens, measurement.failures, measurement.failure_ratio) == (5, {"503 x": 1}, 0.5)


def test_groups_split_by_header_and_leave_out_calls_without_it() -> None:
    measurement = Measurement()
    measurement.add(sample(deployment="a", replica="r1"))
    measurement.add(sample(deployment="a", replica="r2", failure="502"))
    measurement.add(sample(deployment="b"))

    by_deployment = {name: (group.ok, group.failed) for name, group in measurement.groups["deployment"].items()}
    assert by_deployment == {"a": (1, 1), "b": (1, 0)}
    assert measurement.groups["replica"].keys() == {"r1", "r2"}
    assert measurement.groups["fallback"] == {}
