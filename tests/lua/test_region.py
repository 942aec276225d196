"""Regions: who is at home comes first, what home cannot carry goes to the nearest."""

import random

import pytest

from shared_state.records import Permit
from shared_state.scripts import Script
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli

CHAIN = ("eu", "us", "asia")


def worldwide(cluster: Cluster, **limits: int) -> None:
    """A deployment in each region, named like it, as replicas in the eu see them."""
    cluster.configure(
        *(deployment_policy(name, region=name, limit=limits.get(name, 200)) for name in CHAIN), max_active=100_000
    )
    cluster.report_round_trips("eu", eu=1, us=80, asia=200)


def filled(cluster: Cluster, *names: str, region: str = "eu") -> list[str]:
    """Who gets so many requests that nobody ends."""
    return [cluster.granted(*CHAIN, region=region).deployment_id for _ in names]


def test_home_serves_alone_while_it_has_room(cluster: Cluster) -> None:
    worldwide(cluster, eu=20)

    assert {cluster.granted(*CHAIN, region="eu").deployment_id for _ in range(20)} == {"eu"}


@pytest.mark.parametrize("strategy", ["adaptive", "latency-based", "least-busy", "priority", "round-robin", "random"])
def test_what_home_cannot_carry_goes_to_the_nearest_and_then_farther(cluster: Cluster, strategy: str) -> None:
    worldwide(cluster, eu=2, us=3, asia=1)
    served = [cluster.granted(*CHAIN, region="eu", strategy=strategy).deployment_id for _ in range(6)]

    assert served == ["eu"] * 2 + ["us"] * 3 + ["asia"]


def test_each_region_has_a_home_of_its_own(cluster: Cluster) -> None:
    worldwide(cluster, asia=1, us=1)
    cluster.report_round_trips("asia", eu=200, us=150, asia=1)

    assert filled(cluster, *"abc", region="asia") == ["asia", "us", "eu"]


def test_replica_of_no_region_knows_no_home(cluster: Cluster) -> None:
    worldwide(cluster)

    assert set(cluster.draws(*CHAIN, times=100)) == set(CHAIN)


def test_deployment_of_no_region_is_at_home_everywhere(cluster: Cluster) -> None:
    cluster.configure("eu", deployment_policy("us", region="us"), deployment_policy("asia", region="asia"))

    assert set(filled(cluster, *"abcdefgh", region="asia")) == {"eu", "asia"}


def test_freed_place_at_home_is_taken_before_one_far_away(cluster: Cluster) -> None:
    worldwide(cluster, eu=1)
    at_home = cluster.granted(*CHAIN, region="eu")
    assert cluster.granted(*CHAIN, region="eu").deployment_id == "us"
    cluster.settle(at_home)

    assert cluster.granted(*CHAIN, region="eu").deployment_id == "eu"


def test_requested_model_far_away_comes_before_its_fallback_at_home(cluster: Cluster) -> None:
    worldwide(cluster)
    chain = (("us", 0), ("eu", 1))

    assert cluster.granted(*chain, region="eu").deployment_id == "us"
    cluster.trip("us")
    assert cluster.granted(*chain, region="eu").deployment_id == "eu"


def test_open_breaker_at_home_spills_everything_and_its_probe_leads_back(cluster: Cluster) -> None:
    worldwide(cluster)
    cluster.trip("eu")
    assert set(filled(cluster, *"abcde")) == {"us"}
    cluster.cool_down("eu")
    probes = [cluster.granted(*CHAIN, region="eu") for _ in range(3)]
    for probe in probes:
        cluster.settle(probe)

    assert [(probe.deployment_id, probe.is_probe) for probe in probes] == [("eu", True)] * 3
    cluster.advance(30_000)  # the slow start
    assert set(filled(cluster, *"abcde")) == {"eu"}


def test_breaker_far_away_is_not_probed_while_home_has_room(cluster: Cluster) -> None:
    worldwide(cluster, eu=2)
    cluster.trip("us")
    cluster.cool_down("us")

    assert filled(cluster, *"abc") == ["eu", "eu", "us"]
    assert cluster.state("us") == "half_open"


def test_ill_home_is_left_only_for_one_that_is_much_better(cluster: Cluster) -> None:
    """The rule of tiers, with the same two settings."""
    cluster.configure(
        *(deployment_policy(name, region=name) for name in CHAIN), breaker_enabled=False, max_failure_rate=1
    )
    cluster.report_round_trips("eu", eu=1, us=80, asia=200)
    for name in CHAIN:
        cluster.call(name, "failure", times=20)
        cluster.call(name, times=10)
        cluster.call(name, latency_ms=2001, times=2)
    assert set(filled(cluster, *"abcde")) == {"eu"}
    cluster.advance(60_000)
    cluster.call("eu", "failure", times=20)
    cluster.call("eu", latency_ms=2001, times=12)

    assert set(filled(cluster, *"abcde")) == {"us"}


def test_those_that_are_as_near_share_what_is_spilled(cluster: Cluster) -> None:
    worldwide(cluster, eu=1)
    cluster.report_round_trips("eu", us=80)
    for _ in range(20):
        cluster.report_round_trips("eu", asia=95)
    cluster.granted("eu")

    assert set(filled(cluster, *"abcdefghijkl")) == {"us", "asia"}


