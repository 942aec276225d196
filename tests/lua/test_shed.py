"""Load shedding: why, whom, and that it ends."""

import pytest

from shared_state.records import Permit, Rejection
from tests.support.state import START_MS, Cluster, deployment_policy

CRITICAL, HIGH, NORMAL, LOW, BULK = 0, 25, 50, 75, 100
ALL = (CRITICAL, HIGH, NORMAL, LOW, BULK)


def let_in(cluster: Cluster) -> list[int]:
    """The priorities that would be let in now."""
    return [p for p in ALL if not cluster.explain("a", priority=p).shed_reason]


def requests(cluster: Cluster, count: int, failures: int) -> None:
    """Final outcomes, and a quarter of a second later a call that says nothing, so that the sums are fresh."""
    cluster.call("b", "failure", times=failures)
    cluster.call("b", times=count - failures)
    cluster.advance(300)
    cluster.call("b", "cancelled")


# -- active requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("active", "priorities"),
    [
        (0, ALL),
        (70, ALL),
        (71, (CRITICAL, HIGH, NORMAL, LOW)),
        (79, (CRITICAL, HIGH, NORMAL, LOW)),
        (80, (CRITICAL,)),
        (99, (CRITICAL,)),
        (100, ()),
    ],
)
def test_the_fuller_the_domain_the_higher_the_priority_it_takes(
    cluster: Cluster, active: int, priorities: tuple[int, ...]
) -> None:
    cluster.configure("a", max_active=100)
    for _ in range(active):
        cluster.granted("a", priority=CRITICAL)

    assert let_in(cluster) == list(priorities)


@pytest.mark.parametrize(("active", "priorities"), [(88, 4), (89, 3), (93, 3), (94, 2), (97, 2), (98, 1)])
def test_priority_cut_is_cubic(cluster: Cluster, active: int, priorities: int) -> None:
    """x = (active / 100 - 0.7) / 0.3; cut = 100 (1 - x^3): 75 falls at 0.889, 50 at 0.938, 25 at 0.973."""
    cluster.configure("a", max_active=100, critical_reserve=0)
    for _ in range(active):
        cluster.granted("a", priority=CRITICAL)

    assert let_in(cluster) == list(ALL[:priorities])


def test_a_fifth_is_kept_for_critical_requests(cluster: Cluster) -> None:
    cluster.configure("a", max_active=10)
    decisions = [cluster.acquire("a", priority=HIGH) for _ in range(20)]
    critical = [cluster.acquire("a", priority=CRITICAL) for _ in range(20)]

    assert sum(isinstance(d, Permit) for d in decisions) == 8
    assert sum(isinstance(d, Permit) for d in critical) == 2


def test_not_even_critical_requests_exceed_the_most_active(cluster: Cluster) -> None:
    cluster.configure("a", "b", max_active=5)
    for k in range(5):
        cluster.granted("ab"[k % 2], priority=CRITICAL)

    rejection = cluster.rejected("a", priority=CRITICAL)
    assert (rejection.code, rejection.reason) == ("shed", "active_requests")


def test_rejection_looks_at_no_candidate_and_tells_when_to_come_again(cluster: Cluster) -> None:
    cluster.configure("a", max_active=1)
    cluster.granted("a", priority=CRITICAL)
    rejection = cluster.rejected("a")

    assert (rejection.verdicts, rejection.retry_after_ms) == ((), 1000)


def test_shed_request_counts_against_no_deployment(cluster: Cluster) -> None:
    cluster.configure("a", max_active=1)
    permit = cluster.granted("a", priority=CRITICAL)
    for _ in range(50):
        cluster.rejected("a")
    cluster.settle(permit)

    assert (cluster.snapshot().deployments[0].requests, cluster.snapshot().failures) == (1, 0)


def test_further_attempt_of_an_admitted_request_is_not_shed(cluster: Cluster) -> None:
    cluster.configure("a", max_active=1)
    cluster.granted("a", priority=CRITICAL)

    cluster.granted("a", priority=BULK, attempt=2)


def test_reason_lasts_until_a_tenth_below(cluster: Cluster) -> None:
    cluster.configure("a", max_active=10)
    permits = [cluster.granted("a", priority=CRITICAL) for _ in range(10)]
    seen = []
    for permit in permits[:3]:
        cluster.advance(1000)
        seen.append(cluster.beat().shed_reasons)
        cluster.settle(permit, "cancelled")
    cluster.advance(1000)

    assert seen == ["active_requests"] * 2 + [""]
    assert cluster.beat().shed_reasons == ""


