"""How many replicas there should be, for whoever starts and stops them: what was known, what follows, and why."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.access import AdminAccess
from gateway.endpoints.admin import answered
from gateway.errors import NotFound, StateLost
from shared_state.records import ScalingSignal
from shared_state.scaling import Scaling

ANSWER_MOST_S = 5.0


class ScalingView:
    def __init__(self, access: AdminAccess, scaling: Scaling) -> None:
        self._access = access
        self._scaling = scaling

    async def show(self, request: Request) -> Response:
        """GET /v1/admin/autoscale. On its standby store a replica sees itself alone: no answer is better then."""
        self._access.authorize(request)
        if not self._scaling.is_wanted:
            raise NotFound("The configuration has no router.autoscale.")
        signal = None
        try:
            async with asyncio.timeout(ANSWER_MOST_S):
                signal = await self._scaling.ask()
        except TimeoutError:
            pass
        if signal is None:
            raise StateLost("How many replicas there should be is not known now.", retry_after_ms=1000)
        return answered(shown(signal))


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
