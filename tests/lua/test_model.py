"""Random histories of several replicas, checked step by step against a second, independent model of limit, breaker and
leases. The replies' order is the order of the calls, so the model needs no locks: it is told what the scripts are told.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared_state.records import Permit
from shared_state.scripts import Script
from tests.support.model import NEUTRAL, Model, Rules
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli

LEASE_MS, COOLDOWN_MS, PROBES, SUCCESSES, FAILURES = 20_000, 8_000, 2, 2, 3
LIMITS = {"a": 2, "b": 4}
REPLICAS = st.sampled_from(["r1", "r2", "r3"])
IDS = st.sampled_from(sorted(LIMITS))


ROUTER: dict[str, Any] = {
    "min_calls": 10**6,
    "slow_limit": 10**6,
    "min_healthy_ratio": 0,
    "probes": PROBES,
    "probe_successes": SUCCESSES,
    "failure_threshold": FAILURES,
}


def rules(limit: int) -> Rules:
    return Rules(limit, LEASE_MS, COOLDOWN_MS, FAILURES, PROBES, SUCCESSES)


class History(RuleBasedStateMachine):
    def __init__(self, cli: RedisCli, scripts: dict[str, Script]) -> None:
        super().__init__()
        self.cluster = Cluster(cli, scripts)
        self.permits: list[Permit] = []
        self.spent: list[Permit] = []
        self.version = 1
        self.set_up()

    def set_up(self) -> None:
        policies = [
            deployment_policy(name, limit=limit, lease_ms=LEASE_MS, cooldown_ms=COOLDOWN_MS)
            for name, limit in LIMITS.items()
        ]
        self.models = {name: Model(rules(limit)) for name, limit in LIMITS.items()}
        self.versions = dict.fromkeys(LIMITS, self.version)
        self.cluster.configure(*policies, version=self.version, **ROUTER)
        self.sequence = int(self.cluster.domain()["sequence"])

    @property
    def now_ms(self) -> int:
        return self.cluster.now_ms

    def note(self, sequence: int) -> None:
        assert sequence > self.sequence
        self.sequence = sequence

    def learn_cooldown(self, name: str, model: Model, generation: int) -> None:
        """The jitter is the script's to choose, within its bounds."""
        if model.state == "open" and model.generation != generation:
            model.open_until_ms = int(self.cluster.deployment(name)["open_until_ms"])
            base_ms = min(COOLDOWN_MS * 2 ** (model.trips - 1), 300_000)
            assert 0.9 * base_ms - 1 <= model.open_until_ms - self.now_ms <= 1.1 * base_ms

    @rule(name=IDS, replica=REPLICAS, is_stream=st.booleans())
    def acquire(self, name: str, replica: str, is_stream: bool) -> None:
        model = self.models[name]
        generation = model.generation
        expected = model.expect(self.now_ms)
        decision = self.cluster.acquire(name, replica=replica, stream=is_stream, priority=0)
        self.learn_cooldown(name, model, generation)
        self.note(decision.sequence)
        if isinstance(decision, Permit):
            assert (expected, decision.generation) == ("granted", model.generation)
            assert decision.is_probe == (model.state == "half_open")
            model.grant(decision.token, self.now_ms)
            self.permits.append(decision)
        else:
            assert decision.verdicts == (expected,)

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), outcome=st.sampled_from(["success", "failure", "timeout", *NEUTRAL]))
    def settle(self, data: st.DataObject, outcome: str) -> None:
        permit = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        self.spent.append(permit)
        model = self.models[permit.deployment_id]
        generation = model.generation
        is_expired = self.now_ms >= model.leases[permit.token][0] + LEASE_MS
        settlement = self.cluster.settle(permit, outcome)
        self.note(settlement.sequence)
        assert settlement.is_known or is_expired
        if settlement.is_known:
            model.settle(permit, outcome, self.now_ms)
            self.learn_cooldown(permit.deployment_id, model, generation)
        else:
            del model.leases[permit.token]
        assert (settlement.state, settlement.generation) == (model.state, model.generation)

    @precondition(lambda self: self.spent)
    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        permit = self.spent[data.draw(st.integers(0, len(self.spent) - 1))]

        assert not self.cluster.settle(permit, "failure").is_known

    @precondition(lambda self: self.permits)
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        permit = self.permits[data.draw(st.integers(0, len(self.permits) - 1))]
        model = self.models[permit.deployment_id]
        if self.now_ms < model.leases[permit.token][0] + LEASE_MS:
            again = self.cluster.granted(permit.deployment_id, token=permit.token, resend=True, priority=0)
            assert again.is_probe == permit.is_probe
            is_current = permit.generation == model.generation
            # In the very ms of a transition nothing tells the generations apart.
            if model.leases[permit.token][0] != model.changed_at_ms:
                assert (again.generation == model.generation) == is_current or model.changed_at_ms is None

    @rule(ms=st.sampled_from([1, 300, 2_000, 9_000, 21_000, 70_000]))
    def advance(self, ms: int) -> None:
        self.cluster.advance(ms)

    @rule()
    def clock_goes_wrong(self) -> None:
        """Back by an hour; the next call sees the time of the last decision, and from there time goes on."""
        now_ms = self.now_ms
        self.note(self.cluster.beat("r1").sequence)
        self.cluster.step_back(3_600_000)
        assert self.cluster.beat("r2").now_ms == now_ms
        self.sequence += 1

    @rule(name=IDS, action=st.sampled_from(["open", "close", "disable", "reset"]), ttl_ms=st.sampled_from([0, 5_000]))
    def force(self, name: str, action: str, ttl_ms: int) -> None:
        model = self.models[name]
        self.cluster.force(name, action, ttl_ms=ttl_ms)
        if action in ("close", "reset"):
            model.close(self.now_ms)
            model.trips, model.changed_at_ms = 0, None
            if action == "reset":
                model.cool_until_ms = 0
        else:
            model.move({"open": "forced_open", "disable": "disabled"}[action], self.now_ms)
            model.open_until_ms = self.now_ms + ttl_ms if ttl_ms else 0
        self.sequence += 1

    @rule(name=IDS, limit=st.integers(1, 5), is_newer=st.booleans())
    def configure(self, name: str, limit: int, is_newer: bool) -> None:
        """The newest version wins; what was learned stays."""
        if is_newer:
            self.version += 1
            self.versions[name] = self.version
        policy = deployment_policy(name, limit=limit, lease_ms=LEASE_MS, cooldown_ms=COOLDOWN_MS)
        [is_applied] = self.cluster.configure(policy, version=self.versions[name], **ROUTER)
        assert is_applied == is_newer
        if is_newer:
            self.models[name].rules = rules(limit)
        self.sequence = int(self.cluster.domain()["sequence"])

    @rule()
    def flush(self) -> None:
        """Everything is forgotten, and permits of before are nobody's."""
        self.cluster.flush()
        self.spent += self.permits
        self.permits.clear()
        self.set_up()

    @rule(replica=REPLICAS)
    def die(self, replica: str) -> None:
        """Others beat, this one does not, until it is reaped."""
        for _ in range(6):
            self.cluster.advance(1000)
            for living in {"r1", "r2", "r3"} - {replica}:
                self.note(self.cluster.beat(living).sequence)
        for name, model in self.models.items():
            self.cluster.reap_chunk(replica, name)
            for permit in [p for p in self.permits if p.deployment_id == name and p.token.startswith(replica)]:
                self.permits.remove(permit)
                self.spent.append(permit)
                start_ms, _ = model.leases.pop(permit.token)
                is_swept = self.now_ms >= start_ms + LEASE_MS and model.state != "disabled"
                is_current = permit.is_probe and permit.generation == model.generation
                if is_current and model.state == "half_open" and not is_swept:
                    model.settle_probe("cancelled", self.now_ms)
        self.sequence = int(self.cluster.domain()["sequence"])

    @invariant()
    def counts_are_exact(self) -> None:
        snapshot = self.cluster.snapshot()
        for row in snapshot.deployments:
            model = self.models[row.id]
            assert (row.state, row.generation, row.active) == (model.state, model.generation, model.active(self.now_ms))
            assert row.active >= 0
            assert row.probes_issued - row.probes_succeeded <= PROBES
            assert row.trips == model.trips

    @invariant()
    def leases_add_up(self) -> None:
        assert self.cluster.snapshot().active == sum(model.active(self.now_ms) for model in self.models.values())

    @invariant()
    def keys_are_few(self) -> None:
        assert len(self.cluster.cli.do("KEYS", f"{self.cluster.keys.prefix}*")) <= 6 + 2 * 3 + 3 * len(LIMITS)

    @invariant()
    def every_generation_is_one_event(self) -> None:
        for name, model in self.models.items():
            generations = [int(e["generation"]) for e in self.cluster.events(name)]
            assert generations == list(range(1, model.generation + 1))


def check(cli: RedisCli, scripts: dict[str, Script], examples: int) -> None:
    run_state_machine_as_test(
        lambda: History(cli, scripts),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_history_agrees_with_the_model(cli: RedisCli, scripts: dict[str, Script]) -> None:
    check(cli, scripts, 40)


@pytest.mark.long
def test_many_histories_agree_with_the_model(cli: RedisCli, scripts: dict[str, Script]) -> None:
    check(cli, scripts, 500)