def test_steady_overload_by_short_calls_is_one_event(cluster: Cluster) -> None:
    """More than a tenth of them is over, and as many have come again, between two looks."""
    cluster.configure("a", max_active=10)
    for _ in range(100):
        permits = [cluster.granted("a", priority=CRITICAL) for _ in range(10)]
        cluster.rejected("a", priority=CRITICAL)
        for permit in permits:
            cluster.settle(permit)
        cluster.advance(100)

    assert [event["to"] for event in cluster.events("load_shedding")] == ["active_requests"]


def test_begin_and_end_are_one_event_each(cluster: Cluster) -> None:
    cluster.configure("a", max_active=2)
    permits = [cluster.granted("a", priority=CRITICAL) for _ in range(2)]
    for _ in range(5):
        cluster.rejected("a")
    for permit in permits:
        cluster.settle(permit)
    for _ in range(5):
        cluster.advance(1000)
        cluster.beat()
    events = [(e["from"], e["to"]) for e in cluster.events("load_shedding")]

    assert events == [("", "active_requests"), ("active_requests", "")]


# -- failure rate -----------------------------------------------------------------------------------------------


@pytest.fixture
def busy(cluster: Cluster) -> Cluster:
    """`b` takes the calls that count, whatever comes of them."""
    cluster.configure("a", deployment_policy("b"), breaker_enabled=False, min_healthy_ratio=0)
    return cluster


def test_failing_requests_shed(busy: Cluster) -> None:
    requests(busy, 300, failures=60)

    assert busy.snapshot().shed_reasons == "failure_rate"


def test_tenth_of_requests_may_fail(busy: Cluster) -> None:
    requests(busy, 300, failures=30)

    assert busy.snapshot().shed_reasons == ""


def test_quiet_domain_does_not_shed_for_failures(busy: Cluster) -> None:
    requests(busy, 200, failures=150)

    assert busy.snapshot().shed_reasons == ""


@pytest.mark.parametrize(("count", "reasons"), [(249, ""), (250, "failure_rate")])
def test_failures_shed_from_five_requests_a_second_on(busy: Cluster, count: int, reasons: str) -> None:
    requests(busy, count, failures=150)

    assert busy.snapshot().shed_reasons == reasons


def test_failure_rate_ends_when_calls_become_rare(busy: Cluster) -> None:
    """Most of the window has passed; the few requests that are left in it failed as often."""
    requests(busy, 300, failures=150)
    before = busy.beat().shed_reasons
    busy.set_clock(START_MS + 55_000)

    assert (before, busy.beat().shed_reasons) == ("failure_rate", "")
    assert busy.snapshot().failures > 0


def test_failures_that_fallbacks_save_shed_nothing(busy: Cluster) -> None:
    for _ in range(150):
        busy.call("b", "failure", final=False)
        busy.call("a")
    for _ in range(150):
        busy.call("a")
    busy.advance(300)
    busy.call("a")

    assert busy.snapshot().shed_reasons == ""


def test_share_that_is_rejected_follows_the_failures(busy: Cluster) -> None:
    """p = (n - s / 0.9) / (n + 1) for n requests and s successes."""
    requests(busy, 300, failures=150)
    rejected = sum(bool(busy.explain("a", priority=HIGH).shed_reason) for _ in range(400))

    assert rejected / 400 == pytest.approx((300 - 150 / 0.9) / 301, abs=0.06)


def test_at_most_four_fifths_are_rejected(busy: Cluster) -> None:
    requests(busy, 400, failures=399)
    rejected = sum(bool(busy.explain("a", priority=LOW).shed_reason) for _ in range(400))

    assert rejected / 400 == pytest.approx(0.8, abs=0.05)


def test_critical_requests_are_not_rejected_for_failures(busy: Cluster) -> None:
    requests(busy, 400, failures=399)

    assert not any(busy.explain("a", priority=CRITICAL).shed_reason for _ in range(100))


def test_failure_rate_ends_when_the_window_has_passed(busy: Cluster) -> None:
    requests(busy, 300, failures=150)
    before = busy.beat().shed_reasons
    busy.advance(60_000)

    assert (before, busy.beat().shed_reasons) == ("failure_rate", "")


