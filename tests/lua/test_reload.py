"""Replicas agree on a configuration: all that live take it, or none."""

import json

from shared_state.calls.replies import agreed, published
from shared_state.snapshots import Agreed, Agreement, Stand
from tests.support.state import DEAD_AFTER_MS, START_MS, Cluster

OLD, NEW = "sha256:old", "sha256:new"
WITHIN_MS = 10_000
ORPHANED_MS, FIRST_MS = 3_000, 30_000


def means(digest: str) -> str:
    return f"f-{digest}"


def reply_of(cluster: Cluster, what: str, replica: str, stand: Stand, *more: str) -> list[object]:
    keys, known = cluster.keys, stand.known
    names = [keys.domain, keys.policy, keys.reload, keys.events, keys.replicas, keys.configuration]
    told = [str(DEAD_AFTER_MS), stand.digest, stand.fingerprint, str(stand.version), str(stand.registered_ms)]
    told += [str(known.version), known.digest, known.fingerprint, str(int(known.is_first)), str(stand.written)]
    reply: list[object] = cluster.run("reload", names, ["epoch-1", what, replica, *told, *more])
    return reply


def ask(cluster: Cluster, what: str, replica: str, stand: Stand, *more: str) -> Agreement:
    return agreed(reply_of(cluster, what, replica, stand, *more))


def stand(digest: str = OLD, known: Agreed | None = None, **more: int) -> Stand:
    """Of a replica with that file, that knows what is in force or does not."""
    known = known or Agreed()
    return Stand(digest, means(digest), **{"version": known.version} | more, known=known)


def hold(cluster: Cluster, replica: str, digest: str = OLD, known: Agreed | None = None, **more: int) -> Agreement:
    return ask(cluster, "hold", replica, stand(digest, known, **more))


def propose(cluster: Cluster, replica: str, digest: str = NEW) -> Agreement:
    return ask(cluster, "propose", replica, stand(), digest, means(digest), str(WITHIN_MS))


def answer(cluster: Cluster, replica: str, version: int, words: str = "ready") -> Agreement:
    return ask(cluster, "answer", replica, stand(), str(version), words)


def leave(cluster: Cluster, replica: str, digest: str = OLD) -> Agreement:
    cluster.beat(replica, gone=True)
    return ask(cluster, "leave", replica, stand(digest))


def living(cluster: Cluster, *replicas: str, digest: str = OLD) -> Agreed:
    """They run that file, and it is in force when they are the first."""
    cluster.configure("m-1")
    for replica in replicas:
        cluster.beat(replica)
        seen = hold(cluster, replica, digest)
    return seen.agreed


def beaten(cluster: Cluster, ms: int, *replicas: str) -> None:
    """Time in which only these live."""
    for _ in range(0, ms, 1000):
        cluster.advance(1000)
        for replica in replicas:
            cluster.beat(replica)


def old_release(cluster: Cluster, version: int, digest: str, *replicas: str) -> None:
    """What a release without fingerprints leaves: versions of its clock, and no field that it does not know."""
    cluster.cli.do("HSET", cluster.keys.reload, "version", version, "digest", digest)
    for replica in replicas:
        cluster.beat(replica)
        cluster.cli.do("HSET", cluster.keys.reload, f"runs:{replica}", f"{version} {digest}")


def reasons(cluster: Cluster) -> list[str]:
    return [event["reason"] for event in cluster.events("configuration")]


def test_first_file_of_an_empty_store_is_in_force_by_the_time_of_the_store(cluster: Cluster) -> None:
    first = hold(cluster, "r0", OLD)
    second = hold(cluster, "r1", NEW)

    assert (first.version, first.digest, first.fingerprint, first.phase) == (START_MS + 1, OLD, means(OLD), "")
    assert second.agreed == first.agreed
    assert second.replicas["r1"].fingerprint == means(NEW)


