"""Groups: when most deployments of a provider fail, the others are probed before they get full traffic."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_state.policies import DeploymentPolicy
from shared_state.records import Permit
from shared_state.scripts import Script
from tests.support.state import START_MS, Candidate, Cluster, deployment_policy
from tests.support.stores import RedisCli

WINDOW_MS, COOLDOWN_MS = 30_000, 30_000
KEYS = tuple(f"key-{number}" for number in range(1, 9))
CHAIN: tuple[Candidate, ...] = (*KEYS, ("other", 1))
OUTCOMES = st.sampled_from(["success", "failure", "timeout", "throttled", "client_error", "cancelled"])
REPEATABLE = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def members(*names: str, group: str = "p", **changed: object) -> list[DeploymentPolicy]:
    return [deployment_policy(name, group=group, group_size=len(names), **changed) for name in names]


@pytest.fixture
def eight(cluster: Cluster) -> Cluster:
    """Eight keys of one provider, and another provider."""
    cluster.configure(*members(*KEYS), "other")
    return cluster


def fail(cluster: Cluster, *names: str, times: int = 1) -> None:
    for name in names:
        cluster.call(name, "failure", times=times)


def suspects(cluster: Cluster, *candidates: str | tuple[str, int]) -> set[str]:
    rows = cluster.explain(*(candidates or CHAIN), priority=0).candidates
    return {row.deployment_id for row in rows if row.verdict == "suspect"}


def group_events(cluster: Cluster) -> list[tuple[str, str, str]]:
    return [(e["from"], e["to"], e["reason"]) for e in cluster.events("group:p")]


def test_others_are_probed_once_half_of_a_group_has_opened(eight: Cluster) -> None:
    for name in KEYS[:4]:
        eight.trip(name)
    first = eight.granted("key-5", ("other", 1), priority=0)

    assert first.deployment_id == "key-5"
    assert eight.granted("key-5", ("other", 1), priority=0, replica="r2").deployment_id == "other"
    assert {eight.state(name) for name in KEYS[4:]} == {"closed"}


def test_probe_that_succeeds_gives_its_deployment_full_traffic_back(eight: Cluster) -> None:
    for name in KEYS[:4]:
        eight.trip(name)
    eight.call("key-5", spare="other")

    grants = [eight.granted("key-5", ("other", 1), priority=0).deployment_id for _ in range(5)]
    assert grants == ["key-5"] * 5


def test_while_enough_are_open_each_of_the_others_needs_a_success_of_its_own(eight: Cluster) -> None:
    for name in KEYS[:4]:
        eight.trip(name)
    eight.advance(1)
    eight.call("key-5", spare="other")

    eight.granted("key-6", ("other", 1), priority=0)
    assert eight.granted("key-6", ("other", 1), priority=0).deployment_id == "other"
    assert eight.granted("key-5", ("other", 1), priority=0).deployment_id == "key-5"


def test_probe_that_fails_opens_no_breaker_and_is_repeated_after_the_cooldown(eight: Cluster) -> None:
    for name in KEYS[:4]:
        eight.trip(name)
    eight.settle(eight.granted("key-5", priority=0), "failure")
    now = eight.granted("key-5", ("other", 1), priority=0).deployment_id
    eight.advance(COOLDOWN_MS - 1)
    before = eight.granted("key-5", ("other", 1), priority=0).deployment_id
    eight.advance(1)

    assert (now, before) == ("other", "other")
    assert eight.state("key-5") == "closed"
    assert eight.granted("key-5", ("other", 1), priority=0).deployment_id == "key-5"


def test_calls_that_fail_in_a_row_over_half_of_the_group_are_enough(eight: Cluster) -> None:
    fail(eight, *KEYS[:4])
    four = suspects(eight)
    fail(eight, "key-1")

    assert four == set()
    assert suspects(eight) == set(KEYS[:4])
    assert group_events(eight) == [("trusted", "suspect", "4 of 8 fail")]


def test_success_in_the_group_ends_the_row(eight: Cluster) -> None:
    fail(eight, *KEYS[:4])
    eight.call("key-8")
    fail(eight, *KEYS[:4])

    assert suspects(eight) == set()


def test_first_success_ends_a_suspicion_of_failures_in_a_row(eight: Cluster) -> None:
    fail(eight, *KEYS[:5])
    eight.advance(1)
    eight.call("key-6", spare="other")

    assert suspects(eight) == set()
    assert group_events(eight)[1:] == [("suspect", "trusted", "served by key-6")]


def test_call_from_before_the_suspicion_does_not_end_it(eight: Cluster) -> None:
    early = eight.granted("key-8", priority=0)
    eight.advance(1)
    fail(eight, *KEYS[:5])
    eight.settle(early, latency_ms=1)

    assert suspects(eight) == set(KEYS[:5])


def test_one_key_that_is_bad_alone_changes_nothing_for_the_others(eight: Cluster) -> None:
    for _ in range(8):
        eight.trip("key-1")
        eight.cool_down("key-1")

    assert suspects(eight) == set()
    assert group_events(eight) == []
    assert "suspect_until_ms" not in eight.domain()


def test_members_that_opened_longer_ago_do_not_count(eight: Cluster) -> None:
    for name in KEYS[:3]:
        eight.trip(name)
    eight.call("key-8")
    eight.advance(WINDOW_MS + 1)
    eight.trip("key-4")

    assert group_events(eight) == []


def test_breakers_that_opened_for_slowness_do_not_count(eight: Cluster) -> None:
    for name in KEYS[:4]:
        eight.call(name, times=3, latency_ms=9_000, spare="other")

    assert {eight.state(name) for name in KEYS[:4]} == {"open"}
    assert group_events(eight) == []


def test_suspects_serve_where_no_other_candidate_is_eligible(eight: Cluster) -> None:
    fail(eight, *KEYS[:5])

    assert eight.granted(*KEYS[:5], priority=0).deployment_id in KEYS[:5]
    assert suspects(eight, *KEYS[:5]) == set()


def test_suspicion_ends_by_itself_without_calls(eight: Cluster) -> None:
    fail(eight, *KEYS[:5])
    until_ms = int(eight.cli.do("HGET", f"{eight.keys.prefix}group:p", "until_ms"))
    eight.set_clock(until_ms - 1)
    eight.granted("key-1", priority=0)
    before = eight.granted("key-1", ("other", 1), priority=0).deployment_id
    eight.set_clock(until_ms)

    assert until_ms == START_MS + WINDOW_MS + COOLDOWN_MS
    assert before == "other"
    assert eight.granted("key-1", ("other", 1), priority=0).deployment_id == "key-1"


def test_stream_whose_first_byte_has_arrived_needs_no_end_to_clear_its_deployment(eight: Cluster) -> None:
    fail(eight, *KEYS[:5])
    stream = eight.granted("key-6", ("other", 1), priority=0, stream=True)
    during = eight.granted("key-6", ("other", 1), priority=0).deployment_id
    eight.beat(answered=(stream,))

    assert during == "other"
    assert eight.granted("key-6", ("other", 1), priority=0).deployment_id == "key-6"


def test_lease_of_a_probe_that_expired_frees_the_next_probe(cluster: Cluster) -> None:
    cluster.configure(*members("a", "b", "c", lease_ms=10_000), "other")
    fail(cluster, "a", times=3)
    fail(cluster, "b", times=2)
    cluster.granted("c", priority=0)
    cluster.advance(9_999)
    held = cluster.granted("c", ("other", 1), priority=0).deployment_id
    cluster.advance(1)

    assert held == "other"
    assert cluster.granted("c", ("other", 1), priority=0).deployment_id == "c"


def test_two_of_two_fail_together(cluster: Cluster) -> None:
    cluster.configure(*members("a", "b"), "other")
    fail(cluster, "a", times=4)
    one = suspects(cluster, "a", "b", ("other", 1))
    fail(cluster, "b")

    assert one == set()
    assert suspects(cluster, "a", "b", ("other", 1)) == {"a", "b"}


def test_one_of_two_that_is_bad_leaves_the_other_alone(cluster: Cluster) -> None:
    cluster.configure(*members("a", "b"), "other")
    fail(cluster, "a", times=5)

    assert cluster.state("a") == "open"
    assert group_events(cluster) == []


def test_share_of_the_router_decides_how_many_are_enough(cluster: Cluster) -> None:
    cluster.configure(*members(*KEYS), "other", group_share=0.75)
    fail(cluster, *KEYS[:5], times=2)
    five = suspects(cluster)
    fail(cluster, "key-6")

    assert five == set()
    assert suspects(cluster) == set(KEYS[:6])


def test_no_group_is_suspected_while_breakers_are_disabled(cluster: Cluster) -> None:
    cluster.configure(*members(*KEYS), "other", breaker_enabled=False)
    fail(cluster, *KEYS[:5], times=2)

    assert suspects(cluster) == set()
    assert cluster.cli.do("EXISTS", f"{cluster.keys.prefix}group:p") == 0


def test_deployment_without_a_group_leaves_no_trace_of_one(cluster: Cluster) -> None:
    cluster.configure("a", "other")
    fail(cluster, "a", times=5)

    assert "failing_until_ms" not in cluster.domain()


def test_groups_are_suspected_apart(cluster: Cluster) -> None:
    cluster.configure(*members("a", "b"), *members("c", "d", group="q"))
    fail(cluster, "a", times=4)
    fail(cluster, "b", "c", "d")

    assert suspects(cluster, "a", "b", "c", "d") == {"a", "b"}


def test_operator_who_closes_ends_the_suspicion(eight: Cluster) -> None:
    fail(eight, *KEYS[:5])
    eight.force("key-8", "close")

    assert suspects(eight) == set()


def test_hung_members_count_as_failing(cluster: Cluster) -> None:
    cluster.configure(*members("a", "b", "c"), "other")
    for name in ("a", "b"):
        for _ in range(3):
            cluster.granted(name, ("other", 1), priority=0, stream=True)
    cluster.call("c")
    cluster.advance(50_000)
    cluster.beat()

    assert {cluster.state(name) for name in ("a", "b")} == {"open"}
    assert group_events(cluster) == [("trusted", "suspect", "2 of 3 fail")]


def test_dry_run_names_suspects_and_how_long_they_are_left_alone(eight: Cluster) -> None:
    fail(eight, *KEYS[:5])
    eight.advance(10_000)
    eight.granted("key-6", priority=0)
    rows = {row.deployment_id: row for row in eight.explain(*CHAIN, priority=0, read_only=True).candidates}

    assert (rows["key-1"].verdict, rows["key-1"].wait_ms) == ("suspect", COOLDOWN_MS - 10_000)
    assert (rows["key-6"].verdict, rows["key-6"].wait_ms) == ("suspect", 1_000)
    assert rows["key-7"].verdict == "eligible"


def test_key_of_a_group_expires(eight: Cluster) -> None:
    fail(eight, "key-1")

    assert 0 < eight.cli.do("PTTL", f"{eight.keys.prefix}group:p") <= WINDOW_MS


def pays(cluster: Cluster, strategy: str, calls: int) -> int:
    """How many of the calls go to the provider that fails all of them."""
    paid = 0
    for number in range(calls):
        permit = cluster.granted(*CHAIN[:8], "other", strategy=strategy, priority=0, replica=f"r{number % 4}")
        assert isinstance(permit, Permit)
        paid += permit.deployment_id != "other"
        cluster.settle(permit, "success" if permit.deployment_id == "other" else "failure")
        cluster.advance(10)
    return paid


@pytest.mark.parametrize("strategy", ["round-robin", "adaptive", "random", "least-busy"])
def test_outage_of_a_provider_with_eight_keys_is_paid_about_once(eight: Cluster, strategy: str) -> None:
    paid = pays(eight, strategy, 400)

    assert paid <= 12
    assert {eight.state(name) for name in KEYS} == {"closed"}


def test_outage_costs_half_where_priorities_try_one_key_after_the_other(cluster: Cluster) -> None:
    ranked = [deployment_policy(name, group="p", group_size=8, priority=90 - rank) for rank, name in enumerate(KEYS)]
    cluster.configure(*ranked, "other")

    assert pays(cluster, "priority", 400) == 20


def test_without_a_group_each_key_pays_for_itself(cluster: Cluster) -> None:
    cluster.configure(*KEYS, "other")

    assert pays(cluster, "round-robin", 400) == 40


@REPEATABLE
@given(calls=st.lists(st.tuples(OUTCOMES, st.integers(0, 9_000)), min_size=1, max_size=40))
def test_whatever_one_key_does_alone_others_get_what_they_would_get_without_a_group(
    cli: RedisCli, scripts: dict[str, Script], calls: list[tuple[str, int]]
) -> None:
    grouped, apart = Cluster(cli, scripts), Cluster(cli, scripts)
    grouped.configure(*members(*KEYS), "other")
    apart.configure(*KEYS, "other")
    picked: list[list[str]] = [[], []]
    for cluster, picks in ((grouped, picked[0]), (apart, picked[1])):
        for outcome, pause_ms in calls:
            permit = cluster.acquire(*CHAIN, priority=0)
            assert isinstance(permit, Permit)
            picks.append(permit.deployment_id)
            cluster.settle(permit, outcome if permit.deployment_id == "key-1" else "success")
            cluster.advance(pause_ms)

    assert picked[0] == picked[1]


@REPEATABLE
@given(
    calls=st.lists(
        st.tuples(st.lists(st.sampled_from(KEYS[:4]), min_size=1, max_size=4, unique=True), OUTCOMES, st.booleans()),
        min_size=10,
        max_size=60,
    )
)
def test_no_request_is_refused_for_a_suspicion_and_no_breaker_opens_for_one(
    cli: RedisCli, scripts: dict[str, Script], calls: list[tuple[list[str], str, bool]]
) -> None:
    cluster = Cluster(cli, scripts)
    cluster.configure(*members(*KEYS[:4]), failure_threshold=3)
    for names, outcome, is_later in calls:
        decision = cluster.acquire(*names, priority=0)
        if isinstance(decision, Permit):
            name = decision.deployment_id
            was = cluster.state(name)
            cluster.settle(decision, outcome)
            assert (was, cluster.state(name)) != ("closed", "open") or outcome in ("failure", "timeout")
        else:
            assert set(decision.verdicts) <= {"open", "probing", "cooling"}
        cluster.advance(7_000 * is_later)

    opened = [e for e in cluster.events() if e["to"] == "open"]
    assert {e["reason"] for e in opened} <= {"consecutive_failures", "probe_failed", "failure_rate"}
