"""The names that requests are counted under, and the exemplars of buckets."""

from gateway.errors import UpstreamRefused
from gateway.telemetry.request_counters import RequestCounters, TracedHistogram


def test_a_code_of_a_provider_is_no_label() -> None:
    counters = RequestCounters()
    for number in range(20):
        code = f"word-{number}"
        counters.failed(UpstreamRefused(400, "no", type=code, param=None, code=code))

    assert {key: count for key, count in counters.refused.items() if count} == {("400", "upstream_refused"): 20}


def test_bucket_remembers_the_last_one_that_had_a_trace() -> None:
    histogram = TracedHistogram((1.0, 2.0))
    histogram.exemplify(0.5, "first")
    histogram.exemplify(0.7, "second")
    histogram.exemplify(9.0, "slow")

    seen = [(example.trace_id, example.seconds) if example else None for example in histogram.examples]
    assert seen == [("second", 0.7), None, ("slow", 9.0)]


def test_value_on_a_bound_is_in_the_bucket_that_counts_it() -> None:
    histogram = TracedHistogram((1.0, 2.0))
    histogram.observe(1.0)
    histogram.exemplify(1.0, "one")

    assert histogram.counts == [1, 0, 0]
    assert histogram.examples[0] is not None