@pytest.mark.parametrize(("asia_ms", "served"), [(6.25, {"us", "asia"}), (6.3, {"us"})])
def test_few_ms_make_no_region_nearer(cluster: Cluster, asia_ms: float, served: set[str]) -> None:
    """As near as the nearest: a quarter and 5 ms more at most."""
    cluster.configure(*(deployment_policy(name, region=name) for name in CHAIN))
    cluster.report_round_trips("eu", us=1, asia=asia_ms)
    cluster.force("eu", "open")

    assert set(filled(cluster, *"abcdefghijkl")) == served


def test_unmeasured_distance_is_the_farthest(cluster: Cluster) -> None:
    cluster.configure(*(deployment_policy(name, region=name) for name in CHAIN))
    cluster.report_round_trips("eu", asia=300)
    cluster.force("eu", "open")

    assert set(filled(cluster, *"abcd")) == {"asia"}


def test_without_any_measured_distance_all_that_are_away_are_equal(cluster: Cluster) -> None:
    cluster.configure(*(deployment_policy(name, region=name) for name in CHAIN))
    cluster.force("eu", "open")

    assert set(filled(cluster, *"abcdefghijkl")) == {"us", "asia"}


def test_round_trips_are_smoothed_and_forgotten(cluster: Cluster) -> None:
    cluster.report_round_trips("eu", us=80, asia=200)
    cluster.report_round_trips("eu", us=90)
    key = cluster.keys.round_trips("eu")

    assert cluster.cli.do("HMGET", key, "us", "asia") == [b"83.0", b"200.0"]
    assert 0 < int(cluster.cli.do("PTTL", key)) <= 600_000


def test_distances_cost_no_look_up_while_home_has_room(cluster: Cluster) -> None:
    worldwide(cluster, eu=1)
    wrong = cluster.keys.round_trips("eu")
    cluster.cli.do("DEL", wrong)
    cluster.cli.do("SET", wrong, "a type that cannot be read as a hash")

    assert cluster.granted(*CHAIN, region="eu").deployment_id == "eu"


def test_resent_call_gets_the_same_grant_far_away(cluster: Cluster) -> None:
    worldwide(cluster, eu=1)
    cluster.granted(*CHAIN, region="eu")
    first = cluster.granted(*CHAIN, region="eu", token="r1.plain.again")
    again = cluster.granted(*CHAIN, region="eu", token="r1.plain.again", resend=1)

    assert (first.deployment_id, again.deployment_id, cluster.active("us")) == ("us", "us", 1)


def test_resent_call_that_was_not_granted_is_decided_anew(cluster: Cluster) -> None:
    worldwide(cluster)

    assert cluster.granted(*CHAIN, region="eu", token="r1.plain.lost", resend=1).deployment_id == "eu"


def test_explanation_names_those_passed_over_for_a_nearer_one(cluster: Cluster) -> None:
    worldwide(cluster, eu=1)
    told = cluster.explain(*CHAIN, region="eu", read_only=True)
    assert [(c.verdict, c.region, c.rtt_ms) for c in told.candidates] == [
        ("eligible", "eu", 1.0),
        ("remote", "us", 80.0),
        ("remote", "asia", 200.0),
    ]
    cluster.granted("eu")
    told = cluster.explain(*CHAIN, region="eu", read_only=True)

    assert (told.picked, [c.verdict for c in told.candidates]) == ("us", ["full", "eligible", "remote"])


@pytest.mark.parametrize("seed", range(6))
def test_explanation_agrees_with_the_next_decision(cluster: Cluster, seed: int) -> None:
    draw = random.Random(seed)
    worldwide(cluster, eu=3, us=2, asia=2)
    for _ in range(20):
        name = draw.choice(CHAIN)
        decision = cluster.acquire(name)
        if isinstance(decision, Permit) and draw.random() < 0.6:
            cluster.settle(
                decision, draw.choice(("success", "failure", "throttled")), latency_ms=draw.choice((9, 3000))
            )
        told = cluster.explain(*CHAIN, region="eu", seed=seed)
        decision = cluster.acquire(*CHAIN, region="eu", seed=seed)

        assert told.picked == (decision.deployment_id if isinstance(decision, Permit) else None)
        if isinstance(decision, Permit):
            cluster.settle(decision, "cancelled")


def test_snapshot_has_regions_and_distances(cluster: Cluster) -> None:
    worldwide(cluster)
    told = {d.id: (d.region, d.rtt_ms) for d in cluster.snapshot(read_only=True, region="eu").deployments}
    unasked = {d.id: d.rtt_ms for d in cluster.snapshot(read_only=True).deployments}

    assert told == {"eu": ("eu", 1.0), "us": ("us", 80.0), "asia": ("asia", 200.0)}
    assert set(unasked.values()) == {None}


def test_with_a_store_for_each_region_what_is_far_has_limits_of_its_own_in_each(
    cluster: Cluster, cli: RedisCli, scripts: dict[str, Script]
) -> None:
    other_cluster = Cluster(cli, scripts)
    for each in (cluster, other_cluster):
        worldwide(each, eu=1, us=2)
    other_cluster.report_round_trips("us", us=1, eu=80, asia=120)

    assert filled(cluster, *"abcd") == ["eu", "us", "us", "asia"]
    assert filled(other_cluster, *"abcd", region="us") == ["us", "us", "eu", "asia"]
