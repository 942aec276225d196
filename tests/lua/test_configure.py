"""configure: policies of the configuration in force, and of no other."""

import json
from typing import Any

from tests.support.state import Cluster, deployment_policy


def policy(cluster: Cluster) -> dict[str, Any]:
    text = cluster.cli.do("GET", cluster.keys.policy)
    fields: dict[str, Any] = json.loads(text)
    return fields


def test_deployment_starts_closed_and_healthy(cluster: Cluster) -> None:
    cluster.configure("a")
    row = cluster.snapshot().deployments[0]

    assert (row.state, row.generation, row.health_score, row.limit) == ("closed", 0, 98.8, 200)


def test_newer_version_replaces(cluster: Cluster) -> None:
    applied = cluster.configure(deployment_policy("a", limit=5), version=1, max_active=10)
    applied += cluster.configure(deployment_policy("a", limit=7), version=2, max_active=20)

    assert applied == [True, True]
    assert (cluster.deployment("a")["limit"], policy(cluster)["max_active"]) == ("7", 20)


def test_older_version_cannot_take_it_back(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=7), version=2, max_active=20)
    before = policy(cluster)
    applied = cluster.configure(deployment_policy("a", limit=5), version=1, max_active=10)

    assert applied == [False]
    assert (cluster.deployment("a")["limit"], policy(cluster)) == ("7", before)


def test_same_version_again_changes_nothing(cluster: Cluster) -> None:
    cluster.configure("a", version=1)
    before = cluster.deployment("a")

    assert cluster.configure("a", version=1) == [False]
    assert cluster.deployment("a") == before


def test_older_version_adds_no_deployment(cluster: Cluster) -> None:
    cluster.configure("a", version=2)

    assert cluster.configure("b", version=1) == [False]
    assert cluster.deployment("b") == {}


def test_version_has_one_fingerprint(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=7), version=2, fingerprint="f-1")
    applied = cluster.configure(deployment_policy("a", limit=5), deployment_policy("b"), version=2, fingerprint="f-2")
    completed = cluster.configure("b", version=2, fingerprint="f-1")

    assert (applied, completed) == ([False, False], [True])
    assert (cluster.deployment("a")["limit"], policy(cluster)["fingerprint"]) == ("7", "f-1")


def test_deployment_that_a_clock_ahead_has_written_is_of_this_version_again(cluster: Cluster) -> None:
    """Left by an earlier release, whose replicas wrote by their own clocks."""
    cluster.configure("b", version=1)
    cluster.cli.do("HSET", cluster.keys.deployment("a"), "config_version", 99, "limit", 1)

    assert cluster.configure(deployment_policy("a", limit=7), version=2) == [True]
    assert (cluster.deployment("a")["limit"], cluster.deployment("a")["config_version"]) == ("7", "2")


def test_empty_value_takes_a_setting_back(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", rpm=1))
    cluster.configure("a")

    assert "rpm" not in cluster.deployment("a")


def test_new_policy_leaves_what_was_learned(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    before = cluster.deployment("a")
    cluster.configure(deployment_policy("a", limit=3))
    after = cluster.deployment("a")

    assert after == before | {"limit": "3", "config_version": "2"}


def test_new_limit_holds_for_requests_that_are_active_already(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(5):
        cluster.granted("a")
    cluster.configure(deployment_policy("a", limit=5))

    assert cluster.rejected("a").verdicts == ("full",)


def test_new_threshold_holds_at_once(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure")
    cluster.configure("a", failure_threshold=2)
    cluster.call("a", "failure")

    assert cluster.state("a") == "open"


def test_each_change_of_a_deployment_is_an_event(cluster: Cluster) -> None:
    for version, limit in ((1, 10), (2, 20), (2, 20), (1, 10), (3, 20)):
        cluster.configure(deployment_policy("a", limit=limit), version=version)
    entries = cluster.cli.do("XLEN", cluster.keys.events)

    assert entries == 2


def test_policy_reads_as_words(cluster: Cluster) -> None:
    cluster.configure("a", max_active=123)

    assert policy(cluster)["max_active"] == 123
    assert policy(cluster)["version"] == 1
