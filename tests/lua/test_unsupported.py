"""Kinds of call whose endpoint a deployment does not have: it gets none of them for a while, and all others go on."""

import pytest

from shared_state.records import CALL_KINDS, Permit
from tests.lua.test_block import ask_block, block, settle_block, tokens_of
from tests.support.state import Cluster, deployment_policy

RESTS_MS = 5_000  # the first time


def refuse(cluster: Cluster, deployment_id: str = "a", kind: str = "embeddings") -> None:
    """The provider has no such endpoint."""
    cluster.settle(cluster.granted(deployment_id, kind=kind, priority=0), "unsupported")


@pytest.fixture
def marked(cluster: Cluster) -> Cluster:
    """Two deployments, the first of which has just refused embeddings."""
    cluster.configure("a", "b")
    refuse(cluster)
    return cluster


def test_deployment_is_no_candidate_for_the_kind_that_it_does_not_have(marked: Cluster) -> None:
    assert {marked.granted("a", "b", kind="embeddings").deployment_id for _ in range(20)} == {"b"}
    assert marked.granted(("a", 0), ("b", 1), kind="embeddings").deployment_id == "b"


def test_where_no_candidate_has_the_endpoint_the_request_is_refused_for_as_long(marked: Cluster) -> None:
    marked.advance(1_000)
    refused = marked.rejected("a", kind="embeddings")

    assert (refused.code, refused.verdicts) == ("none", ("unsupported",))
    assert refused.retry_after_ms == RESTS_MS - 1_000


def test_a_longer_wait_for_another_candidate_is_the_one_that_helps(marked: Cluster) -> None:
    marked.settle(marked.granted("b"), "throttled", retry_after_ms=90_000)
    refused = marked.rejected("a", "b", kind="embeddings")

    assert refused.verdicts == ("unsupported", "cooling")
    assert refused.retry_after_ms == 90_000


@pytest.mark.parametrize("kind", ["chat", "completions", "messages", "responses", ""])
def test_other_kinds_go_on(marked: Cluster, kind: str) -> None:
    assert marked.granted("a", kind=kind).deployment_id == "a"


def test_endpoint_that_is_missing_again_and_again_is_tried_once_a_minute(cluster: Cluster) -> None:
    cluster.configure("a")
    rests = []
    for _ in range(6):
        refuse(cluster)
        rests.append(cluster.rejected("a", kind="embeddings").retry_after_ms)
        cluster.advance(rests[-1])

    assert rests == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]


def test_calls_under_way_that_find_it_missing_as_well_extend_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = [cluster.granted("a", kind="embeddings") for _ in range(3)]
    for permit in permits:
        cluster.settle(permit, "unsupported")

    assert cluster.rejected("a", kind="embeddings").retry_after_ms == RESTS_MS


