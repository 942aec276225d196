"""GET /v1/admin/autoscale: its access, and the text for each reason."""

import msgspec
import pytest

from gateway.views.autoscale import shown, why
from shared_state.snapshots import ScalingSignal
from tests.support.cluster import ReplicaProcess

SIGNAL = ScalingSignal(
    now_ms=10_000,
    evaluated_at_ms=9_400,
    desired=4,
    wanted=2,
    reason="held",
    active=60,
    waiting=3,
    limit=200,
    replicas=4,
    average=62.5,
    peak=131.25,
    foreseen=140.0,
    target_concurrency=50,
    utilization=0.7,
    min_replicas=1,
    max_replicas=20,
    scale_down_delay_ms=300_000,
)


def test_cluster_without_the_setting_has_no_signal(replica: ReplicaProcess) -> None:
    answer = replica.get("/v1/admin/autoscale")

    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert "router.autoscale" in answer.error["message"]
    assert "pllm_desired_replicas" not in replica.get("/metrics").text


def test_page_of_another_site_may_not_ask(replica: ReplicaProcess) -> None:
    assert replica.get("/v1/admin/autoscale", {"origin": "https://elsewhere.example"}).status == 403


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("held", "need 1.79 replicas; 4 stay because of the peak of 131.2 in the last 300 s."),
        ("foreseen", "need 1.79 replicas; 4 are there because 140.0 came at this time last week."),
        ("max", "need 1.79 replicas, more than max_replicas."),
        ("min", "need 1.79 replicas, fewer than min_replicas."),
        ("load", "62.5 requests at 35 per replica need 1.79 replicas."),
        ("learning", "so no replica is removed for 300 s."),
    ],
)
def test_reason_is_a_sentence(reason: str, says: str) -> None:
    signal = msgspec.convert({**msgspec.structs.asdict(SIGNAL), "reason": reason}, ScalingSignal)

    assert why(signal).endswith(says)


def test_last_change_is_shown_once_there_was_one() -> None:
    changed = msgspec.structs.replace(SIGNAL, changed_at_ms=4_000, changed_from=3)

    assert shown(SIGNAL)["changed"] is None
    assert shown(changed)["changed"] == {"from": 3, "ago_ms": 6_000}
    assert shown(changed)["age_ms"] == 600
