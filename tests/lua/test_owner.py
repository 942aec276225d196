"""Who holds what a provider made: remembered by `remember`, honoured by `acquire`, bounded in number and time; and the
restriction of a decision to some of its candidates.
"""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from shared_state.calls.owned import OWNED_MOST, digest_of
from shared_state.money import Budget, Spending
from shared_state.policies import TenantLimits
from shared_state.records import Permit
from shared_state.scripts import Script
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli

X, Y, Z = (digest_of("team", name) for name in ("resp_x", "resp_y", "resp_z"))
PARTS = 4


@pytest.fixture
def pair(cluster: Cluster) -> Cluster:
    """Two accounts behind one model, and a fallback. What X stands for is with `b`, Y with `a`."""
    cluster.configure("a", "b", "c", last_resort=True)
    cluster.remember("b", X)
    cluster.remember("a", Y)
    return cluster


def test_request_goes_to_the_owner_of_what_it_names(pair: Cluster) -> None:
    assert {pair.granted("a", "b", owned=(X,)).deployment_id for _ in range(20)} == {"b"}
    assert {pair.granted("a", "b", owned=(Y,)).deployment_id for _ in range(20)} == {"a"}
    assert pair.granted("a", "b", owned=(X,)).is_owned


def test_unknown_id_restricts_nothing(pair: Cluster) -> None:
    permits = [pair.granted("a", "b", owned=(Z,)) for _ in range(40)]

    assert {permit.deployment_id for permit in permits} == {"a", "b"}
    assert not any(permit.is_owned for permit in permits)


def test_store_without_owners_restricts_nothing(cluster: Cluster) -> None:
    cluster.configure("a", "b")

    assert {cluster.granted("a", "b", owned=(X,)).deployment_id for _ in range(40)} == {"a", "b"}


def test_first_id_with_an_owner_decides(pair: Cluster) -> None:
    assert pair.granted("a", "b", owned=(Z, X, Y)).deployment_id == "b"
    assert pair.granted("a", "b", owned=(Y, X)).deployment_id == "a"


def test_fallback_is_never_taken_in_the_owners_place(pair: Cluster) -> None:
    pair.trip("b")
    pair.granted("b", owned=(X,))  # the last resort, once a second

    refused = pair.rejected("a", "b", ("c", 1), owned=(X,))
    assert (refused.code, refused.reason) == ("none", "owned")
    assert refused.verdicts == ("excluded", "open", "excluded")
    assert 0 < refused.retry_after_ms <= 1_000


def test_owner_that_is_open_gets_the_last_resort(pair: Cluster) -> None:
    pair.trip("b")
    permit = pair.granted("a", "b", ("c", 1), owned=(X,))

    assert (permit.deployment_id, permit.is_last_resort, permit.is_owned) == ("b", True, True)


def test_owner_in_this_domain_gets_the_last_resort_although_more_candidates_follow(pair: Cluster) -> None:
    pair.trip("b")

    assert pair.granted("a", "b", owned=(X,), has_more=True).is_last_resort
    pair.trip("a")
    assert pair.rejected("a", has_more=True).code == "none"


def test_forced_open_owner_gets_nothing(pair: Cluster) -> None:
    pair.force("b", "open")

    assert pair.rejected("a", "b", owned=(X,)).verdicts == ("excluded", "forced_open")


def test_full_owner_may_be_waited_for(cluster: Cluster) -> None:
    cluster.configure("a", deployment_policy("b", limit=1))
    cluster.remember("b", X)
    cluster.granted("b")

    assert cluster.rejected("a", "b", owned=(X,)).verdicts == ("excluded", "full")


def test_half_open_owner_gets_its_probe_and_another_candidate_none(pair: Cluster) -> None:
    pair.trip("a")
    pair.cool_down("a")

    assert not pair.granted("a", "b", owned=(X,)).is_probe
    assert pair.granted("a", "b", owned=(Y,)).is_probe


def test_owner_that_is_no_candidate_is_named(pair: Cluster) -> None:
    refused = pair.rejected("a", ("c", 1), owned=(X,))

    assert (refused.code, refused.reason, refused.verdicts) == ("owner", "b", ("excluded", "excluded"))


