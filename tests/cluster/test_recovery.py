"""A primary that has failed comes back by itself and gets its traffic again."""

import time

from tests.support.cluster import Cluster, in_turn

COOLDOWN_S = 0.27  # of `main`, less a tenth


def test_unhealthy_primary_recovers_through_probes_and_gets_its_traffic_back(cluster: Cluster) -> None:
    primary, backup, _ = cluster.providers
    primary.behave(error_rate=1)
    served = [replica.chat("main") for replica in in_turn(cluster.replicas, 12)]
    cluster.wait_for_state("main", "open")
    primary.behave(error_rate=0)
    recovering = in_turn(cluster.replicas, 1000)
    while cluster.state("main") != "closed":
        served.append(next(recovering).chat("main"))
        cluster.wait_until_idle()
    ramping = [replica.chat("main") for replica in in_turn(cluster.replicas, 20)]
    cluster.end_slow_start("main")
    backup.request("POST", "/control/reset")
    afterwards = [replica.chat("main") for replica in in_turn(cluster.replicas, 20)]

    assert [answer.status for answer in served + ramping] == [200] * len(served + ramping)
    assert "backup-1" in {answer.headers["x-pllm-deployment"] for answer in ramping}
    assert [answer.headers["x-pllm-deployment"] for answer in afterwards] == ["main"] * 20
    assert backup.counts()["requests"] == 0


def test_outage_behind_a_fallback_costs_clients_nothing(cluster: Cluster) -> None:
    cluster.providers[0].behave(error_rate=1)
    answers, began_s = [], time.monotonic()
    for replica in in_turn(cluster.replicas, 20):
        answers.append(replica.chat("main"))
        cluster.wait_until_idle()
    attempts = [answer.headers["x-pllm-attempts"] for answer in answers]

    assert [answer.status for answer in answers] == [200] * 20
    assert attempts[:5] == ["2"] * 5
    assert set(attempts[5:]) <= {"1", "2"}
    # A probe after each cooldown, which a busy machine may live to see.
    assert attempts[5:].count("2") <= (time.monotonic() - began_s) / COOLDOWN_S
    assert cluster.replicas[0].stats()["should_shed_load"] is False