def test_failure_rate_lasts_until_a_fifth_below(busy: Cluster) -> None:
    requests(busy, 300, failures=36)
    seen = [busy.beat().shed_reasons]
    for _ in range(2):
        requests(busy, 90, failures=0)
        busy.advance(1000)
        seen.append(busy.beat().shed_reasons)

    assert seen == ["failure_rate", "failure_rate", ""]


# -- healthy ratio ----------------------------------------------------------------------------------------------


def ill(cluster: Cluster, *ids: str) -> None:
    """So ill that their health is under 50."""
    for name in ids:
        cluster.call(name, "failure", times=30)
        cluster.call(name, latency_ms=2001, times=5)


def quartet(cluster: Cluster) -> Cluster:
    cluster.configure("a", "b", "c", "d", breaker_enabled=False, max_failure_rate=1.0)
    return cluster


@pytest.mark.parametrize(("sick", "priorities"), [("", ALL), ("bc", ALL), ("bcd", ALL[:3]), ("abcd", ALL[:3])])
def test_low_and_bulk_are_rejected_while_most_deployments_are_ill(
    cluster: Cluster, sick: str, priorities: tuple[int, ...]
) -> None:
    quartet(cluster)
    ill(cluster, *sick)
    cluster.beat()

    assert let_in(cluster) == list(priorities)


def test_healthy_ratio_is_a_share_of_deployments(cluster: Cluster) -> None:
    quartet(cluster)
    ill(cluster, "a")
    cluster.beat()

    assert cluster.snapshot().healthy_ratio == 0.75


def test_open_breaker_is_not_healthy(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("b")
    cluster.beat()

    assert cluster.snapshot().healthy_ratio == 0.5


def test_disabled_deployment_is_not_counted(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.force("b", "disable")
    cluster.beat()

    assert cluster.snapshot().healthy_ratio == 1


def test_domain_without_a_deployment_in_use_sheds_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.force("a", "disable")

    assert (cluster.beat().shed_reasons, cluster.snapshot().healthy_ratio) == ("", 1)


def test_healthy_ratio_has_hysteresis(cluster: Cluster) -> None:
    ids = [f"d{k}" for k in range(50)]
    cluster.configure(*ids)
    for name in ids[:26]:
        cluster.force(name, "open")
    seen = []
    for name in ids[:4]:
        cluster.advance(1000)
        seen.append(cluster.beat().shed_reasons)
        cluster.force(name, "close")
    cluster.advance(1000)

    assert seen == ["healthy_ratio"] * 4
    assert cluster.beat().shed_reasons == ""


def test_shedding_ends_when_all_are_healthy_though_all_must_be(cluster: Cluster) -> None:
    """No ratio lies a margin above 1."""
    cluster.configure("a", "b", min_healthy_ratio=1.0)
    cluster.force("b", "open")
    before = cluster.beat().shed_reasons
    cluster.force("b", "close")
    cluster.advance(1000)

    assert (before, cluster.beat().shed_reasons) == ("healthy_ratio", "")


def test_bulk_traffic_alone_recovers_an_open_breaker(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    decisions = []
    for _ in range(60):
        cluster.advance(1000)
        cluster.beat()
        decision = cluster.acquire("a", priority=BULK)
        decisions.append(decision)
        if isinstance(decision, Permit):
            cluster.settle(decision)

    assert isinstance(decisions[0], Rejection)
    assert cluster.state("a") == "closed"


def test_bulk_traffic_alone_recovers_from_probes_that_never_reported(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.cool_down("a")
    for _ in range(3):
        cluster.granted("a")
    for _ in range(200):
        cluster.advance(1000)
        cluster.beat()
        decision = cluster.acquire("a", priority=BULK)
        if isinstance(decision, Permit):
            cluster.settle(decision)

    assert cluster.state("a") == "closed"


def test_bulk_traffic_alone_is_not_shed_for_ever_after_a_bad_minute(cluster: Cluster) -> None:
    cluster.configure("a", breaker_enabled=False, max_failure_rate=1.0)
    ill(cluster, "a")
    cluster.beat()
    cluster.rejected("a", priority=BULK)
    for _ in range(65):
        cluster.advance(1000)
        cluster.beat()

    cluster.granted("a", priority=BULK)


def test_all_reasons_are_reported_together(cluster: Cluster) -> None:
    cluster.configure("a", "b", max_active=2, min_healthy_ratio=1.0)
    cluster.trip("b")
    for _ in range(2):
        cluster.granted("a", priority=CRITICAL)

    assert cluster.beat().shed_reasons == "active_requests,healthy_ratio"
