"""Several routing domains as one. Each has its own keys in one slot, and so its own core in a Redis Cluster.

A decision touches one domain only; reads of all domains are combined here. The home domain also keeps the tenants, and
its list of replicas is the one that is shown.
"""

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

from shared_state.blocks import BlockCounts
from shared_state.calls.script_calls import Detail
from shared_state.connection.call import Reply
from shared_state.failover import Failover, StoreName
from shared_state.money import Budget
from shared_state.policies import Configuration, TenantLimits
from shared_state.records import Ask, Ending, Permit, Plan, Rejection
from shared_state.snapshots import DomainSnapshot, Explanation
from shared_state.standby import Standby
from shared_state.store import Store


class Domains(Failover):
    """The home domain and the others. Each fails and recovers by itself."""

    def __init__(self, shared: Store, standby: Standby | None, others: Mapping[str, Failover]) -> None:
        super().__init__(shared, standby)
        self._others = others
        self._away = {policy.id: each for each in others.values() for policy in each.shared.configuration.deployments}

    @property
    def parts(self) -> Mapping[str, Failover]:
        return {self.shared.keys.name: self, **self._others}

    def state_of(self, deployment_id: str) -> StoreName:
        return self._away.get(deployment_id, self).state

    @property
    def block_counts(self) -> BlockCounts | None:
        found = [counts for each in self._others.values() if (counts := each.block_counts)]
        return functools.reduce(BlockCounts.and_those, found, super().block_counts or BlockCounts()) if found else None

    def plan(self, candidates: Sequence[tuple[str, int]], strategy: str, has_more: bool = False) -> Plan:
        """Packs a plan, whose candidates are all in one domain."""
        other = self._away.get(candidates[0][0]) if candidates else None
        source = other.plan if other else super().plan
        return source(candidates, strategy, has_more)

    async def acquire(self, plan: Plan, ask: Ask) -> Permit | Rejection:
        other = self._away.get(plan.ids[0])
        return await (other.acquire(plan, ask) if other else super().acquire(plan, ask))

    def settle(self, permit: Permit, ending: Ending, is_urgent: bool = False) -> asyncio.Future[Reply]:
        other = self._away.get(permit.deployment_id)
        return other.settle(permit, ending, is_urgent) if other else super().settle(permit, ending, is_urgent)

    def on_overdue(self, on_overdue: Callable[[str], None]) -> None:
        for each in self._others.values():
            each.on_overdue(on_overdue)
        super().on_overdue(on_overdue)

    def judge_content(self, permit: Permit, latency_ms: int) -> None:
        other = self._away.get(permit.deployment_id)
        judge = other.judge_content if other else super().judge_content
        judge(permit, latency_ms)

    def answered(self, permit: Permit) -> None:
        other = self._away.get(permit.deployment_id)
        if other:
            other.answered(permit)
        else:
            super().answered(permit)

    def watch(self, budget: Budget | None, tenants: Sequence[TenantLimits]) -> None:
        for each in self._others.values():
            each.watch(budget, tenants)
        super().watch(budget, tenants)

    async def report_round_trips(self, measured: Mapping[str, float]) -> None:
        others = (each.report_round_trips(measured) for each in self._others.values())
        await asyncio.gather(super().report_round_trips(measured), *others)

    async def explain(self, plan: Plan, ask: Ask) -> Explanation:
        other = self._away.get(plan.ids[0])
        return await (other.explain(plan, ask) if other else super().explain(plan, ask))

    async def force(self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int = 0) -> bool:
        other = self._away.get(deployment_id)
        if other:
            return await other.force(deployment_id, action, actor, reason, ttl_ms)
        return await super().force(deployment_id, action, actor, reason, ttl_ms)

    async def adopt(self, configuration: Configuration) -> None:
        """Adopts a configuration in every domain. Raises StateError when one of them cannot take it now; the others
        have taken it, and get it again at the next try.
        """
        away = {p.id: self._others[p.domain] for p in configuration.deployments if p.domain in self._others}
        adopted = [other.adopt(configuration.of(domain)) for domain, other in self._others.items()]
        home = {p.domain for p in configuration.deployments} - set(self._others)
        done = await asyncio.gather(super().adopt(configuration.of(*home)), *adopted, return_exceptions=True)
        for error in filter(None, done):
            raise error
        self._away |= away  # requests may still run on what is gone

    async def snapshot(self, detail: Detail = 0, ids: Sequence[str] | None = None) -> DomainSnapshot:
        """Returns the state of all domains or, for given deployments, of their domains and the home domain."""
        if ids is None:
            by_domain: dict[str, Sequence[str] | None] = dict.fromkeys(self._others)
            home = super().snapshot(detail)
        else:
            by_domain = {name: [i for i in ids if self._away.get(i) is other] for name, other in self._others.items()}
            home = super().snapshot(detail, [each for each in ids if each not in self._away])
        others = [self._others[name].snapshot(detail, own) for name, own in by_domain.items() if own is None or own]
        first, *rest = await asyncio.gather(home, *others)
        return _together(first, rest)


def _together(home: DomainSnapshot, others: Iterable[DomainSnapshot]) -> DomainSnapshot:
    """Merges snapshots: adds up the counts and takes the lowest healthy ratio. Epoch, sequence and time are the home
    domain's.
    """
    parts = [home, *others]
    reasons = dict.fromkeys(reason for part in parts for reason in part.shed_reasons.split(",") if reason)
    return DomainSnapshot(
        epoch=home.epoch,
        sequence=home.sequence,
        now_ms=home.now_ms,
        policy_version=home.policy_version,
        active=sum(part.active for part in parts),
        replicas_alive=home.replicas_alive,
        shed_reasons=",".join(reasons),
        healthy_ratio=min(part.healthy_ratio for part in parts),
        requests=sum(part.requests for part in parts),
        failures=sum(part.failures for part in parts),
        retry_tokens=sum(part.retry_tokens for part in parts),
        deployments=tuple(each for part in parts for each in part.deployments),
    )
