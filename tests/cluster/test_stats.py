"""One truth: every replica tells the same."""

from typing import Any

from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, in_turn


def test_idle_replicas_show_identical_stats(cluster: Cluster) -> None:
    cluster.providers[0].behave(fail_first=2, latency_ms=5)
    for replica in in_turn(cluster.replicas, 40):
        replica.chat("twin")
    cluster.wait_until_idle()
    found: list[list[dict[str, Any]]] = []

    def is_still() -> bool:
        """The window slides, so a second may pass between two looks: only looks that agree with themselves count."""
        looks = [replica.stats() for replica in (*cluster.replicas, cluster.replicas[0])]
        found.append(looks)
        return looks[0] == looks[-1]

    wait_until(is_still)
    looks = found[-1]
    assert looks[0] == looks[1] == looks[2] == looks[3]
    assert looks[0]["replicas"] == 4
    assert sum(d["requests"] for d in looks[0]["load_balancer"]["twin"]["deployments"].values()) == 42


def test_what_one_replica_learned_the_others_know_at_once(cluster: Cluster) -> None:
    cluster.providers[0].behave(latency_ms=150)
    cluster.replicas[0].chat("dead")
    cluster.wait_until_idle()
    shown = [replica.stats()["load_balancer"]["dead"]["p95_latency"] for replica in cluster.replicas]

    assert len(set(shown)) == 1
    assert shown[0] != "0ms"


def test_breaker_moved_by_hand_at_one_replica_moves_for_all(cluster: Cluster) -> None:
    cluster.replicas[2].force("dead", "open")

    assert [replica.chat("dead").status for replica in cluster.replicas] == [503] * 4
    cluster.replicas[1].force("dead", "close")
    assert [replica.chat("dead").status for replica in cluster.replicas] == [200] * 4
