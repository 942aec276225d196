"""The names that requests are counted under, and the exemplars of buckets."""

from types import SimpleNamespace
from typing import cast

from gateway.errors import UpstreamRefused
from gateway.routing.answer import Answer
from gateway.telemetry.request_counters import RequestCounters, TracedHistogram
from gateway.telemetry.request_log import RequestLine
from shared_state.records import Outcome, TokenCounts


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


def answer(deployment_id: str, outcome: Outcome = Outcome.SUCCESS, tokens: tuple[int, int] = (0, 0)) -> Answer:
    deployment = SimpleNamespace(id=deployment_id, model_name="gpt-4")
    exchange = SimpleNamespace(counts=TokenCounts(*tokens), latency_ms=100)
    made = SimpleNamespace(
        candidate=SimpleNamespace(deployment=deployment), exchange=exchange, outcome=outcome, decision_s=0.0005
    )
    return cast(Answer, made)


def line_of(model: str, priority: int, tenant: str = "anonymous") -> RequestLine:
    line = RequestLine(method="POST", path="/", request_id="r", tenant=tenant)
    line.model, line.priority = model, priority
    return line


def test_requests_and_tokens_are_counted_by_their_labels() -> None:
    counters = RequestCounters()
    for served, priority in (
        (answer("a", tokens=(9, 4)), 50),
        (answer("a", tokens=(1, 1)), 50),
        (answer("a", tokens=(5, 0)), 0),
        (answer("b", Outcome.TIMEOUT), 50),
    ):
        counters.served(served, line_of("gpt-4", priority), 0.2, 0.0005)
    counters.left(line_of("gpt-4", 100))

    assert counters.requests == {
        ("gpt-4", "a", "success", "normal", "anonymous"): 2,
        ("gpt-4", "a", "success", "critical", "anonymous"): 1,
        ("gpt-4", "b", "timeout", "normal", "anonymous"): 1,
        ("gpt-4", "", "cancelled", "bulk", "anonymous"): 1,
    }
    assert counters.tokens == {
        ("a", "input", "normal", "anonymous"): 10,
        ("a", "output", "normal", "anonymous"): 5,
        ("a", "input", "critical", "anonymous"): 5,
    }
    assert {deployment: sum(each.counts) for deployment, each in counters.answers.items()} == {"a": 3}


def test_fallback_is_counted_by_both_models() -> None:
    counters = RequestCounters()
    counters.served(answer("a"), line_of("gpt-5", 50), 0.2, 0.0005)

    assert counters.fallbacks == {("gpt-5", "gpt-4"): 1}
