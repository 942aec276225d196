"""The breaker: what opens it, for how long, who may probe, what closes it."""

import itertools

import pytest

from shared_state.records import Permit
from tests.support.state import Cluster, deployment_policy


def cooldown_ms(cluster: Cluster, deployment_id: str = "a") -> int:
    return int(cluster.deployment(deployment_id)["open_until_ms"]) - cluster.now_ms


def transitions(cluster: Cluster, deployment_id: str = "a") -> list[tuple[str, str, str]]:
    return [(e["from"], e["to"], e["reason"]) for e in cluster.events(deployment_id)]


# -- closed -----------------------------------------------------------------------------------------------------


def test_fifth_failure_in_a_row_opens(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", times=4)
    before = cluster.state("a")
    cluster.call("a", "failure")

    assert (before, cluster.state("a")) == ("closed", "open")
    assert cluster.deployment("a")["open_reason"] == "consecutive_failures"


def test_success_in_between_starts_the_count_again(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", "failure", times=4)
    cluster.call("a")
    cluster.call("a", "failure", times=4)

    assert cluster.state("a") == "closed"


@pytest.mark.parametrize("outcome", ["throttled", "client_error", "cancelled"])
def test_neutral_outcome_neither_counts_nor_forgives(cluster: Cluster, outcome: str) -> None:
    cluster.configure("a")
    permits = [cluster.granted("a") for _ in range(10)]
    cluster.call("a", "failure", times=4)
    for permit in permits:
        cluster.settle(permit, outcome)
    cluster.advance(1000)
    before = cluster.state("a")
    cluster.call("a", "failure")

    assert (before, cluster.state("a")) == ("closed", "open")


def test_third_slow_answer_in_a_row_opens(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.call("a", latency_ms=2001, times=2, spare="b")
    before = cluster.state("a")
    cluster.call("a", latency_ms=2001, spare="b")

    assert (before, cluster.state("a")) == ("closed", "open")
    assert cluster.deployment("a")["open_reason"] == "consecutive_slow"


def test_quick_answer_in_between_starts_the_slow_count_again(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for _ in range(5):
        cluster.call("a", latency_ms=2001, times=2, spare="b")
        cluster.call("a", spare="b")

    assert cluster.state("a") == "closed"


def test_half_of_twenty_calls_failing_opens(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(9):
        cluster.call("a")
        cluster.call("a", "failure")
    cluster.call("a")
    before = cluster.state("a")
    cluster.call("a", "failure")

    assert (before, cluster.state("a")) == ("closed", "open")
    assert cluster.deployment("a")["open_reason"] == "failure_rate"


def test_less_than_half_failing_does_not_open(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a")
    for _ in range(50):
        cluster.call("a")
        cluster.call("a", "failure")

    assert cluster.state("a") == "closed"


def test_rates_are_chance_below_twenty_calls(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(4):
        cluster.call("a", "failure", times=3)
        cluster.call("a")
    cluster.call("a", "failure", times=3)

    assert cluster.state("a") == "closed"


def test_half_of_twenty_calls_slow_opens(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for _ in range(10):
        cluster.call("a", spare="b")
        cluster.call("a", latency_ms=2001, spare="b")

    assert (cluster.state("a"), cluster.deployment("a")["open_reason"]) == ("open", "slow_rate")


def test_calls_that_left_the_window_do_not_count(cluster: Cluster) -> None:
    cluster.configure("a")
    for _ in range(9):
        cluster.call("a")
        cluster.call("a", "failure")
    cluster.advance(60_000)
    cluster.call("a")
    cluster.call("a", "failure")

    assert cluster.state("a") == "closed"


def test_thresholds_are_settings(cluster: Cluster) -> None:
    cluster.configure("a", "b", "c", failure_threshold=2, slow_limit=1)
    cluster.call("a", "failure", times=2)
    cluster.call("b", latency_ms=2001, spare="c")

    assert (cluster.state("a"), cluster.state("b")) == ("open", "open")


def test_breakers_are_apart(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    cluster.trip("a")

    assert cluster.state("b") == "closed"


def test_results_of_all_replicas_count_together(cluster: Cluster) -> None:
    cluster.configure("a")
    for k in range(5):
        cluster.settle(cluster.granted("a", replica=f"r{k}"), "failure")

    assert cluster.state("a") == "open"


# -- open -------------------------------------------------------------------------------------------------------


def test_open_breaker_rejects_until_cooldown(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.advance(cooldown_ms(cluster) - 1)
    verdicts = cluster.rejected("a").verdicts
    cluster.advance(1)

    assert verdicts == ("open",)
    assert cluster.granted("a").is_probe


def test_first_cooldown_is_thirty_seconds_give_or_take_a_tenth(cluster: Cluster) -> None:
    ids = [f"a{k}" for k in range(50)]
    cluster.configure(*ids)
    for name in ids:
        cluster.trip(name)
    cooldowns = [cooldown_ms(cluster, name) for name in ids]

    assert 27_000 <= min(cooldowns) < 28_500
    assert 31_500 < max(cooldowns) <= 33_000


def test_cooldown_doubles_with_every_trip_up_to_five_minutes(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    for doubled in (60_000, 120_000, 240_000, 300_000, 300_000):
        cluster.cool_down("a")
        cluster.call("a", "failure")

        assert 0.9 * doubled <= cooldown_ms(cluster) <= 1.1 * doubled


def test_trip_soon_after_recovery_doubles_too(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.recover("a")
    cluster.advance(59_999)
    cluster.trip("a")

    assert cluster.deployment("a")["trips"] == "2"


@pytest.mark.parametrize(("healthy_ms", "trips"), [(59_999, 4), (60_000, 3), (120_000, 2), (180_000, 1), (10**9, 1)])
def test_one_trip_is_forgotten_per_minute_of_health(cluster: Cluster, healthy_ms: int, trips: int) -> None:
    cluster.configure("a")
    cluster.trip("a")
    for _ in range(2):
        cluster.cool_down("a")
        cluster.call("a", "failure")
    cluster.recover("a")
    cluster.advance(healthy_ms)
    cluster.trip("a")

    assert cluster.deployment("a")["trips"] == str(trips)


def test_trips_are_forgotten_after_an_operator_closed_too(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    for _ in range(3):
        cluster.cool_down("a")
        cluster.call("a", "failure")
    cluster.force("a", "close")
    cluster.advance(3_600_000)
    cluster.trip("a")

    assert cluster.deployment("a")["trips"] == "1"


def test_cooldown_of_the_deployment_wins(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", cooldown_ms=2000))
    cluster.trip("a")

    assert 1800 <= cooldown_ms(cluster) <= 2200


def test_cooldown_longer_than_the_longest_is_kept(cluster: Cluster) -> None:
    cluster.configure(deployment_policy("a", cooldown_ms=900_000))
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.call("a", "failure")

    assert 810_000 <= cooldown_ms(cluster) <= 990_000


def test_results_while_open_change_nothing(cluster: Cluster) -> None:
    cluster.configure("a")
    late = [cluster.granted("a") for _ in range(20)]
    cluster.trip("a")
    before = cooldown_ms(cluster)
    for k, permit in enumerate(late):
        cluster.settle(permit, "failure" if k % 2 else "success")

    assert (cluster.state("a"), cooldown_ms(cluster)) == ("open", before)


def test_time_alone_does_not_move_it(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.advance(3_600_000)
    cluster.beat()

    assert cluster.state("a") == "open"


# -- half open --------------------------------------------------------------------------------------------------


def half_open(cluster: Cluster, **policy: int) -> None:
    cluster.configure("a", **policy)
    cluster.trip("a")
    cluster.cool_down("a")


def test_hundred_interleaved_callers_get_three_probes(cluster: Cluster) -> None:
    half_open(cluster)
    decisions = [cluster.acquire("a", replica=f"r{k % 5}") for k in range(100)]
    permits = [d for d in decisions if isinstance(d, Permit)]

    assert [p.is_probe for p in permits] == [True, True, True]
    assert len({p.generation for p in permits}) == 1


def test_probes_given_back_never_let_more_than_three_run(cluster: Cluster) -> None:
    half_open(cluster)
    running: list[Permit] = []
    for k in range(100):
        decision = cluster.acquire("a", replica=f"r{k % 5}")
        if isinstance(decision, Permit):
            running.append(decision)
        elif k % 7 == 0:
            cluster.settle(running.pop(0), ("cancelled", "client_error", "throttled")[k % 2])

        assert len(running) <= 3


def test_number_of_probes_is_a_setting(cluster: Cluster) -> None:
    half_open(cluster, probes=2)
    cluster.granted("a")
    cluster.granted("a")

    assert cluster.rejected("a").verdicts == ("probing",)


def test_two_quick_probes_close(cluster: Cluster) -> None:
    half_open(cluster)
    probes = [cluster.granted("a") for _ in range(2)]
    states = [cluster.settle(probe).state for probe in probes]

    assert states == ["half_open", "closed"]


@pytest.mark.parametrize("outcome", ["failure", "timeout", "overloaded"])
def test_one_failed_probe_opens_again(cluster: Cluster, outcome: str) -> None:
    half_open(cluster)
    probes = [cluster.granted("a") for _ in range(2)]
    states = [cluster.settle(probes[0]).state, cluster.settle(probes[1], outcome).state]

    assert states == ["half_open", "open"]
    assert cluster.deployment("a")["open_reason"] == "probe_failed"


def test_one_slow_probe_opens_again(cluster: Cluster) -> None:
    half_open(cluster)
    cluster.configure("b")
    state = cluster.settle(cluster.granted("a", ("b", 1)), latency_ms=2001).state

    assert (state, cluster.deployment("a")["open_reason"]) == ("open", "probe_slow")


@pytest.mark.parametrize("outcome", ["throttled", "client_error", "cancelled"])
def test_neutral_probe_returns_its_permit(cluster: Cluster, outcome: str) -> None:
    half_open(cluster)
    probes = [cluster.granted("a") for _ in range(3)]
    cluster.rejected("a")
    cluster.settle(probes[0], outcome)
    cluster.advance(1000)

    assert cluster.granted("a").is_probe
    cluster.rejected("a")


def test_probe_of_an_earlier_half_open_generation_does_not_close(cluster: Cluster) -> None:
    half_open(cluster)
    late = [cluster.granted("a") for _ in range(2)]
    cluster.call("a", "failure")
    cluster.cool_down("a")
    cluster.granted("a")
    for probe in late:
        cluster.settle(probe)

    assert (cluster.state("a"), cluster.snapshot().deployments[0].probes_succeeded) == ("half_open", 0)


def test_good_probe_of_an_earlier_try_does_not_count_in_the_next(cluster: Cluster) -> None:
    half_open(cluster)
    cluster.call("a")
    cluster.call("a", "failure")
    cluster.cool_down("a")
    cluster.call("a")

    assert cluster.state("a") == "half_open"


def test_call_from_before_the_trip_is_no_probe(cluster: Cluster) -> None:
    cluster.configure("a")
    late = [cluster.granted("a") for _ in range(3)]
    cluster.trip("a")
    cluster.cool_down("a")
    cluster.granted("a")
    for permit in late:
        cluster.settle(permit)

    assert cluster.state("a") == "half_open"


def test_probes_that_never_report_open_again(cluster: Cluster) -> None:
    half_open(cluster)
    for _ in range(3):
        cluster.granted("a")
    cluster.advance(75_000)
    cluster.rejected("a")

    assert (cluster.state("a"), cluster.deployment("a")["open_reason"]) == ("open", "probe_deadline")
    assert cluster.deployment("a")["trips"] == "2"


def test_caller_that_finds_the_deadline_passed_gets_the_new_cooldown(cluster: Cluster) -> None:
    half_open(cluster)
    for _ in range(3):
        cluster.granted("a")
    cluster.advance(75_000)

    assert cluster.rejected("a").retry_after_ms == cooldown_ms(cluster)


def test_deployment_that_is_being_probed_may_be_back_in_a_moment(cluster: Cluster) -> None:
    half_open(cluster)
    for _ in range(3):
        cluster.granted("a")

    assert cluster.rejected("a").retry_after_ms == 1000


def test_probes_have_until_the_end_of_their_lease_to_report(cluster: Cluster) -> None:
    half_open(cluster)
    probes = [cluster.granted("a") for _ in range(3)]
    cluster.advance(74_999)
    cluster.rejected("a")
    for probe in probes[:2]:
        cluster.settle(probe)

    assert cluster.state("a") == "closed"


def half_open_with_long_leases(cluster: Cluster, slow_ms: int = 0) -> None:
    """Of 10 minutes; with a p99 of about ``slow_ms`` from before the trip."""
    cluster.configure(deployment_policy("a", lease_ms=600_000, latency_threshold_ms=1_000_000))
    for _ in range(20 if slow_ms else 0):
        cluster.call("a", latency_ms=slow_ms)
    cluster.trip("a")
    cluster.cool_down("a")


def deadline_of(cluster: Cluster) -> int:
    """In ms from now."""
    return int(cluster.deployment("a")["probe_deadline_ms"]) - cluster.now_ms


def test_silent_probe_has_75_s_although_a_call_may_take_longer(cluster: Cluster) -> None:
    half_open_with_long_leases(cluster)
    cluster.granted("a")

    assert deadline_of(cluster) == 75_000


def test_probe_of_a_slow_model_has_twice_its_p99(cluster: Cluster) -> None:
    half_open_with_long_leases(cluster, slow_ms=60_000)
    cluster.granted("a")

    assert 100_000 < deadline_of(cluster) < 140_000


def test_probe_that_is_a_stream_has_its_whole_lease_once_its_first_byte_has_come(cluster: Cluster) -> None:
    half_open_with_long_leases(cluster)
    probe = cluster.granted("a", stream=True)
    cluster.beat(answered=(probe,))
    assert deadline_of(cluster) == 600_000

    cluster.advance(599_999)
    assert cluster.granted("a").is_probe


def test_first_byte_of_a_call_from_before_extends_no_deadline(cluster: Cluster) -> None:
    half_open_with_long_leases(cluster)
    before = cluster.granted("a", stream=True)
    cluster.settle(cluster.granted("a"), "failure")
    cluster.cool_down("a")
    cluster.granted("a")
    cluster.beat(answered=(before,))

    assert deadline_of(cluster) == 75_000


@pytest.mark.parametrize("outcome", ["success", "cancelled"])
def test_one_silent_probe_opens_again_though_another_reported(cluster: Cluster, outcome: str) -> None:
    half_open(cluster)
    probes = [cluster.granted("a") for _ in range(2)]
    cluster.settle(probes[0], outcome)
    cluster.advance(75_000)
    cluster.rejected("a")

    assert cluster.deployment("a")["open_reason"] == "probe_deadline"


@pytest.mark.parametrize("outcome", ["success", "cancelled"])
def test_reported_probes_leave_no_deadline_behind(cluster: Cluster, outcome: str) -> None:
    half_open(cluster)
    cluster.call("a", outcome)
    cluster.advance(3_600_000)

    assert cluster.granted("a").is_probe


def test_later_probe_does_not_extend_the_time_of_a_silent_one(cluster: Cluster) -> None:
    half_open(cluster)
    cluster.granted("a")
    cluster.advance(74_000)
    cluster.granted("a")
    cluster.advance(1000)
    cluster.rejected("a")

    assert cluster.deployment("a")["open_reason"] == "probe_deadline"


def test_breaker_is_closed_by_probes_of_different_replicas(cluster: Cluster) -> None:
    half_open(cluster)
    for replica in ("r1", "r2"):
        cluster.settle(cluster.granted("a", replica=replica))

    assert cluster.state("a") == "closed"


def test_closing_clears_what_was_learned_before(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a", latency_ms=1999, times=10)
    cluster.trip("a")
    cluster.recover("a")
    row = cluster.snapshot().deployments[0]

    assert (row.requests, row.failures, row.p99_ms, row.health_score) == (0, 0, 0, 98.8)


# -- generations and events -------------------------------------------------------------------------------------


def test_every_transition_is_one_generation_and_one_event(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.recover("a")
    cluster.trip("a")

    assert transitions(cluster) == [
        ("closed", "open", "consecutive_failures"),
        ("open", "half_open", "cooldown_over"),
        ("half_open", "closed", "probes_succeeded"),
        ("closed", "open", "consecutive_failures"),
    ]
    assert [e["generation"] for e in cluster.events("a")] == ["1", "2", "3", "4"]


def test_events_are_in_the_order_of_replies(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    for name in ("a", "b", "a"):
        cluster.trip(name)
        cluster.recover(name)
    sequences = [int(e["sequence"]) for e in cluster.events()]

    assert all(earlier < later for earlier, later in itertools.pairwise(sequences))


def test_permit_carries_the_generation_it_was_granted_in(cluster: Cluster) -> None:
    cluster.configure("a")
    before = cluster.granted("a")
    cluster.trip("a")
    cluster.cool_down("a")

    assert (before.generation, cluster.granted("a").generation) == (0, 2)


# -- disabled ---------------------------------------------------------------------------------------------------


def test_breaker_turned_off_never_opens(cluster: Cluster) -> None:
    cluster.configure("a", breaker_enabled=False)
    cluster.call("a", "failure", times=50)
    cluster.call("a", latency_ms=9999, times=50)

    assert cluster.state("a") == "closed"


def test_breaker_turned_off_lets_requests_to_an_open_deployment(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.trip("a")
    cluster.configure("a", breaker_enabled=False)

    assert not cluster.granted("a").is_probe


def test_breaker_turned_off_while_half_open_does_not_open_again(cluster: Cluster) -> None:
    half_open(cluster)
    cluster.granted("a")
    cluster.configure("a", breaker_enabled=False)
    cluster.call("a", "failure", times=3)

    assert cluster.state("a") == "half_open"


@pytest.mark.parametrize("cooldown_ms", [30_000, 300_000], ids=["cooled down", "still cooling down"])
def test_breaker_turned_off_while_open_does_not_count_as_unhealthy(cluster: Cluster, cooldown_ms: int) -> None:
    policy = deployment_policy("a", cooldown_ms=cooldown_ms)
    cluster.configure(policy)
    cluster.trip("a")
    cluster.configure(policy, breaker_enabled=False)
    cluster.advance(60_000)
    cluster.call("a", times=30)
    cluster.beat()

    assert cluster.domain()["healthy_ratio"] == "1.000"


def test_operator_beats_a_breaker_that_is_turned_off(cluster: Cluster) -> None:
    cluster.configure("a", breaker_enabled=False)
    cluster.force("a", "open")

    assert cluster.rejected("a").verdicts == ("forced_open",)


def test_breaker_turned_off_ends_what_was_forced_for_a_time(cluster: Cluster) -> None:
    """It would count as unhealthy for ever, and shed load."""
    cluster.configure("a", breaker_enabled=False)
    cluster.force("a", "open", ttl_ms=1000)
    cluster.advance(1000)
    cluster.call("a", times=3)
    cluster.beat()

    assert cluster.state("a") != "forced_open"
    assert cluster.domain()["healthy_ratio"] == "1.000"
