"""`GET /v1/admin/models/stats`: a snapshot of the domain in the shape that existing dashboards read.

Keys are models. A model with several deployments shows their merge, with the breaker state of the best one, so it is
open only when all are; `deployments` lists each. Durations are strings.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from shared_state.snapshots import DeploymentSnapshot, DomainSnapshot

# From usable to unusable; a model is as usable as its best deployment.
_STATES = ("closed", "half_open", "open", "forced_open", "disabled")
_USABLE = frozenset({"closed", "half_open"})


def duration(ms: float) -> str:
    """Renders a duration: `450ms`, `1.2s`."""
    if ms < 1000:
        return f"{round(ms)}ms"
    return f"{ms / 1000:.2f}".rstrip("0").rstrip(".") + "s"


def iso(at_ms: int) -> str:
    """Renders the store's time in UTC, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def model_stats(snapshot: DomainSnapshot, models: Iterable[tuple[str, Sequence[str]]]) -> dict[str, object]:
    """Returns the statistics. ``models``: each model with the ids of its deployments."""
    by_id = {deployment.id: deployment for deployment in snapshot.deployments}
    balancer: dict[str, object] = {}
    breakers: dict[str, object] = {}
    for model, ids in models:
        members = [by_id[deployment_id] for deployment_id in ids]
        balancer[model] = _load_balancer(members)
        breakers[model] = _breaker(members)
    return {
        "load_balancer": balancer,
        "adaptive_breakers": breakers,
        "should_shed_load": snapshot.should_shed_load,
        "shed_reasons": snapshot.shed_reasons.split(",") if snapshot.shed_reasons else [],
        "active_requests": snapshot.active,
        "healthy_ratio": snapshot.healthy_ratio,
        "replicas": snapshot.replicas_alive,
    }


def _merged_state(members: Sequence[DeploymentSnapshot]) -> str:
    return min((m.state for m in members), key=_STATES.index)


def _load_balancer(members: Sequence[DeploymentSnapshot]) -> dict[str, object]:
    requests = sum(m.requests for m in members)
    average = sum(m.avg_ms * m.requests for m in members) / requests if requests else 0
    usable = [m for m in members if m.state in _USABLE] or members
    return {
        "health_score": max(m.health_score for m in usable),
        "active_requests": sum(m.active for m in members),
        "avg_latency": duration(average),
        "p95_latency": duration(max(m.p95_ms for m in members)),
        "p99_latency": duration(max(m.p99_ms for m in members)),
        "circuit_open": _merged_state(members) not in _USABLE,
        "deployments": {m.id: _deployment(m) for m in members},
    }


def _breaker(members: Sequence[DeploymentSnapshot]) -> dict[str, object]:
    return {
        "state": _merged_state(members).upper(),
        "failures": sum(m.failures for m in members),
        "slow_requests": sum(m.slow for m in members),
        "concurrent": sum(m.active for m in members),
    }


def _deployment(m: DeploymentSnapshot) -> dict[str, object]:
    place: dict[str, object] = {"region": m.region} if m.region else {}
    if m.rtt_ms is not None:
        place["round_trip"] = duration(m.rtt_ms)
    cache = {} if m.cache_hit is None else {"cache_hit": m.cache_hit}
    trouble: dict[str, object] = {"unsupported": m.unsupported} if m.unsupported else {}
    if m.last_error:
        trouble |= {"last_error": m.last_error, "last_error_at": iso(m.last_error_at_ms)}
    return {
        "state": m.state,
        "health_score": m.health_score,
        "active_requests": m.active,
        "limit": m.limit,
        "requests": m.requests,
        "failures": m.failures,
        "slow_requests": m.slow,
        "avg_latency": duration(m.avg_ms),
        "p50_latency": duration(m.p50_ms),
        "p95_latency": duration(m.p95_ms),
        "p99_latency": duration(m.p99_ms),
        "oldest_active": duration(m.oldest_ms),
        "generation": m.generation,
        "trips": m.trips,
        "open_reason": m.open_reason,
        "open_for": duration(m.wait_ms),
        **place,
        **cache,
        **trouble,
    }
