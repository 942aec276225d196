"""Random histories of several replicas, compared after every step with a second, independent model of the domain. Calls
follow one another, so the model needs no locks: it gets the calls that the scripts get.
"""

import dataclasses
import math
import re
from hashlib import blake2b
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gateway.request.sessions import Sessions
from shared_state.policies import UNLIMITED, DeploymentPolicy, TenantLimits
from shared_state.records import Permit
from shared_state.scripts import Script
from tests.support.deployment_model import (
    FAILED,
    NEUTRAL,
    RELIEF_EVERY_MS,
    RELIEF_MS,
    RESORT_EVERY_MS,
    Deployment,
    Lease,
    Router,
    Rules,
    Until,
    drawn,
)
from tests.support.model import Choice, Domain, Minute, Refusal
from tests.support.pin_model import FIRST, InForce, Pins, Placed, measure
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli

Tiers = tuple[tuple[str, ...], ...]

RULES = {
    "a": Rules(limit=2, lease_ms=20_000, cooldown_ms=8_000),
    "b": Rules(limit=4, lease_ms=20_000, cooldown_ms=8_000, priority=60),
    "c": Rules(limit=3, lease_ms=30_000, cooldown_ms=200_000, priority=60, rpm=6),
}
ROUTER = Router(failures=3, slow=3, probes=2, successes=2, max_active=7)
# No rates, no scores: only what is the same to the last bit however it is computed.
POLICY: dict[str, Any] = {
    "failure_threshold": ROUTER.failures,
    "slow_limit": ROUTER.slow,
    "probes": ROUTER.probes,
    "probe_successes": ROUTER.successes,
    "max_active": ROUTER.max_active,
    "min_calls": 10**6,
    "min_health": 0,
    "min_healthy_ratio": 0,
}
THRESHOLD_MS = 60_000  # longer than a lease: no call is overdue in flight
CHAINS: list[Tiers] = [(("a",),), (("b",),), (("c",),), (("a", "b", "c"),), (("a",), ("b", "c")), (("c", "a"), ("b",))]
REPLICAS = ("r1", "r2", "r3")
NAMES = st.sampled_from(sorted(RULES))
KINDS = ("chat", "embeddings")
TENANTS = (UNLIMITED, TenantLimits(name="t", tpm=600), TenantLimits(name="u", tpm=60))  # whole ms a token
SERIES = [
    ("success",) * 2,
    ("success",) * 3,
    ("failure",) * 3,
    ("failure", "success", "failure"),
    ("success", "cancelled", "success"),
]
SERIES += [("throttled", "success"), ("timeout", "overloaded")]
OUTCOMES = ["success", *FAILED, *NEUTRAL]
NOT_SERVED = (*FAILED, "throttled", "unsupported")  # an outcome that ends a pin, where no other attempt follows
# The names of a request: its session, with a mark if this is a first turn, then the beginnings of its prompt.
SESSIONS: list[tuple[str, ...]] = [(), ("s1",), ("s2",), ("+s2",), ("s1", "p1"), ("s2", "p2", "p1"), ("+s3", "p1")]
NAMES_MOST = max(map(len, SESSIONS))
SHARES = (0.9, 0.5, 0.0)  # of a prompt, read from a cache
SEEDS = st.integers(0, 2**31 - 1)
BREAKER = ("state", "generation", "active", "limit", "trips", "wait_ms")
ROW = (*BREAKER, "consecutive_failures", "consecutive_slow", "probes_issued", "probes_succeeded")


def minute_of(tenant: TenantLimits, tokens: int) -> Minute | None:
    return Minute(tenant.name, tokens, tenant.tpm) if tenant.tpm else None


def hashes_of(names: tuple[str, ...], tenant: TenantLimits) -> tuple[str, ...]:
    """As the product names sessions to the store."""
    sessions = Sessions("session")
    hashes = []
    for each in names:
        [name] = sessions.name(each.removeprefix(FIRST), tenant.name, "m")
        digest = blake2b(name, key=b"secret", digest_size=12).hexdigest()
        hashes.append(FIRST * each.startswith(FIRST) + digest)
    return tuple(hashes)


