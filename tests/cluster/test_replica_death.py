"""A replica that is killed: its leases go, the others serve on, and it may come back under its name."""

import time
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import PATIENT, fresh
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster, running_store

CALLS = 6


@pytest.fixture(scope="module")
def mortal_cluster(provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Three replicas on a store of their own, so that no other test sees one die."""
    provider = provider_processes[0]
    models = [deployment("only", provider, "only"), deployment("other", provider, "other")]
    with (
        running_store() as store,
        running_cluster(
            store, provider_processes, models, replicas=3, router={"latency_threshold": PATIENT}
        ) as running,
    ):
        yield running


@pytest.fixture
def mortal(mortal_cluster: Cluster) -> Iterator[Cluster]:
    for replica in mortal_cluster.replicas:
        if replica.process.poll() is not None:
            mortal_cluster.restart(replica)
    yield from fresh(mortal_cluster)


def silence_ms(cluster: Cluster, replica: ReplicaProcess) -> float:
    """Since the replica's last heartbeat, by the store's clock."""
    beats = dict(cluster.redis.zrange(cluster.key("replicas"), 0, -1, withscores=True))
    seconds, microseconds = cluster.redis.time()
    last_ms = max(float(at_ms) for life, at_ms in beats.items() if life.startswith(f"{replica.name}-"))
    return float(seconds) * 1000 + float(microseconds) / 1000 - last_ms


def test_leases_of_a_killed_replica_are_gone_within_six_seconds_and_only_those(mortal: Cluster) -> None:
    doomed, survivor, _ = mortal.replicas
    provider = mortal.providers[0]
    provider.behave(stall_rate=1)
    lost = [doomed.begin_chat("only", stream=bool(number % 2)) for number in range(CALLS)]
    kept = [survivor.begin_chat("other")]
    provider.wait_for(in_flight=CALLS + 1)
    # Between two beats: right after one the bound is met too, but with nothing to spare for a busy machine.
    wait_until(lambda: silence_ms(mortal, doomed) < 100)
    wait_until(lambda: silence_ms(mortal, doomed) >= 500)
    doomed.kill()
    killed_s = time.monotonic()
    before = mortal.leases()
    mortal.wait_for_leases(1)
    took_s = time.monotonic() - killed_s
    shown = survivor.stats()
    for call in (*lost, *kept):
        call.leave()
    mortal.wait_until_idle()

    assert before == CALLS + 1
    assert took_s <= 6
    assert shown["load_balancer"]["only"]["active_requests"] == 0
    assert (shown["active_requests"], shown["replicas"]) == (1, 2)
    provider.wait_for(aborted=CALLS + 1)


def test_others_serve_on_while_a_replica_is_dead(mortal: Cluster) -> None:
    mortal.replicas[0].kill()
    answers = [replica.chat("only").status for replica in mortal.replicas[1:] for _ in range(10)]

    assert answers == [200] * 20


def test_replica_that_comes_back_at_once_keeps_its_own_leases_and_loses_those_of_its_former_life(
    mortal: Cluster,
) -> None:
    """It has the name of the dead one and beats at once, so by that name the dead one would never be missed."""
    doomed = mortal.replicas[0]
    provider = mortal.providers[0]
    provider.behave(stall_rate=1)
    lost = [doomed.begin_chat("only") for _ in range(CALLS)]
    provider.wait_for(in_flight=CALLS)
    doomed.kill()
    again = mortal.restart(doomed)
    with again.begin_chat("only"):
        mortal.wait_for_leases(CALLS + 1)
        mortal.wait_for_leases(1)
        shown = again.stats()
    for call in lost:
        call.leave()

    assert shown["active_requests"] == 1