def test_retry_that_exceeds_its_budget_is_refused_for_that(pair: Cluster) -> None:
    assert pair.rejected("a", owned=(X,), attempt=2).code == "owner"
    while isinstance(pair.acquire("a", attempt=2), Permit):
        pass

    assert pair.rejected("a", owned=(X,), attempt=2).code == "retry_budget"


def test_other_deployment_of_the_owners_account_serves_as_well(cluster: Cluster) -> None:
    cluster.configure("a", deployment_policy("big", account="@small"), "small", last_resort=True)
    cluster.remember("small", X)
    cluster.remember("big", Y)

    assert cluster.granted("a", "big", owned=(X,)).deployment_id == "big"
    assert cluster.granted("a", "small", owned=(Y,)).deployment_id == "small"
    assert {cluster.granted("a", "small", "big", owned=(X,)).deployment_id for _ in range(40)} == {"small", "big"}


def test_owner_whose_name_looks_like_a_number_is_found(cluster: Cluster) -> None:
    cluster.configure("7", "1e5", deployment_policy("x", account="@1e5"))
    cluster.remember("1e5", X)

    assert cluster.granted("7", "1e5", owned=(X,)).deployment_id == "1e5"
    assert cluster.granted("7", "x", owned=(X,)).deployment_id == "x"


def test_only_restricts_the_choice(pair: Cluster) -> None:
    assert {pair.granted("a", "b", ("c", 1), only=("b",)).deployment_id for _ in range(20)} == {"b"}
    assert pair.granted("a", "b", ("c", 1), only=("c",)).deployment_id == "c"
    assert pair.rejected("a", "b", only=("c",)).verdicts == ("excluded", "excluded")
    assert pair.rejected("a", "b", only=("c",)).code == "none"


def test_owner_outside_of_only_is_no_candidate(pair: Cluster) -> None:
    assert pair.granted("a", "b", only=("b",), owned=(X,)).deployment_id == "b"
    assert pair.rejected("a", "b", only=("a",), owned=(X,)).code == "owner"


def test_budget_of_the_only_candidate_decides(pair: Cluster) -> None:
    tenant = TenantLimits(name="t", budget=Budget(10, "day"))
    spending = Spending(None, tenant.budget, (5, 50))

    assert pair.granted("a", "b", only=("a",), tenant=tenant, spending=spending).deployment_id == "a"
    assert pair.rejected("a", "b", only=("b",), tenant=tenant, spending=spending).code == "over_budget"


def test_excluded_candidate_counts_as_no_relief(pair: Cluster) -> None:
    pair.granted("a", "b", only=("a",))

    assert "relief_at_ms" not in pair.deployment("a")
    assert pair.granted("a", "b")
    assert "relief_at_ms" in pair.deployment("a")


def test_explain_shows_the_restriction(pair: Cluster) -> None:
    explained = pair.explain("a", "b", owned=(X,), read_only=True)

    assert explained.picked == "b"
    assert [each.verdict for each in explained.candidates] == ["excluded", "eligible"]
    assert pair.explain("a", "b", only=("a",)).picked == "a"


def test_resent_decision_keeps_its_grant(pair: Cluster) -> None:
    granted = pair.granted("a", "b", owned=(X,))
    pair.remember("a", X)

    assert pair.granted("a", "b", owned=(X,), token=granted.token, resend=True).deployment_id == "b"


def test_store_holds_neither_ids_nor_tenants_nor_digests(pair: Cluster) -> None:
    fields = pair.cli.do("HGETALL", f"{pair.keys.owners.decode()}:1")
    held = {word.decode() for word in fields}

    assert len(held) == 2
    assert all(len(word) == 24 for word in held)
    assert not any(word in digest for word in held for digest in (X, Y))


def test_secret_of_the_first_call_stays(pair: Cluster) -> None:
    names = [pair.keys.domain, pair.keys.owners]
    pair.run("remember", names, ["a", 60_000, 1000, "another secret", X])

    assert pair.granted("a", "b", owned=(X,)).deployment_id == "a"
    assert pair.cli.do("HGET", pair.keys.owners, "secret") == b"secret"


