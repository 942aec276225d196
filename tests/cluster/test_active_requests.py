"""Active requests are exact across replicas, and never leak."""

from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, in_turn

CALLS = 200


def test_two_hundred_calls_through_four_replicas_are_two_hundred_everywhere(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    provider.behave(stall_rate=1)
    calls = [
        replica.begin_chat("held", stream=bool(n % 2)) for n, replica in enumerate(in_turn(cluster.replicas, CALLS))
    ]
    provider.wait_for(in_flight=CALLS)
    shown = [replica.stats() for replica in cluster.replicas]
    members = cluster.redis.zcard(cluster.key("leases:held"))
    leases = cluster.leases()
    for call in calls:
        call.leave()
    cluster.wait_until_idle()
    afterwards = [replica.stats() for replica in cluster.replicas]

    assert (leases, members) == (CALLS, CALLS)
    assert [stats["active_requests"] for stats in shown] == [CALLS] * 4
    assert [stats["load_balancer"]["held"]["active_requests"] for stats in shown] == [CALLS] * 4
    assert [stats["adaptive_breakers"]["held"]["concurrent"] for stats in shown] == [CALLS] * 4
    assert [stats["active_requests"] for stats in afterwards] == [0] * 4
    assert [stats["load_balancer"]["held"]["active_requests"] for stats in afterwards] == [0] * 4


def test_two_hundred_answered_calls_are_all_counted_and_none_stays_active(cluster: Cluster) -> None:
    cluster.providers[0].behave(latency_ms=100)
    calls = [
        replica.begin_chat("held", stream=bool(n % 2)) for n, replica in enumerate(in_turn(cluster.replicas, CALLS))
    ]
    statuses = [call.answer().status for call in calls]
    for call in calls:
        call.leave()
    cluster.wait_until_idle()

    assert statuses == [200] * CALLS
    for replica in cluster.replicas:
        deployment = replica.stats()["load_balancer"]["held"]["deployments"]["held"]
        assert (deployment["active_requests"], deployment["requests"], deployment["failures"]) == (0, CALLS, 0)


def test_concurrency_limit_holds_across_replicas(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    provider.behave(stall_rate=1)
    calls = [replica.begin_chat("narrow") for replica in in_turn(cluster.replicas, 40)]
    provider.wait_for(in_flight=5)
    wait_until(lambda: sum(call.has_data() for call in calls) == 35)
    answers = [call.answer() for call in calls if call.has_data()]
    for call in calls:
        call.leave()

    assert provider.counts()["max_in_flight"] == 5
    assert [answer.error["code"] for answer in answers] == ["server_is_overloaded"] * 35
    assert all("retry-after" in answer.headers for answer in answers)
