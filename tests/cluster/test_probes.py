"""Half open: the cluster sends three probes, not three per replica."""

from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, in_turn

PROBES = 3


NO_PAUSE = {"x-pllm-timeout": "350ms"}  # no time for a second attempt, which could outlast the cooldown


def trip(cluster: Cluster, model: str) -> None:
    cluster.providers[0].behave(error_rate=1)
    for replica in in_turn(cluster.replicas, 5):
        assert replica.chat(model, headers=NO_PAUSE).status == 502
        cluster.wait_until_idle()
    assert cluster.state(model) == "open"
    cluster.providers[0].behave(error_rate=0)
    cluster.providers[0].request("POST", "/control/reset")


def wait_for_cooldown(cluster: Cluster, model: str) -> None:
    path = f"/v1/admin/explain?model={model}"
    wait_until(lambda: cluster.replicas[0].get(path).json()["candidates"][0]["verdict"] == "eligible")


def test_fifty_calls_at_once_make_three_probes(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    trip(cluster, "probed")
    provider.behave(stall_rate=1)
    wait_for_cooldown(cluster, "probed")
    calls = [replica.begin_chat("probed") for replica in in_turn(cluster.replicas, 50)]
    provider.wait_for(in_flight=PROBES)
    wait_until(lambda: sum(call.has_data() for call in calls) == 50 - PROBES)
    answers = [call.answer() for call in calls if call.has_data()]
    seen = provider.counts()["requests"]
    for call in calls:
        call.leave()

    assert seen == PROBES
    assert [answer.error["code"] for answer in answers] == ["no_healthy_deployment"] * 47
    assert {answer.error["attempts"][0]["outcome"] for answer in answers} == {"probing"}


def test_two_good_probes_close_it_for_every_replica(cluster: Cluster) -> None:
    trip(cluster, "probed")
    wait_for_cooldown(cluster, "probed")
    for replica in cluster.replicas[:2]:
        assert replica.chat("probed").status == 200
        cluster.wait_until_idle()

    assert [r.stats()["adaptive_breakers"]["probed"]["state"] for r in cluster.replicas] == ["CLOSED"] * 4
    assert cluster.transitions("probed") == [
        "closed>open consecutive_failures",
        "open>half_open cooldown_over",
        "half_open>closed probes_succeeded",
    ]


def test_one_bad_probe_opens_it_for_every_replica(cluster: Cluster) -> None:
    trip(cluster, "probed")
    cluster.providers[0].behave(error_rate=1)
    wait_for_cooldown(cluster, "probed")
    assert cluster.replicas[1].chat("probed", headers=NO_PAUSE).status == 502
    cluster.wait_until_idle()
    statuses = [replica.chat("probed", headers=NO_PAUSE).status for replica in cluster.replicas]

    assert sorted(statuses) == [502, 503, 503, 503]  # one is the last resort of this second
    assert cluster.providers[0].counts()["requests"] == 2
    assert cluster.deployment("probed")["open_reason"] == "probe_failed"


def test_probe_whose_client_leaves_gives_its_permit_back(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    trip(cluster, "probed")
    provider.behave(stall_rate=1)
    wait_for_cooldown(cluster, "probed")
    calls = [replica.begin_chat("probed") for replica in cluster.replicas[:PROBES]]
    provider.wait_for(in_flight=PROBES)
    for call in calls:
        call.leave()
    cluster.wait_until_idle()
    provider.behave(stall_rate=0)

    assert cluster.state("probed") == "half_open"
    assert [replica.chat("probed").status for replica in cluster.replicas[:2]] == [200, 200]


def test_result_of_a_call_from_before_the_outage_moves_nothing(cluster: Cluster) -> None:
    """It was granted in an older generation, so its success does not close what failed since."""
    provider = cluster.providers[0]
    provider.behave(latency_ms=1500)
    with cluster.replicas[3].begin_chat("dead") as early:
        provider.wait_for(in_flight=1)
        provider.behave(latency_ms=0, error_rate=1)
        for replica in in_turn(cluster.replicas, 5):
            replica.chat("dead")
        wait_until(lambda: cluster.state("dead") == "open")
        answer = early.answer()
    cluster.wait_until_idle()

    assert (answer.status, cluster.state("dead")) == (200, "open")