def test_endpoint_that_has_served_begins_anew_after_three_in_a_row(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(2):
        refuse(cluster)
        cluster.advance(20_000)
    cluster.settle(cluster.granted("a", kind="embeddings"))
    refuse(cluster)
    refuse(cluster)
    assert cluster.granted("a", kind="embeddings").deployment_id == "a"

    refuse(cluster)
    assert cluster.rejected("a", kind="embeddings").retry_after_ms == RESTS_MS


def test_404s_of_one_tenant_between_the_answers_of_others_mark_nothing(cluster: Cluster) -> None:
    """A model, an image or a file that only its requests name, in words that nobody knows."""
    cluster.configure("a")
    for _ in range(10):
        cluster.settle(cluster.granted("a", kind="chat"))
        refuse(cluster, kind="chat")

    assert cluster.granted("a", kind="chat").deployment_id == "a"


def test_three_in_a_row_count_for_their_kind_only(cluster: Cluster) -> None:
    cluster.configure("a")
    for kind in ("chat", "embeddings"):
        cluster.settle(cluster.granted("a", kind=kind))
    refuse(cluster, kind="chat")
    refuse(cluster, kind="embeddings")
    refuse(cluster, kind="chat")

    assert cluster.granted("a", kind="chat").deployment_id == "a"
    assert cluster.granted("a", kind="embeddings").deployment_id == "a"


def test_mark_ends_by_itself(marked: Cluster) -> None:
    marked.advance(RESTS_MS - 1)
    before = marked.rejected("a", kind="embeddings").retry_after_ms
    marked.advance(1)

    assert before == 1
    assert marked.granted("a", kind="embeddings").deployment_id == "a"
    assert marked.snapshot().deployments[0].unsupported == ()


def test_success_of_that_kind_clears_the_mark(cluster: Cluster) -> None:
    cluster.configure("a")
    early = cluster.granted("a", kind="embeddings")
    refuse(cluster)
    cluster.settle(early, "success")

    assert cluster.granted("a", kind="embeddings").deployment_id == "a"


def test_success_of_another_kind_does_not(marked: Cluster) -> None:
    marked.settle(marked.granted("a", kind="chat"), "success")

    assert marked.rejected("a", kind="embeddings").verdicts == ("unsupported",)


@pytest.mark.parametrize("outcome", ["failure", "timeout", "throttled", "overloaded", "client_error", "cancelled"])
def test_other_outcomes_mark_nothing(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    cluster.settle(cluster.granted("a", kind="embeddings"), outcome)

    assert cluster.snapshot().deployments[0].unsupported == ()


def test_unsupported_is_neutral(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", concurrency="adaptive"), failure_threshold=2)
    for kind in CALL_KINDS:
        refuse(cluster, kind=kind)
    row, domain = cluster.snapshot().deployments[0], cluster.snapshot()

    assert (row.state, row.requests, row.failures, row.consecutive_failures, row.limit) == ("closed", 0, 0, 0, 200)
    assert (domain.requests, domain.failures) == (0, 0)


def test_unsupported_probe_returns_its_permit(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    refuse(cluster)

    assert cluster.state("a") == "half_open"
    assert cluster.snapshot().deployments[0].probes_issued == 0


def test_mark_outranks_the_breaker(marked: Cluster) -> None:
    marked.trip("a")

    assert marked.rejected("a", kind="embeddings").verdicts == ("unsupported",)
    assert marked.rejected("a", kind="chat").verdicts == ("open",)


@pytest.mark.parametrize("kind", ["", "images", "chat completions", " "])
def test_unknown_kinds_are_never_written(cluster: Cluster, kind: str) -> None:
    cluster.configure("a")
    refuse(cluster, kind=kind)

    assert not [field for field in cluster.deployment("a") if field.startswith("unsupported")]


def test_hash_with_every_mark_stays_compact(cluster: Cluster) -> None:
    cluster.configure("a")
    for kind in CALL_KINDS:
        refuse(cluster, kind=kind)

    assert cluster.cli.do("OBJECT", "ENCODING", cluster.keys.deployment("a")) == b"listpack"
    assert cluster.snapshot().deployments[0].unsupported == CALL_KINDS


def test_reset_clears_every_mark(cluster: Cluster) -> None:
    cluster.configure("a")
    for kind in CALL_KINDS:
        refuse(cluster, kind=kind)
    cluster.force("a", "reset")

    assert cluster.snapshot().deployments[0].unsupported == ()
    assert {cluster.granted("a", kind=kind).deployment_id for kind in CALL_KINDS} == {"a"}


@pytest.mark.parametrize("action", ["open", "close"])
def test_other_actions_keep_them(marked: Cluster, action: str) -> None:
    marked.force("a", action)

    assert marked.snapshot().deployments[0].unsupported == ("embeddings",)


def test_new_configuration_clears_them_because_addresses_may_have_changed(marked: Cluster) -> None:
    marked.configure("a")

    assert marked.granted("a", kind="embeddings").deployment_id == "a"


def test_explain_shows_them_for_the_kind_in_question(marked: Cluster) -> None:
    of_kind = marked.explain("a", "b", kind="embeddings", read_only=True)
    of_other = marked.explain("a", "b", kind="chat", read_only=True)

    assert [(c.verdict, c.wait_ms) for c in of_kind.candidates] == [("unsupported", RESTS_MS), ("eligible", 0)]
    assert of_kind.picked == "b"
    assert [c.verdict for c in of_other.candidates] == ["eligible", "eligible"]


def test_block_has_no_permit_for_the_kind(marked: Cluster) -> None:
    assert {permit.deployment_id for permit in block(marked, "a", "b", count=10, kind="embeddings")} == {"b"}
    assert ask_block(marked, "a", tokens=tokens_of(4), kind="embeddings") == ([], "refused")
    assert len(block(marked, "a", count=4, kind="chat")) == 4


def test_ending_of_a_block_marks_and_clears_as_well(cluster: Cluster) -> None:
    cluster.configure("a")
    permits = block(cluster, "a", count=2, kind="embeddings")
    settle_block(cluster, permits[:1], "unsupported")
    marked = cluster.snapshot().deployments[0].unsupported
    settle_block(cluster, permits[1:], "success")

    assert marked == ("embeddings",)
    assert cluster.snapshot().deployments[0].unsupported == ()


def test_a_further_attempt_of_the_request_goes_elsewhere_at_once(marked: Cluster) -> None:
    again = marked.acquire("a", "b", kind="embeddings", attempt=2)

    assert isinstance(again, Permit)
    assert again.deployment_id == "b"