def policy(name: str, rules: Rules) -> DeploymentPolicy:
    return deployment_policy(name, latency_threshold_ms=THRESHOLD_MS, **dataclasses.asdict(rules))


class Calls(RuleBasedStateMachine):
    """Requests, time, and replicas that crash."""

    router = ROUTER
    deployed: ClassVar = RULES
    affinity: Pins | None = None

    def __init__(self, cli: RedisCli, scripts: dict[str, Script]) -> None:
        super().__init__()
        self.cluster = Cluster(cli, scripts)
        self.held: dict[str, tuple[Permit, Lease]] = {}
        self.spent: list[Permit] = []
        self.sessions: dict[str, tuple[str, ...]] = {}
        self.version = 1
        self.wanted = dict(self.deployed)
        self.begin()

    def begin(self) -> None:
        self.model = Domain(self.router, pins=self.affinity and dataclasses.replace(self.affinity, placed={}))
        self.probed: dict[str, int] = {}
        self.chained: dict[str, list[int]] = {}
        for name in RULES:
            self.put(name, self.version)

    def put(self, name: str, version: int) -> None:
        wanted, router = policy(name, self.wanted[name]), POLICY | {"last_resort": self.router.last_resort}
        if self.affinity:
            ttl_ms, band, entries = self.affinity.ttl_ms, self.affinity.band, self.affinity.entries
            router |= {"affinity_ttl_ms": ttl_ms, "affinity_band": band, "affinity_entries": entries}
        [is_applied] = self.cluster.configure(wanted, version=version, **router)
        assert is_applied == self.model.configure(name, self.wanted[name], version, self.now_ms)

    def teardown(self) -> None:
        self.cluster.cli.do("FLUSHALL")

    @property
    def now_ms(self) -> int:
        return self.cluster.now_ms

    def read(self, name: str) -> Until:
        """Who draws after other draws is asked; the model knows the bounds."""
        return lambda _: int(self.cluster.deployment(name)["open_until_ms"])

    def held_by(self, name: str) -> list[tuple[Permit, Lease]]:
        return [pair for pair in self.held.values() if pair[0].deployment_id == name]

    # -- what replicas do -----------------------------------------------------------------------------------

    @rule(
        tiers=st.sampled_from(CHAINS),
        strategy=st.sampled_from(["adaptive", "least-busy", "priority", "usage-based"]),
        calls=st.lists(st.tuples(st.sampled_from(REPLICAS), st.booleans()), min_size=1, max_size=5),
        kind=st.sampled_from(KINDS),
        tenant=st.sampled_from(TENANTS),
        tokens=st.sampled_from([0, 20, 200]),
        attempt=st.sampled_from([1, 1, 0]),
        session=st.sampled_from(SESSIONS),
    )
    def acquire(self, tiers: Tiers, strategy: str, calls: list[tuple[str, bool]], **ask: Any) -> None:
        """``attempt`` 0: the one after an attempt that was no failure."""
        for replica, is_stream in calls:
            self.decide(tiers, strategy, replica=replica, stream=is_stream, **ask)

    def decide(
        self,
        tiers: Tiers,
        strategy: str,
        *,
        kind: str = KINDS[0],
        tenant: TenantLimits = UNLIMITED,
        tokens: int = 0,
        attempt: int = 1,
        session: tuple[str, ...] = (),
        **call: Any,
    ) -> Permit | None:
        chain = [(name, tier) for tier, names in enumerate(tiers) for name in names]
        hashes = hashes_of(session, tenant)
        pins = self.model.pins.in_force(hashes, self.now_ms, self.stored_pins()) if self.model.pins else ()
        call |= {"kind": kind, "tenant": tenant, "tokens": tokens, "attempt": attempt, "session": " ".join(hashes)}
        decision = self.cluster.acquire(*chain, strategy=strategy, priority=0, **call)
        minute, is_first = minute_of(tenant, tokens), attempt == 1
        if is_first and len(chain) > 1:
            for name in tiers[0]:
                self.chained.setdefault(name, []).append(self.now_ms)
        expected = self.model.acquire(tiers, strategy, self.now_ms, self.read, kind, minute, is_first, pins)
        assert decision.sequence == self.model.sequence
        if not isinstance(decision, Permit):
            assert Refusal(decision.code, decision.retry_after_ms, decision.verdicts) == expected
            return None
        assert isinstance(expected, Choice)
        assert decision.deployment_id in expected.names
        assert decision.is_last_resort == expected.is_last_resort
        if decision.is_last_resort:
            self.check_resort(decision.deployment_id, [candidate for candidate, _ in chain])
        self.check_pins(decision, expected, pins)
        model = self.model.deployments[decision.deployment_id]
        lease = model.grant(decision.token, self.now_ms, decision.is_last_resort)
        assert (decision.generation, decision.is_probe) == (lease.generation, lease.is_probe)
        self.held[decision.token] = decision, lease
        self.sessions[decision.token] = session
        return decision

    def check_pins(self, permit: Permit, choice: Choice, pins: InForce) -> None:
        """The pins are those of one of the ways in which the deployment may have been chosen."""
        if not permit.ask.session:
            assert permit.affinity == ""
            return
        grants = choice.grants.get(permit.deployment_id, set()) if pins else set()
        assert permit.affinity in ({grant.word for grant in grants} or {"none"})
        stored, ways = self.stored_pins(), []
        for grant in grants:
            if self.model.pins and grant.word == permit.affinity:
                ways.append(self.model.pins.after(pins, permit.deployment_id, grant, self.now_ms))
        for after in ways:
            if not after.problems(stored, self.now_ms):
                self.model.pins = after
        if self.model.pins:
            self.model.pins.check(stored, self.now_ms)

    def stored_pins(self) -> Placed:
        """The pins that are in force unless they are too old: those of the hash in use, then those of the older one."""
        turn = int(self.cluster.domain().get("affinity_turn", 0))
        stored: dict[str, tuple[int, str, bool]] = {}
        for parity in ((turn + 1) % 2, turn % 2):
            for name, value in self.cluster.pins(parity).items():
                at_ms, sign, deployment = re.split("([ ?])", value)
                stored[name] = int(at_ms), deployment, sign == "?"
        return stored

    def check_resort(self, name: str, chain: list[str]) -> None:
        """At most half the limit for one that serves; of those that fail one probe a second for all candidates."""
        model = self.model.deployments[name]
        if model.serves_as_last_resort():
            assert model.active(self.now_ms) < model.half_limit
            return
        assert all(self.now_ms - self.probed.get(each, 0) >= RESORT_EVERY_MS for each in chain)
        self.probed[name] = self.now_ms

    @rule(
        name=NAMES,
        outcomes=st.sampled_from(SERIES),
        is_slow=st.booleans(),
        is_patient=st.booleans(),
        seed=SEEDS,
        has_spares=st.booleans(),
    )
    def call(
        self,
        name: str,
        outcomes: tuple[str, ...],
        is_slow: bool,
        is_patient: bool,
        seed: int,
        has_spares: bool = False,
    ) -> None:
        """Whole calls one after the other, where patient of a breaker whose time is over in this very ms."""
        tiers = ((name,), tuple(other for other in RULES if other != name)) if has_spares else ((name,),)
        ends_ms = self.model.deployments[name].ends_ms
        if is_patient and ends_ms is not None:
            self.cluster.advance(max(0, ends_ms - self.now_ms))
        for outcome in outcomes:
            if permit := self.decide(tiers, "least-busy"):
                self.end(permit, outcome, is_slow, 3_000, seed)

    @rule(
        name=NAMES,
        life=st.lists(st.tuples(st.sampled_from(SERIES), st.sampled_from([0, 0, 70_000])), min_size=2, max_size=4),
        late=st.sampled_from(OUTCOMES),
    )
    def outlive(self, name: str, life: list[tuple[tuple[str, ...], int]], late: str) -> None:
        """A call that is answered when others have moved the breaker, and moved it back."""
        permit = self.decide(((name,),), "least-busy")
        for outcomes, pause_ms in life:
            self.call(name, outcomes, False, True, 1)
            self.cluster.advance(pause_ms)
        if permit:
            self.end(permit, late)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), is_late=st.booleans())
    def resend(self, data: st.DataObject, is_late: bool) -> None:
        """The same token gets the same grant; one that has ended is decided anew."""
        permit, lease = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        tiers = ((permit.deployment_id,),)
        model = self.model.deployments[permit.deployment_id]
        if is_late:
            self.cluster.advance(max(0, lease.started_ms + model.rules.lease_ms - self.now_ms))
        if not self.model.resent(tiers[0], permit.token, self.now_ms):
            ask: dict[str, Any] = {"kind": permit.ask.kind, "tenant": permit.ask.tenant, "tokens": permit.ask.tokens}
            ask["session"] = self.sessions.get(permit.token, ())
            self.decide(tiers, "adaptive", token=permit.token, resend=True, **ask)
            return
        tenant = permit.ask.tenant
        again = self.cluster.granted(permit.deployment_id, token=permit.token, resend=True, priority=0, tenant=tenant)
        assert (again.sequence, again.is_probe) == (self.model.sequence, permit.is_probe)
        assert again.is_last_resort == permit.is_last_resort
        # Where a lease is as old as the generation, nothing tells whether it came before it.
        if model.changed_ms not in (None, lease.started_ms):
            assert (again.generation == model.generation) == (model.changed_ms < lease.started_ms)

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        endings=st.lists(st.tuples(st.sampled_from(OUTCOMES), st.sampled_from([0, 3_000])), min_size=1, max_size=4),
        is_slow=st.booleans(),
        seed=SEEDS,
        tokens=st.sampled_from([-1, -1, 0, 40]),
        is_final=st.booleans(),
    )
    def settle(
        self,
        data: st.DataObject,
        endings: list[tuple[str, int]],
        is_slow: bool,
        seed: int,
        tokens: int,
        is_final: bool,
    ) -> None:
        for outcome, retry_after_ms in endings[: len(self.held)]:
            permit, _ = self.held[data.draw(st.sampled_from(sorted(self.held)))]
            self.end(permit, outcome, is_slow, retry_after_ms, seed, tokens, is_final)

    @precondition(lambda self: self.spent)
    @rule(data=st.data(), outcome=st.sampled_from(["failure", "success", "cancelled"]))
    def settle_again(self, data: st.DataObject, outcome: str) -> None:
        self.end(data.draw(st.sampled_from(self.spent[-8:])), outcome)

    def end(
        self,
        permit: Permit,
        outcome: str,
        is_slow: bool = False,
        retry_after_ms: int = 0,
        seed: int = 1,
        tokens: int = -1,
        is_final: bool = True,
    ) -> None:
        if self.held.pop(permit.token, None):
            self.spent.append(permit)
        ending: dict[str, Any] = {"latency_ms": THRESHOLD_MS + is_slow, "retry_after_ms": retry_after_ms, "seed": seed}
        ending |= {"final": is_final, "learned": self.learned(permit, outcome, is_final)}
        done = self.cluster.settle(permit, outcome, tokens=tokens, reason=f"as {outcome}", **ending)
        until, name, ask = drawn(seed, self.now_ms), permit.deployment_id, permit.ask
        of_ask = (ask.kind, minute_of(ask.tenant, ask.tokens), tokens)
        expected = self.model.settle(name, permit.token, outcome, self.now_ms, until, is_slow, retry_after_ms, *of_ask)
        assert (done.is_known, done.state, done.generation) == expected
        assert done.sequence == self.model.sequence
        if done.is_known:
            self.learn(permit, ending["learned"])

    def learned(self, permit: Permit, outcome: str, is_final: bool) -> str:
        """What a settle reports of pins: the share of the prompt that was cached, or those that end."""
        if outcome in NOT_SERVED:
            return b" ".join(permit.ask.session).decode() if is_final else ""
        return (
            f"={SHARES[permit.sequence % len(SHARES)]}" if outcome == "success" and permit.affinity == "pinned" else ""
        )

    def learn(self, permit: Permit, learned: str) -> None:
        if learned.startswith("="):
            measure(self.model.deployments[permit.deployment_id], float(learned[1:]))
        elif learned and self.model.pins:
            self.model.pins.end(learned.split(), permit.deployment_id)

    @rule(replica=st.sampled_from(REPLICAS))
    def beat(self, replica: str) -> None:
        beat = self.cluster.beat(replica)
        expected = self.model.beat(replica, self.now_ms)
        assert (beat.active, beat.replicas_alive, beat.is_known, set(beat.dead_replicas)) == expected
        assert (beat.sequence, beat.now_ms) == (self.model.sequence, self.now_ms)
        assert beat.policy_version == self.model.version

    @rule(replica=st.sampled_from(REPLICAS))
    def reap(self, replica: str) -> None:
        for name in RULES:
            is_last = name == max(RULES)
            removed, offset = self.cluster.reap_chunk(replica, name, last=is_last)
            assert (removed, offset) == (self.model.reap(replica, name, is_last, self.now_ms), -1)

    @rule(replica=st.sampled_from(REPLICAS))
    def crash(self, replica: str) -> None:
        """It beats once more; then the others do, until it is dead, and reap it."""
        self.beat(replica)
        for ms in (3_000, 2_001):
            self.cluster.advance(ms)
            for living in REPLICAS:
                if living != replica:
                    self.beat(living)
        self.reap(replica)

    @rule(ms=st.sampled_from([1, 300, 1_000, 2_000, 5_000, 9_000, 10_000, 20_000, 70_000]))
    def advance(self, ms: int) -> None:
        self.cluster.advance(ms)

    @precondition(lambda self: self.edges())
    @rule(data=st.data(), early_ms=st.sampled_from([0, 0, 0, 1]))
    def advance_to_an_edge(self, data: st.DataObject, early_ms: int) -> None:
        """To the very ms in which something ends, or the one before."""
        self.cluster.advance(data.draw(st.sampled_from(self.edges())) - early_ms - self.now_ms)

    def edges(self) -> list[int]:
        ends = {self.model.learning_until_ms}
        for model in self.model.deployments.values():
            ends |= {model.ends_ms or 0, model.deadline_ms or 0, model.cool_until_ms, *model.unsupported.values()}
            ends |= {lease.started_ms + model.rules.lease_ms for lease in model.leases.values()}
        return sorted(at_ms for at_ms in ends if at_ms > self.now_ms)

    # -- what is true after every step ----------------------------------------------------------------------

    @invariant()
    def state_is_that_of_the_model(self) -> None:
        snapshot = self.cluster.snapshot()
        assert snapshot.sequence == self.model.sequence
        assert snapshot.active == sum(row.active for row in snapshot.deployments) == self.model.active(self.now_ms)
        for row in snapshot.deployments:
            assert {field: getattr(row, field) for field in ROW} == self.row(self.model.deployments[row.id])
            assert row.probes_issued - row.probes_succeeded <= ROUTER.probes
            lacking = [kind for kind in KINDS if self.model.deployments[row.id].lacks(kind, self.now_ms)]
            assert list(row.unsupported) == lacking
            assert (1.0 if row.cache_hit is None else row.cache_hit) == self.model.deployments[row.id].cache_hit

    def row(self, model: Deployment) -> dict[str, Any]:
        ends_ms = model.ends_ms or 0
        breaker = (model.state, model.generation, model.active(self.now_ms), model.rules.limit, model.trips)
        counts = (max(0, ends_ms - self.now_ms), model.failures, model.slow, model.issued, model.succeeded)
        return dict(zip(ROW, breaker + counts, strict=True))

    @invariant()
    def pins_are_those_of_the_model(self) -> None:
        if self.model.pins:
            self.model.pins.check(self.stored_pins(), self.now_ms)

    @invariant()
    def pins_are_few(self) -> None:
        """A request may write as many as it names into each of the two hashes when the last place is taken."""
        count = sum(len(self.cluster.pins(parity)) for parity in (0, 1))
        assert count <= (self.affinity.entries + 2 * (NAMES_MOST - 1) if self.affinity else 0)

    @invariant()
    def verdicts_are_those_of_the_model(self) -> None:
        for kind in KINDS:
            verdicts, overdue = {}, {name for name in RULES if self.model.is_overdue(name, kind, self.now_ms)}
            for name, model in self.model.deployments.items():
                verdicts[name] = model.verdict(self.now_ms, kind)
                if name in overdue:
                    verdicts[name] = "open", model.rules.cooldown_ms  # before its jitter
            self.model.avoid(verdicts, self.now_ms)
            is_shed = self.model.active(self.now_ms) >= self.router.max_active
            resort = None if is_shed else self.model.last_resort([list(RULES)], verdicts, overdue, self.now_ms)
            rows = self.cluster.explain(*RULES, priority=0, kind=kind).candidates
            assert len([row for row in rows if row.verdict == "last_resort"]) == bool(resort)
            for row in rows:
                if row.verdict == "last_resort":
                    assert resort
                    assert row.deployment_id in resort.names
                else:
                    verdict, wait_ms = verdicts[row.deployment_id]
                    assert (row.verdict, row.wait_ms) == (verdict, math.ceil(wait_ms))

    @invariant()
    def minutes_of_tenants_are_those_of_the_model(self) -> None:
        for tenant in TENANTS[1:]:
            key = f"{self.cluster.keys.prefix}limit:tenant:{tenant.name}"
            used_up_ms = float(self.cluster.cli.do("HGET", key, "tokens_at_ms") or 0)
            assert max(self.now_ms, used_up_ms) == max(self.now_ms, self.model.minutes.get(tenant.name, 0))

    @invariant()
    def every_transition_is_one_event(self) -> None:
        for name, model in self.model.deployments.items():
            events = [(e["from"], e["to"], int(e["generation"]), int(e["at_ms"])) for e in self.cluster.events(name)]
            assert events == model.moves

    @invariant()
    def no_breaker_opens_for_slowness_without_relief(self) -> None:
        """Another candidate stood in the chain of a decision of the last minute."""
        for name in RULES:
            for event in self.cluster.events(name):
                if event["reason"] in ("consecutive_slow", "probe_slow"):
                    at_ms, chained = int(event["at_ms"]), self.chained.get(name, [])
                    assert [ms for ms in chained if at_ms - RELIEF_MS - RELIEF_EVERY_MS <= ms <= at_ms]

    @invariant()
    def relief_is_that_of_the_model(self) -> None:
        for name, model in self.model.deployments.items():
            assert self.cluster.deployment(name).get("relief_at_ms") == (model.relief_ms and str(model.relief_ms))

    @invariant()
    def every_suspicion_is_one_event(self) -> None:
        for name, group in self.model.groups.items():
            events = [(e["from"], e["to"], int(e["at_ms"])) for e in self.cluster.events(f"group:{name}")]
            assert events == group.moves

    @invariant()
    def keys_are_few(self) -> None:
        keys = self.cluster.cli.do("KEYS", f"{self.cluster.keys.prefix}*")
        assert len(keys) <= 6 + 2 * len(REPLICAS) + 4 * len(RULES) + 2 * len(TENANTS) + len(self.model.groups) + 2


