"""The settings of the router: strategy, breaker, score, fallbacks, retries, load shedding.

The numbers are defaults of formulas in Lua; a comment gives the reason for each.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from gateway.configuration.autoscale import AutoscaleSettings
from gateway.configuration.forecast import ForecastSettings
from gateway.configuration.leases import CapacityLeaseSettings
from gateway.configuration.money import BudgetSettings, CostEstimateSettings
from gateway.configuration.value_types import (
    Allowance,
    Amount,
    Count,
    Duration,
    Factor,
    Level,
    Name,
    Ratio,
    Score,
    Threshold,
    yaml_key,
)

RoutingStrategy = Literal[
    "adaptive",
    "latency-based",
    "least-busy",
    "priority",
    "weighted",
    "round-robin",
    "random",
    "usage-based",
    "cost-based",
]


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    min_calls: Count = 20  # with fewer calls a rate is chance
    failure_rate: Threshold = 0.5
    slow_rate: Threshold = 0.5
    max_cooldown_ms: Duration = 300_000  # doubling stops here, or a long outage would outlive itself
    probes: Count = 3
    probe_successes: Count = 2  # one success may be luck, and one probe of three may be cancelled
    slow_start_ms: Duration = 30_000
    trip_memory_ms: Duration = 60_000  # the length of the window, which holds no trace of older trips


class ScoreSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The weights of the adaptive score, as in the original PLLM; only their proportion matters."""

    load: Amount = 0.3
    latency: Amount = 0.4
    error: Amount = 0.3


class FallbackSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    min_health: Score = 40  # the score when half of the calls fail and none is slow
    advantage: Factor = 1.25  # a lower one would let traffic swing between equally good models


class RetryBudgetSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    ratio: Ratio = 0.2  # an outage may add a fifth to the load, not multiply it
    floor_per_second: Amount = 3  # a fifth of little traffic would allow no retry


class LoadSheddingSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The first three are those of the original PLLM, which reported them but did not enforce them."""

    max_active_requests: Count = 1_000
    min_healthy_ratio: Ratio = 0.5
    max_failure_rate: Ratio = 0.10
    critical_reserve: Ratio = 0.2  # a burst of ordinary calls must not keep critical ones out


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The queue of one model on one replica, used while all deployments of the model are full."""

    max_waiting: Level = 100  # more would only wait for each other; 0: no queue, requests are refused at once
    max_wait_ms: Duration = 10_000  # after a longer wait most people have left
    target_ms: Duration = 1_000  # a shortest wait above this means overload, not only a burst


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    routing_strategy: RoutingStrategy = "adaptive"
    circuit_breaker_enabled: bool = True
    # The defaults of the original PLLM, which its operators know. Only a fixed latency threshold must be set.
    circuit_breaker_threshold: Count = 5
    circuit_breaker_cooldown_ms: Duration = 30_000
    latency_threshold_ms: Duration | None = (
        None  # None: relative to the deployment's usual latency, so that reasoning is not slow
    )
    slow_request_limit: Count = 3
    token_allowance_ms: Allowance = 50  # 20 tokens a second; with 0 every long response counts as slow
    last_resort: bool = True  # requests may pass an open breaker when no other candidate is left
    breaker: BreakerSettings = BreakerSettings()
    score: ScoreSettings = ScoreSettings()
    fallback: FallbackSettings = FallbackSettings()
    retry_budget: RetryBudgetSettings = RetryBudgetSettings()
    max_attempts: Count = 3  # a second deployment and one fallback; more attempts only add delay
    request_timeout_ms: Duration = 600_000  # until the first content, over all attempts; official SDKs wait as long
    fallbacks: Mapping[Name, tuple[Name, ...]] = {}
    context_window_fallbacks: Mapping[Name, tuple[Name, ...]] = {}  # instead of `fallbacks`, when a prompt is too long
    content_policy_fallbacks: Mapping[
        Name, tuple[Name, ...]
    ] = {}  # instead of `fallbacks`, when the provider's filter refuses it
    fallbacks_within_key: bool = True  # no chain leads a key to a model outside its list
    load_shedding: LoadSheddingSettings = LoadSheddingSettings()
    queue: QueueSettings = QueueSettings()
    forecast: ForecastSettings = ForecastSettings()
    model_queues: Mapping[Name, QueueSettings] = {}  # instead of `queue`, for a model
    aliases: Mapping[Name, Name] = {}
    autoscale: AutoscaleSettings | None = None
    budget: BudgetSettings | None = None  # of the whole domain
    cost_estimate: CostEstimateSettings = CostEstimateSettings()
    capacity_leases: CapacityLeaseSettings = CapacityLeaseSettings()