def test_configuration_is_committed_when_all_that_live_are_ready(cluster: Cluster) -> None:
    before = living(cluster, "r0", "r1", "r2")
    proposed = propose(cluster, "r0")
    second = answer(cluster, "r1", proposed.proposed_version)
    third = answer(cluster, "r2", proposed.proposed_version)

    assert [each.phase for each in (proposed, second, third)] == ["prepare", "prepare", "committed"]
    assert (second.version, second.digest) == (before.version, OLD)
    assert (third.version, third.digest) == (proposed.proposed_version, NEW)
    assert proposed.proposed_version > START_MS
    assert reasons(cluster) == ["reloaded by r0"]


def test_lonely_replica_decides_at_once(cluster: Cluster) -> None:
    living(cluster, "r0")

    assert propose(cluster, "r0").phase == "committed"


def test_one_refusal_refuses_for_all(cluster: Cluster) -> None:
    before = living(cluster, "r0", "r1", "r2")
    version = propose(cluster, "r0").proposed_version
    problems = json.dumps([{"path": "model_list[0].id", "message": "missing"}])
    refused = answer(cluster, "r2", version, problems)
    late = answer(cluster, "r1", version)

    assert (refused.phase, late.phase) == ("refused", "refused")
    assert late.agreed == before
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


def test_live_replica_without_an_answer_refuses_at_the_deadline(cluster: Cluster) -> None:
    in_force = living(cluster, "r0", "r1")
    propose(cluster, "r0")
    beaten(cluster, WITHIN_MS, "r0", "r1")
    before = hold(cluster, "r0")
    cluster.advance(1)
    after = hold(cluster, "r0")

    assert (before.phase, after.phase, after.agreed) == ("prepare", "refused", in_force)
    assert reasons(cluster) == ["no answer of r1"]