def test_ids_expire(pair: Cluster) -> None:
    assert 0 < pair.cli.do("PTTL", f"{pair.keys.owners.decode()}:1") <= 60_000
    assert 60_000 < pair.cli.do("PTTL", pair.keys.owners) <= 120_000


def test_longest_call_remembers_all_and_most_of_one_keeps_the_newest(cluster: Cluster) -> None:
    cluster.configure("a", "b")
    digests = [digest_of("t", str(number)) for number in range(OWNED_MOST)]

    assert cluster.remember("a", *digests, most=4 * OWNED_MOST) == (1, OWNED_MOST)
    assert cluster.granted("a", "b", owned=tuple(digests)).deployment_id == "a"
    cluster.remember("b", X, Y, most=1)
    assert {cluster.granted("a", "b", owned=(X,)).deployment_id for _ in range(9)} == {"b"}
    assert not cluster.granted("a", "b", owned=(Y,)).is_owned


@dataclass
class Part:
    since_ms: int
    owners: dict[str, str] = field(default_factory=dict)


class Owners(RuleBasedStateMachine):
    """Compares the scripts with a model that keeps a list of parts. Each id that was remembered is found until its part
    is dropped, and no more ids are kept than allowed.
    """

    MOST, TTL_MS = 12, 8_000
    store: RedisCli
    scripts: dict[str, Script]

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(self.store, self.scripts)
        self.cluster.configure("a", "b", "c")
        self.parts: list[Part] = []

    @rule(owner=st.sampled_from("abc"), names=st.lists(st.integers(0, 40), min_size=1, max_size=5, unique=True))
    def remember(self, owner: str, names: list[int]) -> None:
        digests = [digest_of("t", str(name)) for name in names]
        self.cluster.remember(owner, *digests, ttl_ms=self.TTL_MS, most=self.MOST)
        room, now_ms = self.MOST // PARTS, self.cluster.now_ms
        newest = self.parts[-1] if self.parts else None
        is_over = newest and len(newest.owners) > 0 and len(newest.owners) + len(digests) > room
        if newest is None or is_over or now_ms - newest.since_ms >= self.TTL_MS // PARTS:
            newest = Part(now_ms)
            self.parts = [*self.parts, newest][-PARTS:]
        newest.owners |= dict.fromkeys(digests[:room], owner)

    @rule(names=st.lists(st.integers(0, 40), min_size=1, max_size=3, unique=True))
    def name(self, names: list[int]) -> None:
        digests = tuple(digest_of("t", str(name)) for name in names)
        known = (part.owners[digest] for digest in digests for part in reversed(self.parts) if digest in part.owners)
        owner = next(known, None)
        permit = self.cluster.granted("a", "b", "c", owned=digests)
        self.cluster.settle(permit, "cancelled")

        assert permit.is_owned == (owner is not None)
        assert owner in (None, permit.deployment_id)

    @rule(ms=st.integers(1, 3_000))
    def wait(self, ms: int) -> None:
        self.cluster.advance(ms)

    def teardown(self) -> None:
        keys = self.cluster.cli.do("KEYS", f"{self.cluster.keys.owners.decode()}:*")
        assert sum(self.cluster.cli.do("HLEN", key) for key in keys) <= self.MOST
        assert len(keys) == len(self.parts)


def test_owners_of_random_histories_are_those_of_the_model(cli: RedisCli, scripts: dict[str, Script]) -> None:
    Owners.store, Owners.scripts = cli, scripts
    checks = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Owners, settings=checks)


def test_memory_of_an_id_is_small(cluster: Cluster) -> None:
    cluster.configure("gpt-4-primary")
    numbers = itertools.count()
    for _ in range(20):
        cluster.remember("gpt-4-primary", *(digest_of("t", str(next(numbers))) for _ in range(100)), most=8_000)

    assert cluster.cli.do("MEMORY", "USAGE", f"{cluster.keys.owners.decode()}:1", "SAMPLES", 0) < 2_000 * 140


def test_permit_of_an_ordinary_decision_is_not_owned(cluster: Cluster) -> None:
    cluster.configure("a")
    decision = cluster.acquire("a")

    assert isinstance(decision, Permit)
    assert not decision.is_owned