class Trouble(Calls):
    """And operators, configurations, a store that forgets and whose clock goes wrong."""

    @rule()
    def clock_goes_wrong(self) -> None:
        """Back by an hour; the next call sees the time of the last decision, and from there time goes on."""
        self.beat("r1")
        self.cluster.step_back(3_600_000)
        self.beat("r2")

    @rule(
        name=NAMES,
        action=st.sampled_from(["open", "close", "disable", "drain", "reset"]),
        ttl_ms=st.sampled_from([0, 5_000]),
    )
    def force(self, name: str, action: str, ttl_ms: int) -> None:
        assert self.cluster.force(name, action, ttl_ms=ttl_ms)
        self.model.force(name, action, ttl_ms, self.now_ms)

    @rule(
        name=NAMES,
        limit=st.integers(1, 5),
        rpm=st.sampled_from([None, 6]),
        newer=st.sampled_from([-1, 0, 1, 1]),
    )
    def configure(self, name: str, limit: int, rpm: int | None, newer: int) -> None:
        self.version += newer == 1
        before = self.wanted[name]
        self.wanted[name] = dataclasses.replace(before, limit=limit, rpm=rpm)
        self.put(name, self.version + min(0, newer))
        self.wanted[name] = self.model.deployments[name].rules

    @rule()
    def flush(self) -> None:
        """Everything is forgotten but by the replicas, who may tell."""
        before_ms = self.now_ms
        self.cluster.flush()
        gone_ms = before_ms - self.now_ms
        for token, (permit, lease) in self.held.items():
            self.held[token] = permit, dataclasses.replace(lease, started_ms=lease.started_ms - gone_ms)
        self.begin()

    @rule(
        is_other_epoch=st.booleans(),
        breaker=st.tuples(
            st.sampled_from(["closed", "open", "forced_open", "disabled"]),
            st.integers(-1, 3),
            st.sampled_from([1, 5_000]),
            st.integers(1, 2),
        ),
        seen=st.integers(-1, 1),
        left_ms=st.sampled_from([None, None, 0, 1]),
    )
    def reassert(
        self, is_other_epoch: bool, breaker: tuple[str, int, int, int], seen: int, left_ms: int | None
    ) -> None:
        """``breaker``: state, generation from the one in force, ms until it ends, trips; ``seen``: the generation last
        seen, from the same; ``left_ms``: of the time in which the store is learning, if it is to come to that.
        """
        if left_ms is not None:
            self.cluster.advance(max(0, self.model.learning_until_ms - left_ms - self.now_ms))
        state, ahead, remaining_ms, trips = breaker
        for name, model in self.model.deployments.items():
            seen_generation, generation = max(0, model.generation + seen), max(0, model.generation + ahead)
            # A probe of a generation that is still to come would be taken for one of it.
            leases = [pair for pair in self.held_by(name) if pair[1].generation + pair[1].is_probe <= model.generation]
            for pairs in [[], *([pair] for pair in leases)]:
                taken = self.cluster.reassert(
                    name,
                    [permit for permit, _ in pairs],
                    age_ms=self.now_ms - pairs[0][1].started_ms if pairs else 0,
                    seen_epoch="epoch-0" if is_other_epoch else "epoch-1",
                    seen_generation=seen_generation,
                    state=state,
                    generation=generation,
                    remaining_ms=remaining_ms,
                    trips=trips,
                )
                sent = {permit.token: lease for permit, lease in pairs}
                view = (state, generation, remaining_ms, trips)
                assert taken == self.model.reassert(name, sent, seen_generation, is_other_epoch, view, self.now_ms)


