"""Counts of replicas, added up over a run."""

from loadtest.cluster.replica_decisions import Decisions, read_counts
from tests.loadtest.report.test_cluster_events import answering, whole

SHED = ("pllm_shed_total", 'class="low",reason="priority"')
METRICS = b"""\
# HELP pllm_shed_total Requests refused because of overload
pllm_shed_total{class="low",reason="priority"} 144.0
pllm_attempts_total{deployment="azure",outcome="success"} 247.0
pllm_attempts_total{deployment="azure",outcome="throttled"} 3.0
pllm_shed_created{class="low",reason="priority"} 1.7e+09
pllm_state_switches_total{reason="",to="shared"} 1.0
pllm_state_switches_total{reason="refused",to="standby"} 1.0
pllm_retry_budget 100.0
"""
STANDBY = ("pllm_state_switches_total", 'reason="refused",to="standby"')


def test_counts_are_read_without_usual_outcomes() -> None:
    with answering(whole(METRICS)) as (url, _):
        counts = read_counts(url)

    throttled = ("pllm_attempts_total", 'deployment="azure",outcome="throttled"')
    assert counts == {SHED: 144.0, throttled: 3.0, STANDBY: 1.0}


def test_replica_that_does_not_answer_has_no_counts() -> None:
    assert read_counts("http://127.0.0.1:1/v1/chat/completions") is None
    for answer in (b"\0garbage\r\n\r\n", whole(b"\xff")):
        with answering(answer) as (url, _):
            assert read_counts(url) is None


def test_decision_has_its_first_and_last_time_and_the_counts_of_all_replicas() -> None:
    decisions = Decisions()
    for at_ms, of_one, of_other in ((0, 5, 0), (10, 5, 2), (20, 9, 2), (30, 9, 3), (40, 9, 3)):
        decisions.see("one", {SHED: of_one}, at_ms)
        decisions.see("other", {SHED: of_other}, at_ms)
    (decision,) = decisions.between(5, 100)

    assert (decision.first_ms, decision.last_ms) == (10, 30)
    assert decision.render() == "7 requests of priority low shed (priority)"


def test_replica_that_was_started_again_counts_from_nothing() -> None:
    decisions = Decisions()
    for at_ms, count in ((0, 5), (10, 2), (20, 3)):
        decisions.see("one", {SHED: count}, at_ms)
    (decision,) = decisions.between(5, 100)

    assert decision.count == 3
