"""A deployment's requests per minute are counted once for the cluster."""

from tests.support.cluster import Cluster, in_turn


def test_ten_a_minute_are_ten_for_all_replicas_together(cluster: Cluster) -> None:
    """All at once, and well within the six seconds after which the eleventh is due."""
    calls = [replica.begin_chat("limited") for replica in in_turn(cluster.replicas, 40)]
    answers = [call.answer() for call in calls]
    for call in calls:
        call.leave()
    refused = [answer for answer in answers if answer.status != 200]

    assert len(refused) == 30
    assert cluster.providers[0].counts()["requests"] == 10
    assert {(answer.status, answer.error["code"]) for answer in refused} == {(429, "rate_limit_exceeded")}
    assert all(1 <= int(answer.headers["retry-after"]) <= 6 for answer in refused)