class Resort(Trouble):
    """And callers that are served by the last resort."""

    router = dataclasses.replace(ROUTER, last_resort=True)


class Pinned(Trouble):
    """And sessions that stay."""

    affinity = Pins(ttl_ms=40_000, band=0.3, entries=1_000)

    @rule(
        session=st.sampled_from(SESSIONS[1:]),
        tenant=st.sampled_from(TENANTS),
        turns=st.lists(st.sampled_from(["success", "success", *OUTCOMES]), min_size=2, max_size=5),
        tiers=st.sampled_from(CHAINS[3:]),
        strategy=st.sampled_from(["adaptive", "least-busy", "priority"]),
        crowds=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    )
    def converse(
        self,
        session: tuple[str, ...],
        tenant: TenantLimits,
        turns: list[str],
        tiers: Tiers,
        strategy: str,
        crowds: tuple[int, int],
    ) -> None:
        """Turns of one session, after each of which the deployment that served it may get busier for one turn. A failed
        attempt is followed by another one.
        """
        crowd: list[Permit] = []
        for number, outcome in enumerate(turns):
            if number:
                session = tuple(name.removeprefix(FIRST) for name in session)
            permit = self.decide(tiers, strategy, tenant=tenant, session=session)
            for each in crowd:
                self.end(each, "success")
            crowd = []
            if permit is None:
                continue
            left = tuple(tuple(name for name in tier if name != permit.deployment_id) for tier in tiers)
            left = tuple(tier for tier in left if tier)
            has_more = outcome in NOT_SERVED and bool(left)
            self.end(permit, outcome, is_final=not has_more)
            if has_more and (again := self.decide(left, strategy, tenant=tenant, session=session, attempt=0)):
                self.end(again, "success")
            home = ((permit.deployment_id,),)
            decisions = [self.decide(home, "least-busy") for _ in range(crowds[number % 2])]
            crowd = [each for each in decisions if each]
        for each in crowd:
            self.end(each, "success")


