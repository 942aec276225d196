"""The desired number of replicas as JSON: the inputs, the result and the reason."""

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
            "foreseen": signal.foreseen,
        },
        "settings": {
            "target_concurrency": signal.target_concurrency,
            "utilization": signal.utilization,
            "min_replicas": signal.min_replicas,
            "max_replicas": signal.max_replicas,
            "scale_down_delay": f"{signal.scale_down_delay_ms / 1000:g}s",
            "ahead": f"{signal.ahead_ms / 1000:g}s",
        },
        "changed": {"from": signal.changed_from, "ago_ms": changed_ms} if signal.changed_at_ms else None,
        "age_ms": signal.now_ms - signal.evaluated_at_ms,
    }


def why(signal: ScalingSignal) -> str:
    """Returns the reason as one sentence for people."""
    per_replica = signal.target_concurrency * signal.utilization
    needed = signal.average / per_replica
    load = f"{signal.average:.1f} requests at {per_replica:g} per replica need {needed:.2f} replicas"
    delay = f"{signal.scale_down_delay_ms / 1000:g} s"
    match signal.reason:
        case "held":
            return f"{load}; {signal.desired} stay because of the peak of {signal.peak:.1f} in the last {delay}."
        case "foreseen":
            return f"{load}; {signal.desired} are there because {signal.foreseen:.1f} came at this time last week."
        case "max":
            return f"{load}, more than max_replicas."
        case "min":
            return f"{load}, fewer than min_replicas."
        case "learning":
            return f"{load}; the store has little data of the cluster yet, so no replica is removed for {delay}."
        case "load":
            return f"{load}."
