"""What a tenant may do in the whole domain: requests and tokens per minute, requests at a time."""

import itertools

import pytest

from shared_state.policies import TenantLimits
from shared_state.records import MinuteUsed, Permit
from tests.support.state import Cluster, deployment_policy

TEAM = TenantLimits(name="team-a", rpm=10, tpm=1000, max_parallel=3)


@pytest.fixture(autouse=True)
def configured(cluster: Cluster) -> None:
    cluster.configure("a")


def leases_of(cluster: Cluster, tenant: str) -> int:
    return int(cluster.cli.do("ZCARD", f"{cluster.keys.prefix}tenant_leases:{tenant}"))


def admitted(cluster: Cluster, tenant: TenantLimits, callers: int, tokens: int = 0) -> int:
    """Of so many callers at this moment, over three replicas; each ends at once."""
    count = 0
    for replica in itertools.islice(itertools.cycle(("r1", "r2", "r3")), callers):
        decision = cluster.acquire("a", replica=replica, tenant=tenant, tokens=tokens)
        if isinstance(decision, Permit):
            cluster.settle(decision)
            count += 1
    return count


def test_requests_per_minute_are_exact_whatever_the_number_of_replicas(cluster: Cluster) -> None:
    tenant = TenantLimits(name="team-a", rpm=100)
    counts = [admitted(cluster, tenant, 150)]
    cluster.advance(6_000)
    counts.append(admitted(cluster, tenant, 20))

    assert counts == [100, 10]


def test_tokens_per_minute_are_exact(cluster: Cluster) -> None:
    assert admitted(cluster, TenantLimits(name="team-a", tpm=1000), 20, tokens=100) == 10


def test_limits_of_one_tenant_are_not_those_of_another(cluster: Cluster) -> None:
    assert [admitted(cluster, TenantLimits(name=name, rpm=5), 9) for name in ("one", "two")] == [5, 5]


@pytest.mark.parametrize("tenant", [TenantLimits(), TenantLimits(name="team-a")])
def test_unlimited_tenant_is_never_refused(cluster: Cluster, tenant: TenantLimits) -> None:
    assert admitted(cluster, tenant, 200, tokens=1_000_000) == 200


@pytest.mark.parametrize(
    ("tenant", "reason"),
    [
        (TenantLimits(name="t", rpm=1), "requests"),
        (TenantLimits(name="t", tpm=100), "tokens"),
        (TenantLimits(name="t", max_parallel=1), "parallel"),
    ],
)
def test_refusal_names_the_limit_and_the_wait(cluster: Cluster, tenant: TenantLimits, reason: str) -> None:
    cluster.granted("a", tenant=tenant, tokens=100)
    rejection = cluster.rejected("a", tenant=tenant, tokens=50)

    assert (rejection.code, rejection.reason, rejection.verdicts) == ("limited", reason, ())
    assert rejection.retry_after_ms == {"requests": 60_000, "tokens": 30_000, "parallel": 1000}[reason]


