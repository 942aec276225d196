"""Replicas agree on a configuration: all that live take it, or none."""

import json

from shared_state.replies import agreed
from shared_state.snapshots import Agreement, Running
from tests.support.state import DEAD_AFTER_MS, START_MS, Cluster

OLD, NEW = "sha256:old", "sha256:new"
WITHIN_MS = 10_000


def ask(cluster: Cluster, what: str, replica: str, running: Running, *more: str) -> Agreement:
    keys = cluster.keys
    names = [keys.domain, keys.policy, keys.reload, keys.events, keys.replicas]
    told = [str(running.version), running.digest, str(int(running.has_agreed)), str(DEAD_AFTER_MS)]
    return agreed(cluster.run("reload", names, ["epoch-1", what, replica, *told, *more]))


def old(version: int = 100) -> Running:
    return Running(version, OLD, True)


def hold(cluster: Cluster, replica: str, running: Running) -> Agreement:
    return ask(cluster, "hold", replica, running)


def propose(cluster: Cluster, replica: str, digest: str = NEW) -> Agreement:
    return ask(cluster, "propose", replica, old(), digest, str(WITHIN_MS))


def answer(cluster: Cluster, replica: str, version: int, words: str = "ready") -> Agreement:
    return ask(cluster, "answer", replica, old(), str(version), words)


def living(cluster: Cluster, *replicas: str) -> None:
    cluster.configure("m-1")
    for replica in replicas:
        cluster.beat(replica)
        hold(cluster, replica, old())


def reasons(cluster: Cluster) -> list[str]:
    return [event["reason"] for event in cluster.events("configuration")]


def test_what_the_first_replica_runs_is_in_force(cluster: Cluster) -> None:
    first = hold(cluster, "r0", Running(7, OLD))
    second = hold(cluster, "r1", Running(9, OLD))

    assert (first.version, first.digest, first.phase) == (7, OLD, "")
    assert (second.version, second.digest) == (7, OLD)


def test_configuration_is_committed_when_all_that_live_are_ready(cluster: Cluster) -> None:
    living(cluster, "r0", "r1", "r2")
    proposed = propose(cluster, "r0")
    second = answer(cluster, "r1", proposed.proposed_version)
    third = answer(cluster, "r2", proposed.proposed_version)

    assert [each.phase for each in (proposed, second, third)] == ["prepare", "prepare", "committed"]
    assert (second.version, second.digest) == (100, OLD)
    assert (third.version, third.digest) == (proposed.proposed_version, NEW)
    assert proposed.proposed_version > START_MS
    assert reasons(cluster) == ["reloaded by r0"]


def test_lonely_replica_decides_at_once(cluster: Cluster) -> None:
    living(cluster, "r0")

    assert propose(cluster, "r0").phase == "committed"


def test_one_refusal_refuses_for_all(cluster: Cluster) -> None:
    living(cluster, "r0", "r1", "r2")
    version = propose(cluster, "r0").proposed_version
    problems = json.dumps([{"path": "model_list[0].id", "message": "missing"}])
    refused = answer(cluster, "r2", version, problems)
    late = answer(cluster, "r1", version)

    assert (refused.phase, late.phase) == ("refused", "refused")
    assert (late.version, late.digest) == (100, OLD)
    assert refused.replicas["r2"].answer == problems
    assert reasons(cluster) == ["refused by r2"]


def test_second_proposal_waits_for_the_first(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    first = propose(cluster, "r0")
    second = propose(cluster, "r1", "sha256:third")

    assert (second.proposed_by, second.proposed_digest) == ("r0", NEW)
    assert second.proposed_version == first.proposed_version


def test_replica_that_dies_meanwhile_does_not_block(cluster: Cluster) -> None:
    living(cluster, "r0", "r1", "r2")
    version = propose(cluster, "r0").proposed_version
    cluster.advance(DEAD_AFTER_MS + 1)
    cluster.beat("r0")
    cluster.beat("r1")
    decided = answer(cluster, "r1", version)

    assert (decided.phase, set(decided.replicas)) == ("committed", {"r0", "r1"})


def test_replica_that_lives_and_says_nothing_refuses_when_the_time_is_over(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    propose(cluster, "r0")
    for _ in range(WITHIN_MS // 1000):
        cluster.advance(1000)
        cluster.beat("r0")
        cluster.beat("r1")
    before = hold(cluster, "r0", old())
    cluster.advance(1)
    after = hold(cluster, "r0", old())

    assert (before.phase, after.phase, after.version) == ("prepare", "refused", 100)
    assert reasons(cluster) == ["no answer of r1"]


def test_replica_that_starts_meanwhile_is_asked_too(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    version = propose(cluster, "r0").proposed_version
    cluster.beat("r2")

    assert answer(cluster, "r1", version).phase == "prepare"
    assert answer(cluster, "r2", version).phase == "committed"


def test_answer_to_an_older_proposal_says_nothing(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    version = propose(cluster, "r0").proposed_version
    answer(cluster, "r1", version, "[]")
    again = propose(cluster, "r0").proposed_version

    assert again > version
    assert answer(cluster, "r1", version).phase == "prepare"


def test_versions_only_grow_whatever_the_clocks_say(cluster: Cluster) -> None:
    cluster.configure("m-1", version=START_MS + 3_600_000)
    cluster.beat("r0")
    hold(cluster, "r0", Running(START_MS + 3_600_000, OLD))

    assert propose(cluster, "r0").proposed_version == START_MS + 3_600_001


def test_store_that_has_forgotten_takes_what_was_agreed_on(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    version = propose(cluster, "r0").proposed_version
    answer(cluster, "r1", version)
    cluster.flush()
    behind = hold(cluster, "r1", old())
    ahead = hold(cluster, "r0", Running(version, NEW, True))

    assert (behind.digest, ahead.digest, ahead.version) == (OLD, NEW, version)


def test_what_is_committed_stays_though_nobody_has_taken_it_yet(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    version = propose(cluster, "r0").proposed_version
    answer(cluster, "r1", version)
    late = [hold(cluster, replica, old()) for replica in ("r0", "r1", "r0")]

    assert [(each.version, each.digest) for each in late] == [(version, NEW)] * 3


def test_file_of_a_rolling_restart_is_in_force_when_all_run_it(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    half = hold(cluster, "r0", Running(300, NEW))
    whole = hold(cluster, "r1", Running(200, NEW))

    assert (half.version, half.digest) == (100, OLD)
    assert (whole.version, whole.digest) == (300, NEW)
