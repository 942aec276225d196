"""What one deployment costs the store when it is idle again: a gateway has hundreds of them."""

from typing import cast

from shared_state.policies import DeploymentPolicy
from tests.support.state import Cluster, deployment_policy

FULL = deployment_policy(
    "azure-gpt-4o-west-europe",
    priority=100,
    weight=2.5,
    price=12.5,
    rpm=500,
    cooldown_ms=30_000,
    latency_threshold_ms=2_500,
)


def traffic(cluster: Cluster, policy: DeploymentPolicy) -> None:
    """Six slices of calls of every kind, a trip, a recovery and traffic again."""
    name = policy.id
    cluster.configure(policy)
    for _ in range(3):
        for _ in range(7):
            permits = [cluster.granted(name, stream=True, strategy="weighted") for _ in range(20)]
            cluster.beat(answered=tuple(permits))
            for k, permit in enumerate(permits):
                cluster.settle(permit, latency_ms=30 + 97 * k, output_tokens=400)
            cluster.advance(10_000)
        cluster.call(name, "throttled", retry_after_ms=100)
        cluster.advance(100)
        cluster.call(name, "timeout", latency_ms=60_000, times=3)
        cluster.call(name, latency_ms=131_000)
        cluster.trip(name)
        cluster.recover(name)
    cluster.call(name, "failure", times=4)
    cluster.call(name, latency_ms=9999, times=2)
    for _ in range(6):
        cluster.call(name, latency_ms=1234, times=10)
        cluster.advance(10_000)
    cluster.beat()


def memory(cluster: Cluster, key: bytes) -> int:
    return cast(int, cluster.cli.do("MEMORY", "USAGE", key) or 0)


def test_idle_deployment_costs_at_most_fifteen_hundred_bytes(cluster: Cluster) -> None:
    traffic(cluster, FULL)

    sizes = {key: memory(cluster, key) for key in cluster.keys.candidate(FULL.id)}
    assert sum(sizes.values()) <= 1500, sizes


def test_every_hash_stays_compact(cluster: Cluster) -> None:
    traffic(cluster, FULL)
    names = list(cluster.dump())
    hashes = [name for name in names if cluster.cli.do("TYPE", name) == b"hash"]

    assert {cluster.cli.do("OBJECT", "ENCODING", name) for name in hashes} == {b"listpack"}
    assert len(hashes) == 3


def test_leases_of_a_busy_deployment_stay_compact(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(100):
        cluster.granted("a")

    assert cluster.cli.do("OBJECT", "ENCODING", cluster.keys.deployment_leases("a")) == b"listpack"


def test_idle_deployment_has_no_leases_key(cluster: Cluster) -> None:
    traffic(cluster, FULL)

    assert cluster.cli.do("EXISTS", cluster.keys.deployment_leases(FULL.id)) == 0


def test_open_reason_of_any_length_keeps_the_hash_compact(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.force("a", "open", reason="because " * 100)

    assert cluster.cli.do("OBJECT", "ENCODING", cluster.keys.deployment("a")) == b"listpack"
