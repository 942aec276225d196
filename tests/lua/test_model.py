"""Random histories of several replicas, checked step by step against a second, independent model of limit, breaker and
leases. The replies' order is the order of the calls, so the model needs no locks: it is told what the scripts are told.
"""

import dataclasses
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared_state.records import Permit
from shared_state.scripts import Script
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli

LEASE_MS, COOLDOWN_MS, PROBES, SUCCESSES, FAILURES = 20_000, 8_000, 2, 2, 3
LIMITS = {"a": 2, "b": 4}
REPLICAS = st.sampled_from(["r1", "r2", "r3"])
IDS = st.sampled_from(sorted(LIMITS))
NEUTRAL = ("client_error", "cancelled")


@dataclasses.dataclass
class Model:
    """One deployment as the design says it behaves."""

    state: str = "closed"
    generation: int = 0
    trips: int = 0
    changed_at_ms: int | None = None
    open_until_ms: int = 0
    consecutive_failures: int = 0
    issued: int = 0
    succeeded: int = 0
    deadline_ms: int | None = None
    leases: dict[str, tuple[int, bool]] = dataclasses.field(default_factory=dict)

    def move(self, state: str, now_ms: int) -> None:
        self.state, self.generation, self.changed_at_ms = state, self.generation + 1, now_ms
        self.issued, self.succeeded, self.deadline_ms = 0, 0, None

    def open(self, now_ms: int) -> None:
        if self.state == "closed" and self.changed_at_ms is not None:
            self.trips = max(0, self.trips - (now_ms - self.changed_at_ms) // 60_000)
        self.trips += 1
        self.move("open", now_ms)

    def close(self, now_ms: int) -> None:
        self.move("closed", now_ms)
        self.consecutive_failures = 0

    def active(self, now_ms: int) -> int:
        return sum(now_ms < start + is_probe * 0.5 + LEASE_MS for start, is_probe in self.leases.values())

    def expect(self, now_ms: int, limit: int) -> str:
        """The verdict on a request now; moves the breaker as an acquire does."""
        if self.state in ("disabled", "forced_open"):
            return self.state
        if self.state == "open" and now_ms < self.open_until_ms:
            return "open"
        if self.state == "half_open":
            if self.deadline_ms is not None and now_ms >= self.deadline_ms:
                self.open(now_ms)
                return "open"
            if self.issued >= PROBES:
                return "probing"
        if self.active(now_ms) >= limit:
            return "full"
        if self.state == "open":
            self.move("half_open", now_ms)
        return "granted"

    def grant(self, token: str, now_ms: int) -> None:
        is_probe = self.state == "half_open"
        self.leases[token] = (now_ms, is_probe)
        if is_probe:
            self.issued += 1
            self.deadline_ms = self.deadline_ms or now_ms + LEASE_MS

    def settle(self, permit: Permit, outcome: str, now_ms: int) -> None:
        del self.leases[permit.token]
        if permit.generation != self.generation:
            return
        if self.state == "closed" and outcome not in NEUTRAL:
            self.consecutive_failures = 0 if outcome == "success" else self.consecutive_failures + 1
            if self.consecutive_failures == FAILURES:
                self.open(now_ms)
        elif self.state == "half_open" and permit.is_probe:
            self.settle_probe(outcome, now_ms)

    def settle_probe(self, outcome: str, now_ms: int) -> None:
        if outcome == "success":
            self.succeeded += 1
        elif outcome in NEUTRAL:
            self.issued -= 1
        else:
            self.open(now_ms)
            return
        if self.succeeded == SUCCESSES:
            self.close(now_ms)
        elif self.issued == self.succeeded:
            self.deadline_ms = None


class History(RuleBasedStateMachine):
    def __init__(self, cli: RedisCli, scripts: dict[str, Script]) -> None:
        super().__init__()
        self.cluster = Cluster(cli, scripts)
        self.models = {name: Model() for name in LIMITS}
        self.permits: list[Permit] = []
        self.spent: list[Permit] = []
        self.sequence = 0
        policies = [
            deployment_policy(name, limit=limit, lease_ms=LEASE_MS, cooldown_ms=COOLDOWN_MS)
            for name, limit in LIMITS.items()
        ]
        never: dict[str, Any] = {"min_calls": 10**6, "slow_limit": 10**6, "min_healthy_ratio": 0}
        probes = {"probes": PROBES, "probe_successes": SUCCESSES, "failure_threshold": FAILURES}
        self.cluster.configure(*policies, **probes, **never)

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
        expected = model.expect(self.now_ms, LIMITS[name])
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

    @rule(name=IDS, action=st.sampled_from(["open", "close", "disable", "reset"]))
    def force(self, name: str, action: str) -> None:
        model = self.models[name]
        self.cluster.force(name, action)
        if action in ("close", "reset"):
            model.close(self.now_ms)
            model.trips, model.changed_at_ms = 0, None
        else:
            model.move({"open": "forced_open", "disable": "disabled"}[action], self.now_ms)
        self.sequence += 1

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
            assert row.active <= LIMITS[row.id]
            assert row.probes_issued - row.probes_succeeded <= PROBES
            assert row.trips == model.trips

    @invariant()
    def every_generation_is_one_event(self) -> None:
        for name, model in self.models.items():
            generations = [int(e["generation"]) for e in self.cluster.events(name)]
            assert generations == list(range(1, model.generation + 1))


def test_every_history_agrees_with_the_model(cli: RedisCli, scripts: dict[str, Script]) -> None:
    run_state_machine_as_test(
        lambda: History(cli, scripts),  # type: ignore[arg-type]
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