def test_refused_request_takes_nothing(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", limit=1))
    tenant = TenantLimits(name="team-a", rpm=3)
    cluster.granted("a")
    refused = [cluster.rejected("a", tenant=tenant).code for _ in range(5)]
    cluster.configure(deployment_policy("a", limit=9))

    assert refused == ["none"] * 5
    assert admitted(cluster, tenant, 5) == 3


def test_parallel_requests_are_counted_by_leases(cluster: Cluster) -> None:
    permits = [cluster.granted("a", tenant=TEAM, replica=f"r{number}") for number in range(3)]
    rejection = cluster.rejected("a", tenant=TEAM)
    cluster.settle(permits[0])

    assert rejection.reason == "parallel"
    assert isinstance(cluster.acquire("a", tenant=TEAM), Permit)
    assert leases_of(cluster, "team-a") == 3


def test_lease_that_expires_no_longer_counts_for_its_tenant(cluster: Cluster) -> None:
    for _ in range(3):
        cluster.granted("a", tenant=TEAM)
    cluster.advance(75_000)

    assert isinstance(cluster.acquire("a", tenant=TEAM), Permit)
    assert leases_of(cluster, "team-a") == 1


def test_leases_of_a_dead_replica_leave_their_tenant(cluster: Cluster) -> None:
    cluster.beat("r2")
    for _ in range(3):
        cluster.granted("a", tenant=TEAM, replica="r2")
    cluster.advance(5_001)

    assert cluster.reap_chunk("r2", "a") == (3, -1)
    assert leases_of(cluster, "team-a") == 0


def test_reasserted_lease_counts_for_its_tenant_again(cluster: Cluster) -> None:
    permit = cluster.granted("a", tenant=TEAM)
    cluster.flush()
    cluster.configure("a")
    cluster.reassert("a", [permit])

    assert leases_of(cluster, "team-a") == 1


def test_resent_request_counts_once(cluster: Cluster) -> None:
    token = "r1.plain.77 team-a"
    first = cluster.granted("a", tenant=TEAM, token=token)
    again = cluster.granted("a", tenant=TEAM, token=token, resend=True)

    assert (again.generation, again.used) == (first.generation, first.used)
    assert admitted(cluster, TenantLimits(name="team-a", rpm=10), 20) == 9


def test_further_attempts_of_a_request_count_once(cluster: Cluster) -> None:
    tenant = TenantLimits(name="team-a", rpm=2)
    for attempt in (1, 2, 3):
        permit = cluster.granted("a", tenant=tenant, attempt=attempt)
        cluster.settle(permit, "failure", final=attempt == 3)

    assert admitted(cluster, tenant, 5) == 1


def test_decision_reports_the_use_of_each_limit(cluster: Cluster) -> None:
    permit = cluster.granted("a", tenant=TEAM, tokens=250)

    assert permit.used == MinuteUsed(6_000, 15_000)


@pytest.mark.parametrize(
    ("outcome", "tokens", "left"),
    [
        ("success", 100, 900),  # as many as it was
        ("success", 900, 100),  # more than was estimated
        ("success", -1, 600),  # not told: as estimated
        ("cancelled", -1, 600),
        ("failure", -1, 1000),
        ("throttled", -1, 1000),
        ("success", 1500, 0),
    ],
)
def test_estimate_is_corrected_when_the_tokens_are_known(
    cluster: Cluster, outcome: str, tokens: int, left: int
) -> None:
    tenant = TenantLimits(name="team-a", tpm=1000)
    cluster.settle(cluster.granted("a", tenant=tenant, tokens=400), outcome, tokens=tokens)
    cluster.force("a", "reset")

    assert admitted(cluster, tenant, 20, tokens=100) == left // 100


def test_tokens_of_a_request_are_corrected_once_however_many_attempts_it_takes(cluster: Cluster) -> None:
    """They were taken by the first attempt, and the last one tells what was used."""
    tenant = TenantLimits(name="team-a", tpm=1000)
    cluster.settle(cluster.granted("a", tenant=tenant, tokens=400), "failure", final=False)
    cluster.settle(cluster.granted("a", tenant=tenant, tokens=400, attempt=2), tokens=600)

    assert admitted(cluster, tenant, 20, tokens=100) == 4


@pytest.mark.parametrize("attempt", [0, 2], ids=["another candidate", "further attempt"])
def test_request_counts_once_against_its_tenant_wherever_it_goes(cluster: Cluster, attempt: int) -> None:
    tenant = TenantLimits(name="team-a", rpm=2)
    cluster.granted("a", tenant=tenant)
    for _ in range(3):
        cluster.granted("a", tenant=tenant, attempt=attempt)

    assert admitted(cluster, tenant, 5) == 1


def test_tokens_beyond_the_estimate_are_paid_for_after_a_long_answer(cluster: Cluster) -> None:
    tenant = TenantLimits(name="t", tpm=100)
    permit = cluster.granted("a", tenant=tenant, tokens=10)
    cluster.advance(60_000)
    cluster.settle(permit, tokens=110)

    assert cluster.rejected("a", tenant=tenant, tokens=100).retry_after_ms == 60_000


# -- further attempts -----------------------------------------------------------------------------------------


def tokens_left(cluster: Cluster, tenant: TenantLimits) -> int:
    """Of the tenant's minute."""
    key = f"{cluster.keys.prefix}limit:tenant:{tenant.name}"
    ahead_ms = float(cluster.cli.do("HGET", key, "tokens_at_ms") or 0) - cluster.now_ms
    assert tenant.tpm
    return round(tenant.tpm * (1 - max(0, ahead_ms) / 60_000))


THOUSAND = TenantLimits(name="t", tpm=1000)


def attempt_failed(cluster: Cluster, outcome: str = "failure", tokens: int = -1, attempt: int = 1) -> None:
    """Not the last of its request."""
    permit = cluster.granted("a", tenant=THOUSAND, tokens=400, attempt=attempt)
    cluster.settle(permit, outcome, final=False, tokens=tokens)


@pytest.mark.parametrize(
    ("outcome", "tokens", "left"),
    [
        ("failure", -1, 1000),
        ("timeout", -1, 1000),
        ("throttled", -1, 1000),
        ("overloaded", -1, 1000),
        ("unsupported", -1, 1000),
        ("client_error", 0, 1000),
        ("cancelled", 0, 1000),
        ("failure", 150, 850),  # it broke off, and what it used is known
    ],
)
def test_request_that_ends_between_two_attempts_leaves_only_what_it_used(
    cluster: Cluster, outcome: str, tokens: int, left: int
) -> None:
    attempt_failed(cluster, outcome, tokens)

    assert tokens_left(cluster, THOUSAND) == left


@pytest.mark.parametrize("attempt", [0, 2])
def test_rejected_further_attempt_takes_and_returns_nothing_however_often_it_is_sent(
    cluster: Cluster, attempt: int
) -> None:
    attempt_failed(cluster)
    cluster.granted("a", tenant=THOUSAND, tokens=300)
    cluster.force("a", "open")
    for resend in (0, 1, 1):
        cluster.rejected("a", tenant=THOUSAND, tokens=400, attempt=attempt, token="r1.plain.z t", resend=resend)

    assert tokens_left(cluster, THOUSAND) == 700


def test_attempt_that_no_retry_budget_covers_takes_nothing(cluster: Cluster) -> None:
    cluster.configure("a", retry_ratio=0, retry_floor_per_second=0)
    for _ in range(30):
        cluster.settle(cluster.granted("a", attempt=2), "cancelled")
    attempt_failed(cluster)

    assert cluster.rejected("a", tenant=THOUSAND, tokens=400, attempt=2).code == "retry_budget"
    assert tokens_left(cluster, THOUSAND) == 1000


@pytest.mark.parametrize("attempt", [0, 2])
def test_further_attempt_takes_its_tokens_anew_and_once(cluster: Cluster, attempt: int) -> None:
    attempt_failed(cluster)
    again = {"tenant": THOUSAND, "tokens": 400, "attempt": attempt, "token": "r1.plain.z t"}
    cluster.granted("a", **again)
    permit = cluster.granted("a", **again, resend=1)
    while_active = tokens_left(cluster, THOUSAND)
    cluster.settle(permit, tokens=100)

    assert (while_active, tokens_left(cluster, THOUSAND)) == (600, 900)


def test_further_attempt_is_not_refused_because_others_used_the_minute_meanwhile(cluster: Cluster) -> None:
    attempt_failed(cluster)
    assert admitted(cluster, THOUSAND, 20, tokens=100) == 10
    cluster.settle(cluster.granted("a", tenant=THOUSAND, tokens=400, attempt=2), tokens=400)

    refused = cluster.rejected("a", tenant=THOUSAND, tokens=100)
    assert (refused.reason, refused.retry_after_ms) == ("tokens", 30_000)  # it is paid back before anything else


def test_requests_with_many_attempts_use_what_their_calls_used(cluster: Cluster) -> None:
    for attempt in (1, 2, 3):
        attempt_failed(cluster, attempt=attempt)
    cluster.settle(cluster.granted("a", tenant=THOUSAND, tokens=400, attempt=4), tokens=250)

    assert tokens_left(cluster, THOUSAND) == 750


def test_settling_twice_corrects_once(cluster: Cluster) -> None:
    permit = cluster.granted("a", tenant=THOUSAND, tokens=400)
    cluster.granted("a", tenant=THOUSAND, tokens=400)
    for _ in range(3):
        cluster.settle(permit, "failure", final=False)

    assert tokens_left(cluster, THOUSAND) == 600


def test_of_a_dead_replica_the_estimate_stays_because_the_provider_may_have_worked(cluster: Cluster) -> None:
    cluster.beat("r1")
    cluster.granted("a", tenant=THOUSAND, tokens=400)
    cluster.advance(5_001)
    cluster.reap_chunk("r1", "a")

    assert cluster.active("a") == 0
    assert tokens_left(cluster, THOUSAND) == 683  # and what has grown back in those five seconds


def test_more_tokens_than_a_minute_has_are_admitted_alone(cluster: Cluster) -> None:
    tenant = TenantLimits(name="team-a", tpm=1000)

    assert admitted(cluster, tenant, 3, tokens=50_000) == 1


def test_tokens_of_a_deployment_are_limited_and_corrected(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", tpm=1000))
    permits = [d for d in (cluster.acquire("a", tokens=300) for _ in range(5)) if isinstance(d, Permit)]
    rejection = cluster.rejected("a", tokens=300)
    for permit in permits:
        cluster.settle(permit, tokens=100)

    assert (len(permits), rejection.verdicts) == (3, ("rate_limited",))
    assert isinstance(cluster.acquire("a", tokens=700), Permit)
    assert cluster.rejected("a", tokens=100).verdicts == ("rate_limited",)


def test_usage_based_looks_at_tokens_as_well(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", tpm=1000), deployment_policy("b", tpm=10_000))
    picked = [cluster.granted("a", "b", strategy="usage-based", tokens=200).deployment_id for _ in range(6)]

    assert picked.count("b") >= 5


def test_idle_tenant_leaves_nothing_behind(cluster: Cluster) -> None:
    admitted(cluster, TEAM, 3)
    cluster.granted("a", tenant=TEAM)
    names = [f"{cluster.keys.prefix}limit:tenant:team-a", f"{cluster.keys.prefix}tenant_leases:team-a"]

    assert all(0 < int(cluster.cli.do("PTTL", name)) <= 120_000 for name in names)


def test_short_call_does_not_forget_the_long_ones_of_its_tenant(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("long", lease_ms=600_000), deployment_policy("short", lease_ms=20))
    tenant = TenantLimits(name="t", max_parallel=2)
    cluster.granted("long", tenant=tenant)
    cluster.granted("short", tenant=tenant)
    time_to_live = int(cluster.cli.do("PTTL", f"{cluster.keys.prefix}tenant_leases:t"))

    assert time_to_live > 500_000


def test_tokens_beyond_the_minute_are_remembered_until_they_are_paid(cluster: Cluster) -> None:
    tenant = TenantLimits(name="t", tpm=100)
    permit = cluster.granted("a", tenant=tenant, tokens=10)
    cluster.settle(permit, tokens=1000)
    time_to_live = int(cluster.cli.do("PTTL", f"{cluster.keys.prefix}limit:tenant:t"))

    assert cluster.rejected("a", tenant=tenant, tokens=1).retry_after_ms > 500_000
    assert time_to_live > 600_000


@pytest.mark.parametrize("outcome", ["success", "cancelled"])
def test_estimate_beyond_the_minute_counts_as_a_minute_without_a_reported_size(cluster: Cluster, outcome: str) -> None:
    tenant = TenantLimits(name="t", tpm=100)
    cluster.settle(cluster.granted("a", tenant=tenant, tokens=100_000), outcome)

    assert cluster.rejected("a", tenant=tenant, tokens=100).retry_after_ms <= 60_000