class Crowded(Pinned):
    """And more sessions than there may be pins."""

    affinity = Pins(ttl_ms=40_000, band=0.3, entries=8, may_lose=True)

    @rule(first=st.integers(0, 90), count=st.integers(1, 9), name=NAMES)
    def flood(self, first: int, count: int, name: str) -> None:
        for number in range(first, first + count):
            if permit := self.decide(((name,),), "least-busy", session=(f"flood{number}",)):
                self.end(permit, "success")

    @rule(
        session=st.sampled_from(SESSIONS[1:]),
        homes=st.permutations(sorted(RULES)),
        outcome=st.sampled_from(OUTCOMES),
        first=st.integers(0, 90),
    )
    def move(self, session: tuple[str, ...], homes: list[str], outcome: str, first: int) -> None:
        """A session moves while its former pin is in the older hash, and the turn that moves it may fail."""
        for name, ending in zip(homes, ("success", outcome), strict=False):
            if permit := self.decide(((name,),), "least-busy", session=session):
                self.end(permit, ending)
            self.flood(first, 5, homes[-1])


class Together(Resort):
    """And deployments that fail together."""

    deployed: ClassVar = {
        name: dataclasses.replace(rules, group="p", group_size=len(RULES)) for name, rules in RULES.items()
    }


def check(cli: RedisCli, scripts: dict[str, Script], machine: type[Calls], examples: int) -> None:
    run_state_machine_as_test(
        lambda: machine(cli, scripts),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# With more that may happen it takes more histories until much of it has. Together and Pinned do all that Trouble does.
FEW = pytest.mark.parametrize(("machine", "share"), [(Calls, 1), (Resort, 1), (Together, 2), (Pinned, 1)])
ALL = pytest.mark.parametrize(
    ("machine", "share"), [(Calls, 1), (Trouble, 2), (Resort, 1), (Together, 2), (Pinned, 1), (Crowded, 1)]
)


@FEW
def test_every_history_agrees_with_the_model(
    cli: RedisCli, scripts: dict[str, Script], machine: type[Calls], share: int
) -> None:
    check(cli, scripts, machine, 12 * share)


@pytest.mark.long
@ALL
def test_many_histories_agree_with_the_model(
    cli: RedisCli, scripts: dict[str, Script], machine: type[Calls], share: int
) -> None:
    check(cli, scripts, machine, 160 * share)
