"""Percentiles: the bound of their error, and that adding loses nothing."""

import random

import pytest

from loadtest.load.histogram import MOST_ERROR, Histogram, Percentiles, percentile


def histogram(values: list[float]) -> Histogram:
    filled = Histogram()
    for value in values:
        filled.add(value)
    return filled


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.9, 90), (0.99, 99), (1, 100)]
)
def test_percentile_is_the_nearest_rank(ratio: float, expected: float) -> None:
    values = [float(value) for value in range(1, 101)]

    assert percentile(values, ratio) == expected
    assert histogram(values).at(ratio) == pytest.approx(expected, rel=MOST_ERROR)


@pytest.mark.parametrize("ratio", [0, 0.5, 0.99, 1])
def test_percentile_of_one_value_is_that_value(ratio: float) -> None:
    assert percentile([3.0], ratio) == 3.0
    assert histogram([3.0]).at(ratio) == 3.0


def test_percentile_of_few_values_is_never_invented() -> None:
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile([1.0, 2.0], 0.51) == 2.0


@pytest.mark.parametrize("scale", [1e-6, 0.03, 1, 700, 1e7])
def test_no_percentile_is_further_off_than_promised(scale: float) -> None:
    generator = random.Random(5)
    values = sorted(scale * generator.lognormvariate(0, 2) for _ in range(5000))
    filled = histogram(values)

    for ratio in (0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1):
        assert filled.at(ratio) == pytest.approx(percentile(values, ratio), rel=MOST_ERROR * 1.0001)
    assert (filled.least_ms, filled.most_ms) == (values[0], values[-1])


def test_sum_of_histograms_is_the_histogram_of_all() -> None:
    generator = random.Random(6)
    values = [generator.expovariate(0.01) for _ in range(3000)]
    merged = histogram(values[:1000])
    merged.merge(histogram(values[1000:]))
    merged.merge(Histogram())

    assert merged == histogram(values)


def test_zero_and_nothing_are_distinct() -> None:
    assert Histogram().percentiles() is None
    assert histogram([0.0]).percentiles() == Percentiles(0, 0, 0, 0, 0)

    unmeasured = Histogram()
    unmeasured.add(None)
    assert unmeasured.count == 0
