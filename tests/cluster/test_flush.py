"""The store forgets everything while the cluster runs: nobody notices but the statistics."""

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import PATIENT, fresh
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, deployment, in_turn, running_cluster, running_store


@pytest.fixture(scope="module")
def forgetful_cluster(provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """On a store of its own, so that no other test loses anything."""
    provider = provider_processes[0]
    models = [deployment("only", provider, "only", rpm=100_000), deployment("other", provider, "other")]
    with (
        running_store() as store,
        running_cluster(
            store, provider_processes, models, replicas=2, router={"latency_threshold": PATIENT}
        ) as running,
    ):
        yield running


@pytest.fixture
def forgetful(forgetful_cluster: Cluster) -> Iterator[Cluster]:
    wait_until(lambda: forgetful_cluster.deployments() == ["only", "other"])
    yield from fresh(forgetful_cluster)


@pytest.mark.parametrize("command", ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH"])
def test_calls_right_after_a_flush_are_answered(forgetful: Cluster, command: str) -> None:
    statuses = []
    for replica in in_turn(forgetful.replicas, 10):
        forgetful.redis.execute_command(*command.split())
        statuses.append(replica.chat("only").status)
        forgetful.wait_until_idle()

    assert statuses == [200] * 10


def test_newest_configuration_comes_back_without_a_call(forgetful: Cluster) -> None:
    """Whichever replica puts its own back first."""
    forgetful.wait_for_beats(3)
    before = forgetful.redis.get(forgetful.key("policy"))
    forgetful.redis.flushall()
    wait_until(lambda: forgetful.redis.get(forgetful.key("policy")) == before)

    assert forgetful.deployments() == ["only", "other"]
    assert forgetful.deployment("only")["rpm"] == "100000"
    assert [replica.stats()["load_balancer"].keys() for replica in forgetful.replicas] == [{"only", "other"}] * 2


def test_flush_in_the_middle_of_a_burst_fails_no_call(forgetful: Cluster) -> None:
    statuses = []
    for sent_before in range(0, 20, 3):
        calls = []
        for number, replica in enumerate(in_turn(forgetful.replicas, 20)):
            if number == sent_before:
                forgetful.redis.flushall()
            calls.append(replica.begin_chat("only", stream=True))
        statuses += [call.answer().status for call in calls]
        for call in calls:
            call.leave()

    assert set(statuses) == {200}


def test_stream_in_flight_survives_a_flush(forgetful: Cluster) -> None:
    forgetful.providers[0].behave(chunks=10, chunk_gap_ms=30)
    with forgetful.replicas[0].begin_chat("only", stream=True) as call:
        call.read_until(b"Hello")
        forgetful.redis.flushall()
        rest = call.read_until(b"[DONE]")

    assert b'"error"' not in rest


def test_stats_right_after_a_flush_are_complete(forgetful: Cluster) -> None:
    forgetful.redis.flushall()
    stats = forgetful.replicas[0].stats()

    assert stats["load_balancer"].keys() == {"only", "other"}
    assert stats["should_shed_load"] is False
