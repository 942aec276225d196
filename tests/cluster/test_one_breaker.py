"""An outage is paid for once by the cluster, not once by each replica."""

import time

from tests.support.cluster import Cluster, in_turn


def test_dead_provider_sees_five_calls_of_the_whole_cluster_and_one_more_a_second(cluster: Cluster) -> None:
    """A second attempt of the client's own request is one of the five; the last resort is what comes after them."""
    provider = cluster.providers[0]
    provider.behave(error_rate=1)
    statuses, began_s = [], 0.0
    for replica in in_turn(cluster.replicas, 20):
        statuses.append(replica.chat("dead").status)
        cluster.wait_until_idle()
        if not began_s and cluster.state("dead") == "open":
            began_s = time.monotonic()

    seconds = int(time.monotonic() - began_s) + 1
    assert 5 <= provider.counts()["requests"] <= 5 + 1 + seconds
    assert set(statuses) == {502, 503}
    assert statuses.count(503) >= 20 - 5 - 1 - seconds


def test_concurrent_callers_cost_at_most_what_was_in_flight_besides(cluster: Cluster) -> None:
    """Four callers, one at each replica: when the fifth call fails, three more can be on their way."""
    provider = cluster.providers[0]
    provider.behave(error_rate=1, latency_ms=20)
    for _ in range(6):
        calls = [replica.begin_chat("dead") for replica in cluster.replicas]
        for call in calls:
            call.answer()
            call.leave()

    assert 5 <= provider.counts()["requests"] <= 5 + 3
    assert cluster.state("dead") == "open"


def test_every_replica_shows_the_breaker_open(cluster: Cluster) -> None:
    cluster.providers[0].behave(error_rate=1)
    for replica in in_turn(cluster.replicas, 5):
        replica.chat("dead")
        cluster.wait_until_idle()
    shown = [replica.stats() for replica in cluster.replicas]

    assert [stats["adaptive_breakers"]["dead"]["state"] for stats in shown] == ["OPEN"] * 4
    assert [stats["load_balancer"]["dead"]["circuit_open"] for stats in shown] == [True] * 4


def test_opening_is_one_transition_with_one_reason(cluster: Cluster) -> None:
    cluster.providers[0].behave(error_rate=1, latency_ms=50)
    calls = [replica.begin_chat("dead") for replica in in_turn(cluster.replicas, 40)]
    for call in calls:
        call.answer()
        call.leave()
    cluster.wait_until_idle()

    assert cluster.transitions("dead") == ["closed>open consecutive_failures"]


def test_failures_spread_over_replicas_with_successes_between_do_not_open(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    for number, replica in enumerate(in_turn(cluster.replicas, 12)):
        provider.behave(error_rate=number % 2)  # a request that fails is tried twice
        replica.chat("dead")
        cluster.wait_until_idle()

    assert cluster.state("dead") == "closed"


def test_rejected_calls_are_to_come_back_for_the_next_probe(cluster: Cluster) -> None:
    cluster.replicas[0].force("dead", "reset")
    cluster.providers[0].behave(error_rate=1)
    replicas = in_turn(cluster.replicas, 20)
    while cluster.state("dead") != "open":
        next(replicas).chat("dead")
        cluster.wait_until_idle()
    answers = [replica.chat("dead") for replica in in_turn(cluster.replicas, 12)]
    refused = [answer for answer in answers if answer.status == 503]

    assert len(refused) >= 6
    assert {answer.error["code"] for answer in refused} == {"no_healthy_deployment"}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
