"""What a configuration tells the scripts: settings of the router, of deployments and of tenants."""

from typing import Annotated, Literal

import msgspec

from shared_state.money import Budget


class RouterPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What every replica must apply alike. Rates, ratios and weights 0..1, times in ms, health 0..100."""

    breaker_enabled: bool
    last_resort: bool
    failure_threshold: int
    min_calls: int
    failure_rate: float
    slow_limit: int
    slow_rate: float
    max_cooldown_ms: int
    probes: int
    probe_successes: int
    slow_start_ms: int
    trip_memory_ms: int
    load_weight: float
    latency_weight: float
    error_weight: float
    min_health: float
    fallback_advantage: float
    max_active: int
    critical_reserve: float
    min_healthy_ratio: float
    max_failure_rate: float
    retry_ratio: float
    retry_floor_per_second: float
    forecast_ahead_ms: int | None = None  # none: what is not there costs no decision anything
    forecast_cut: float | None = None


class DeploymentPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Policy of one deployment; a limit of None means unlimited.

    ``lease_ms``: after this a lease expires by itself; longer than the longest call. ``price``: currency per
    million tokens, input and output added, only compared.
    """

    id: str
    lease_ms: int
    latency_threshold_ms: int | None = None  # None: relative to the deployment's own baseline
    token_allowance_ms: int
    cooldown_ms: int
    limit: int
    priority: int
    weight: float
    price: float
    rpm: int | None = None
    tpm: int | None = None
    concurrency: str = "adaptive"
    region: str | None = None
    domain: str = ""  # which keys it is kept under


class AutoscalePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas the cluster should have: each at most ``utilization`` (0..1) of its ``target_concurrency``, and
    fewer than now only after ``scale_down_delay_ms``.
    """

    target_concurrency: int
    utilization: float
    min_replicas: int
    max_replicas: int
    scale_down_delay_ms: int


class TenantLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant may do in the whole domain; None means unlimited. ``weight``: its share of what is full. No name:
    the anonymous one, not told apart, so it has no budget either.
    """

    name: str = ""
    rpm: int | None = None
    tpm: int | None = None
    max_parallel: int | None = None
    weight: float = 1.0
    budget: Budget | None = None


UNLIMITED = TenantLimits()


_Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class TenantRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tenant as the store keeps it. ``key_hash``: SHA-256 of its key, hexadecimal; no models means all of them. What
    was written over must not be believed, so every field has its bounds.
    """

    name: str
    key_hash: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    priority: Literal["critical", "high", "normal", "low", "bulk"] = "normal"
    models: tuple[str, ...] = ()
    rpm: _Limit | None = None
    tpm: _Limit | None = None
    max_parallel: _Limit | None = None
    weight: Annotated[float, msgspec.Meta(ge=0.001, le=1_000_000_000)] = 1.0
    budget: Budget | None = None


class Configuration(msgspec.Struct, frozen=True):
    """What this replica puts into the store: the newest ``version`` wins. ``region``: where it is, empty: nowhere."""

    version: int
    router: RouterPolicy
    deployments: tuple[DeploymentPolicy, ...]
    autoscale: AutoscalePolicy | None = None
    region: str = ""

    def of(self, *domains: str) -> "Configuration":
        """The part of it that belongs to these."""
        return msgspec.structs.replace(self, deployments=tuple(d for d in self.deployments if d.domain in domains))
