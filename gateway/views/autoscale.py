"""How many replicas there should be, as it is shown: what was known, what follows, and why."""

from shared_state.snapshots import ScalingSignal


def shown(signal: ScalingSignal) -> dict[str, object]:
    changed_ms = signal.now_ms - signal.changed_at_ms
    return {
        "desired_replicas": signal.desired,
        "wanted_replicas": signal.wanted,
        "reason": signal.reason,
        "why": why(signal),
        "inputs": {
            "active_requests": signal.active,
            "waiting_requests": signal.waiting,
            "limit": signal.limit,
            "replicas": signal.replicas,
            "average": signal.average,
            "peak": signal.peak,
        },
        "settings": {
            "target_concurrency": signal.target_concurrency,
            "utilization": signal.utilization,
            "min_replicas": signal.min_replicas,
            "max_replicas": signal.max_replicas,
            "scale_down_delay": f"{signal.scale_down_delay_ms / 1000:g}s",
        },
        "changed": {"from": signal.changed_from, "ago_ms": changed_ms} if signal.changed_at_ms else None,
        "age_ms": signal.now_ms - signal.evaluated_at_ms,
    }


def why(signal: ScalingSignal) -> str:
    """One sentence for people."""
    each = signal.target_concurrency * signal.utilization
    load = f"{signal.average:.1f} requests to carry at {each:g} a replica ask for {signal.average / each:.2f} replicas"
    delay = f"{signal.scale_down_delay_ms / 1000:g} s"
    match signal.reason:
        case "held":
            return f"{load}; {signal.desired} stay, for the {signal.peak:.1f} of the last {delay}."
        case "max":
            return f"{load}, more than max_replicas."
        case "min":
            return f"{load}, fewer than min_replicas."
        case "learning":
            return f"{load}; the store has just begun to know the cluster, so none is taken away for {delay}."
        case "load":
            return f"{load}."