def test_replica_that_starts_meanwhile_must_answer_too(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    version = propose(cluster, "r0").proposed_version
    cluster.beat("r2")

    assert answer(cluster, "r1", version).phase == "prepare"
    assert answer(cluster, "r2", version).phase == "committed"


def test_answer_to_an_older_proposal_is_ignored(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    version = propose(cluster, "r0").proposed_version
    answer(cluster, "r1", version, "[]")
    again = propose(cluster, "r0").proposed_version

    assert again > version
    assert answer(cluster, "r1", version).phase == "prepare"


def test_versions_only_grow_whatever_a_clock_has_written(cluster: Cluster) -> None:
    """An earlier release has written policies by the clock of its process, which was an hour ahead."""
    living(cluster, "r0")
    cluster.configure("m-1", version=START_MS + 3_600_000)
    corrected = hold(cluster, "r0")

    assert (corrected.version, corrected.digest) == (START_MS + 3_600_001, OLD)
    assert propose(cluster, "r0").version == START_MS + 3_600_002


def test_policies_without_the_fingerprint_of_their_version_are_written_again(cluster: Cluster) -> None:
    in_force = living(cluster, "r0")
    cluster.configure("m-1", version=in_force.version)

    assert hold(cluster, "r0", OLD, in_force).version > in_force.version


def test_version_is_above_policies_of_other_domains(cluster: Cluster) -> None:
    living(cluster, "r0")

    assert hold(cluster, "r0", written=START_MS + 500).version == START_MS + 501


# -- a store that has lost it ------------------------------------------------------------------------------------


def test_store_that_has_forgotten_takes_what_was_agreed_on(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    committed = answer(cluster, "r1", propose(cluster, "r0").proposed_version).agreed
    cluster.flush()
    ahead = hold(cluster, "r0", NEW, committed)

    assert ahead.agreed == committed


def test_replica_that_is_first_after_a_flush_yields_to_what_was_in_force(cluster: Cluster) -> None:
    known = Agreed(START_MS - 50, OLD, means(OLD))
    cluster.flush()
    first = hold(cluster, "late", NEW)
    restored = hold(cluster, "r0", OLD, known)

    assert (first.digest, first.is_first) == (NEW, True)
    assert (restored.digest, restored.is_first) == (OLD, False)
    assert restored.version > first.version
    assert hold(cluster, "late", NEW, first.agreed).agreed == restored.agreed


def test_older_of_two_first_files_is_in_force(cluster: Cluster) -> None:
    """The store was flushed before anyone could say that the cluster was more than a minute old."""
    young = living(cluster, "r0")
    cluster.advance(100)
    cluster.flush()
    late = hold(cluster, "late", NEW).agreed
    restored = hold(cluster, "r0", OLD, young)
    again = hold(cluster, "late", NEW, late)

    assert young.is_first
    assert (restored.digest, again.digest) == (OLD, OLD)


def test_file_that_was_first_for_long_enough_is_not_taken_back(cluster: Cluster) -> None:
    asleep = Agreed(START_MS - 50, OLD, means(OLD))
    first = living(cluster, "r1", digest=NEW)
    beaten(cluster, FIRST_MS, "r1")

    assert hold(cluster, "r1", NEW, first).is_first is False
    assert hold(cluster, "asleep", OLD, asleep).digest == NEW


# -- who takes over ----------------------------------------------------------------------------------------------


def test_what_is_committed_stays_though_no_replica_has_taken_it_yet(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    version = propose(cluster, "r0").proposed_version
    answer(cluster, "r1", version)
    late = [hold(cluster, replica) for replica in ("r0", "r1", "r0")]

    assert [(each.version, each.digest) for each in late] == [(version, NEW)] * 3


def test_file_taken_without_the_others_is_in_force_at_once(cluster: Cluster) -> None:
    before = living(cluster, "r0", "r1")
    taken = ask(cluster, "take", "r2", stand(NEW), NEW, means(NEW))

    assert (taken.digest, taken.fingerprint, taken.version > before.version) == (NEW, means(NEW), True)
    assert reasons(cluster) == ["taken from r2"]


def test_no_file_is_taken_while_another_one_is_proposed(cluster: Cluster) -> None:
    before = living(cluster, "r0", "r1")
    propose(cluster, "r0")

    assert ask(cluster, "take", "r2", stand(NEW), NEW, means(NEW)).agreed == before


def test_other_file_takes_over_at_once_when_the_last_replica_of_the_old_one_leaves(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    living(cluster, "r2", digest=NEW)
    still = leave(cluster, "r0")
    over = leave(cluster, "r1")

    assert (still.digest, over.digest, over.fingerprint) == (OLD, NEW, means(NEW))
    assert reasons(cluster) == ["inherited by r2"]


def test_replica_that_starts_after_all_have_left_takes_over_at_once(cluster: Cluster) -> None:
    living(cluster, "r0")
    leave(cluster, "r0")

    assert hold(cluster, "r1", NEW).digest == NEW


def test_dead_replicas_keep_their_file_in_force_until_they_are_dead_beyond_doubt(cluster: Cluster) -> None:
    living(cluster, "r0")
    living(cluster, "r1", digest=NEW)
    beaten(cluster, DEAD_AFTER_MS, "r1")
    alive = hold(cluster, "r1", NEW)
    cluster.advance(1)
    silent = hold(cluster, "r1", NEW)
    cluster.advance(ORPHANED_MS)
    over = hold(cluster, "r1", NEW)

    assert (alive.digest, silent.digest, over.digest) == (OLD, OLD, NEW)


def test_replicas_that_a_store_has_hidden_keep_their_file_in_force(cluster: Cluster) -> None:
    """Nothing was heard of anyone for a minute: whose call comes first says nothing about the others."""
    living(cluster, "r0")
    living(cluster, "r1", digest=NEW)
    cluster.advance(60_000)
    first = hold(cluster, "r1", NEW)
    cluster.advance(ORPHANED_MS - 1)
    hold(cluster, "r0")
    cluster.advance(1)

    assert (first.digest, hold(cluster, "r1", NEW).digest) == (OLD, OLD)


def test_file_of_the_replica_that_registered_last_takes_over(cluster: Cluster) -> None:
    living(cluster, "r0")
    for replica, digest in (("z", "sha256:second"), ("a", "sha256:third")):
        cluster.advance(10)
        living(cluster, replica, digest=digest)

    assert leave(cluster, "r0").digest == "sha256:third"


def test_when_a_replica_registered_outlives_a_flush(cluster: Cluster) -> None:
    known = living(cluster, "r0")
    registered = {}
    for replica, digest in (("z", "sha256:second"), ("a", "sha256:third")):
        cluster.advance(10)
        cluster.beat(replica)
        registered[replica] = hold(cluster, replica, digest, known).registered_ms
    cluster.flush()
    for replica in ("a", "r0", "z"):
        cluster.beat(replica)
    hold(cluster, "a", "sha256:third", known, registered_ms=registered["a"])
    cluster.advance(10)
    hold(cluster, "z", "sha256:second", known, registered_ms=registered["z"])
    hold(cluster, "r0", OLD, known)

    assert leave(cluster, "r0").digest == "sha256:third"


def test_file_that_means_the_same_changes_only_the_digest(cluster: Cluster) -> None:
    before = living(cluster, "r0")
    other = Stand("sha256:comment", means(OLD))
    cluster.beat("r1")
    ask(cluster, "hold", "r1", other)
    after = leave(cluster, "r0")

    assert (after.version, after.digest, after.fingerprint) == (before.version, "sha256:comment", means(OLD))


def test_file_of_a_rolling_restart_is_in_force_when_all_run_it(cluster: Cluster) -> None:
    living(cluster, "r0", "r1")
    leave(cluster, "r0")
    half = living(cluster, "r0-again", digest=NEW)
    leave(cluster, "r1")

    assert (half.digest, hold(cluster, "r0-again", NEW).digest) == (OLD, NEW)


# -- next to an earlier release ----------------------------------------------------------------------------------


def test_same_file_of_an_earlier_release_gets_its_fingerprint(cluster: Cluster) -> None:
    old_release(cluster, START_MS - 100, OLD, "r0")
    seen = hold(cluster, "r1", OLD)

    assert (seen.digest, seen.fingerprint) == (OLD, means(OLD))
    assert hold(cluster, "r1", OLD, seen.agreed).agreed == seen.agreed


def test_replica_that_starts_next_to_an_earlier_release_rules_as_it_did_there(cluster: Cluster) -> None:
    old_release(cluster, START_MS - 100, OLD, "r0")

    assert hold(cluster, "r1", NEW).digest == NEW


def test_reload_that_an_earlier_release_committed_is_not_taken_back(cluster: Cluster) -> None:
    known = living(cluster, "r0")
    old_release(cluster, known.version + 5, NEW, "r1")
    before = hold(cluster, "r0", OLD, known)
    after = hold(cluster, "r0", NEW, known)
    under_way = hold(cluster, "r0", OLD, known)

    assert (before.digest, before.fingerprint) == (NEW, "")
    assert (after.digest, after.fingerprint, after.is_first) == (NEW, means(NEW), False)
    assert under_way.agreed == after.agreed


# -- what is published -------------------------------------------------------------------------------------------


def test_configuration_in_force_can_be_read_by_replicas_with_another_file(cluster: Cluster) -> None:
    seen = hold(cluster, "r0")
    told = ask(cluster, "publish", "r0", stand(OLD, seen.agreed), str(seen.version), '{"router": {}}')
    read = reply_of(cluster, "read", "r1", stand(NEW))

    assert (seen.is_published, told.is_published) == (False, True)
    assert published(read) == b'{"router": {}}'


def test_configuration_that_is_no_longer_in_force_is_not_published(cluster: Cluster) -> None:
    before = hold(cluster, "r0")
    ask(cluster, "publish", "r0", stand(OLD, before.agreed), str(before.version), "{}")
    ask(cluster, "take", "r1", stand(NEW), NEW, means(NEW))
    late = ask(cluster, "publish", "r0", stand(OLD, before.agreed), str(before.version), "{}")

    assert late.is_published is False
    assert published(reply_of(cluster, "read", "r0", stand())) == b""
