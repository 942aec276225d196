"""Counts of samples, and that parts add up to the whole."""

from typing import Any

import msgspec
import pytest

from loadtest.load.measure import NAMES_MOST, OTHERS, Measurement, Sample
from loadtest.load.slo import Slo


def sample(**fields: Any) -> Sample:
    return Sample(**{"url": "u", "failure": None, "total_ms": 10.0, "queue_ms": 1.0, **fields})


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


def test_counts_of_several_processes_add_up_to_those_of_one() -> None:
    whole, parts = Measurement(slo=Slo(latency_ms=100)), [Measurement(slo=Slo(latency_ms=100)) for _ in range(3)]
    for number in range(300):
        each = sample(
            total_ms=1.0 + number,
            tokens=number % 4,
            deployment=f"d{number % 2}",
            failure="502" if number % 7 == 0 else None,
            is_given_up=number % 5 == 0,
            gaps_ms=[1.0 * number, 2.0],
            model=f"m{number % 3}",
        )
        whole.add(each, number / 100)
        parts[number % 3].add(each, number / 100)
    first, *others = (msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Measurement) for part in parts)
    for other in others:
        first.merge(other)

    assert first == whole
    assert whole.moments.keys() == {0, 1, 2}


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [
        ({"total_ms": 400.0, "first_token_ms": 90.0, "gaps_ms": [50.0]}, True),
        ({"total_ms": 501.0, "first_token_ms": 90.0}, False),
        ({"total_ms": 400.0, "first_token_ms": 101.0}, False),
        ({"total_ms": 400.0, "first_token_ms": 90.0, "gaps_ms": [51.0, 1.0]}, False),
        ({"total_ms": 90.0}, True),
        ({"total_ms": 101.0}, False),  # a plain answer: its first token is its end
        ({"total_ms": 90.0, "failure": "502"}, False),
        ({"total_ms": 90.0, "is_given_up": True}, False),
    ],
)
def test_objectives_are_kept_by_good_answers_only(fields: dict[str, Any], is_kept: bool) -> None:
    measurement = Measurement(slo=Slo(ttft_ms=100, gap_ms=50, latency_ms=500))
    measurement.add(sample(**fields))

    assert measurement.kept == is_kept


def test_stream_that_was_given_up_is_neither_good_nor_failed() -> None:
    measurement = Measurement()
    measurement.add(sample(is_given_up=True, first_token_ms=3.0))

    assert (measurement.ok, measurement.failed, measurement.given_up, measurement.requests) == (0, 0, 1, 1)
    assert measurement.ok_total.percentiles() is None
    assert measurement.first_token.count == 1


def test_server_that_invents_names_fills_no_memory() -> None:
    measurements = [Measurement(), Measurement()]
    for number in range(2 * NAMES_MOST):
        measurements[number % 2].add(sample(deployment=f"d{number}", failure=f"500 e{number}"))
    whole, other = measurements
    whole.merge(other)

    assert len(whole.failures) == len(whole.groups["deployment"]) == NAMES_MOST + 1
    assert sum(whole.failures.values()) == 2 * NAMES_MOST
    assert whole.groups["deployment"][OTHERS].failed == NAMES_MOST
