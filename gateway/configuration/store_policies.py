"""Translates settings into the policies that the store's scripts read. Only this module knows both vocabularies."""

import msgspec

from gateway.configuration.autoscale import autoscale_policy
from gateway.configuration.groups import group_of, grouped
from gateway.configuration.router import RouterSettings
from gateway.configuration.settings import DeploymentSettings, Settings
from gateway.configuration.state_owners import account_of
from shared_state.policies import Configuration, DeploymentPolicy, RouterPolicy, fingerprinted

# A lease outlives the longest call, so it expires only when no replica is left to settle it. A stream that delivers
# has no limit: the few that last longer stop counting as active before they end.
LEASE_LEAST_MS = 900_000
LEASE_MARGIN_MS = 15_000


def router_policy(router: RouterSettings) -> RouterPolicy:
    shedding, affinity = router.load_shedding, router.affinity if has_affinity(router) else None
    return RouterPolicy(
        breaker_enabled=router.circuit_breaker_enabled,
        last_resort=router.last_resort,
        failure_threshold=router.circuit_breaker_threshold,
        min_calls=router.breaker.min_calls,
        failure_rate=router.breaker.failure_rate,
        slow_limit=router.slow_request_limit,
        slow_rate=router.breaker.slow_rate,
        max_cooldown_ms=router.breaker.max_cooldown_ms,
        group_share=router.breaker.group_share,
        probes=router.breaker.probes,
        probe_successes=router.breaker.probe_successes,
        slow_start_ms=router.breaker.slow_start_ms,
        trip_memory_ms=router.breaker.trip_memory_ms,
        load_weight=router.score.load,
        latency_weight=router.score.latency,
        error_weight=router.score.error,
        min_health=router.fallback.min_health,
        fallback_advantage=router.fallback.advantage,
        max_active=shedding.max_active_requests,
        critical_reserve=shedding.critical_reserve,
        min_healthy_ratio=shedding.min_healthy_ratio,
        max_failure_rate=shedding.max_failure_rate,
        retry_ratio=router.retry_budget.ratio,
        retry_floor_per_second=router.retry_budget.floor_per_second,
        affinity_ttl_ms=affinity.ttl_ms if affinity else None,
        affinity_band=affinity.band if affinity else None,
        affinity_entries=affinity.max_entries if affinity else None,
    )


def has_affinity(router: RouterSettings) -> bool:
    """Returns whether sessions have pins. A permit of a block is granted before it is known which session uses it."""
    return router.affinity.mode != "off" and not router.capacity_leases.block


def deployment_policy(deployment: DeploymentSettings, router: RouterSettings, account: str = "") -> DeploymentPolicy:
    """``account``: the first deployment of its account, if that is another one."""
    return DeploymentPolicy(
        id=deployment.id,
        lease_ms=max(deployment.timeout_ms, LEASE_LEAST_MS) + LEASE_MARGIN_MS,
        latency_threshold_ms=deployment.latency_threshold_ms,
        token_allowance_ms=router.token_allowance_ms,
        cooldown_ms=deployment.cooldown_period_ms,
        limit=deployment.max_parallel,
        priority=int(deployment.priority),
        weight=deployment.weight,
        price=deployment.cost.input_per_million + deployment.cost.output_per_million,
        rpm=deployment.rpm,
        tpm=deployment.tpm,
        concurrency=deployment.concurrency,
        region=deployment.region,
        account=f"@{account}" if account not in ("", deployment.id) else None,
        domain=deployment.domain,
        model=deployment.model_name,
    )


def configuration(settings: Settings) -> Configuration:
    """Returns the policies of the settings. The store assigns their version."""
    enabled = [deployment for deployment in settings.model_list if deployment.enabled]
    first = {account_of(each.provider): each.id for each in reversed(enabled)}
    policies = [deployment_policy(each, settings.router, first[account_of(each.provider)]) for each in enabled]
    deployments = grouped(policies, [group_of(each) for each in enabled])
    autoscale = autoscale_policy(settings.router.autoscale)
    region = settings.server.region or ""
    return fingerprinted(Configuration(0, router_policy(settings.router), deployments, autoscale, region))


def served(settings: Settings, in_force: Configuration) -> Settings:
    """Returns this replica's settings with the deployments disabled that are not in force."""
    ids = {policy.id for policy in in_force.deployments}
    entries = (
        entry if entry.id in ids else msgspec.structs.replace(entry, enabled=False) for entry in settings.model_list
    )
    return msgspec.structs.replace(settings, model_list=tuple(entries))


def uncovered(settings: Settings, in_force: Configuration) -> tuple[str, ...]:
    """Returns the models in force of which this replica's settings have no enabled deployment."""
    own = {entry.id for entry in settings.model_list if entry.enabled}
    covered = {policy.model for policy in in_force.deployments if policy.id in own}
    return tuple(sorted({policy.model for policy in in_force.deployments} - covered))
