"""The router's part of the settings: strategy, breaker, score, fallbacks, retries, load shedding.

The numbers are defaults of formulas that live in Lua; the reason for each stands beside it.
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
    min_calls: Count = 20  # below it a rate is chance
    failure_rate: Threshold = 0.5
    slow_rate: Threshold = 0.5
    max_cooldown_ms: Duration = 300_000  # doubling stops here, or a long outage would outlive itself
    probes: Count = 3
    probe_successes: Count = 2  # one lucky probe is no recovery, and one of three may still be cancelled
    slow_start_ms: Duration = 30_000
    trip_memory_ms: Duration = 60_000  # the length of the window: older trips left no trace in it


class ScoreSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The weights of the adaptive score, as in the original PLLM; only their proportion matters."""

    load: Amount = 0.3
    latency: Amount = 0.4
    error: Amount = 0.3


class FallbackSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    min_health: Score = 40  # what is left of 100 when half of the calls fail, though none is slow
    advantage: Factor = 1.25  # less would let traffic swing between models of equal worth


class RetryBudgetSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    ratio: Ratio = 0.2  # an outage may add a fifth to the load, not multiply it
    floor_per_second: Amount = 3  # with little traffic a fifth of it would be no retry at all


class LoadSheddingSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The first three as in the original PLLM, where they were reported and never obeyed."""

    max_active_requests: Count = 1_000
    min_healthy_ratio: Ratio = 0.5
    max_failure_rate: Ratio = 0.10
    critical_reserve: Ratio = 0.2  # so a burst of ordinary calls cannot shut out a critical one


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Of one model on one replica, for when all its deployments are full."""

    max_waiting: Level = 100  # more would only wait for each other; 0 is no queue: full is refused at once
    max_wait_ms: Duration = 10_000  # longer, and most people have given up
    target_ms: Duration = 1_000  # what even the luckiest waits for when there is too much, not only a burst


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    routing_strategy: RoutingStrategy = "adaptive"
    circuit_breaker_enabled: bool = True
    # As in the original PLLM, whose operators know what to expect of them; but a fixed threshold is only taken by name.
    circuit_breaker_threshold: Count = 5
    circuit_breaker_cooldown_ms: Duration = 30_000
    latency_threshold_ms: Duration | None = None  # None: relative, so that a model that thinks is not slow
    slow_request_limit: Count = 3
    token_allowance_ms: Allowance = 50  # 20 tokens a second; 0 calls every long answer slow
    last_resort: bool = True  # may a request go to an open breaker when no other candidate is left
    breaker: BreakerSettings = BreakerSettings()
    score: ScoreSettings = ScoreSettings()
    fallback: FallbackSettings = FallbackSettings()
    retry_budget: RetryBudgetSettings = RetryBudgetSettings()
    max_attempts: Count = 3  # a second deployment and one fallback; more only add waiting
    request_timeout_ms: Duration = 600_000  # until the first content, with all attempts: as long as official SDKs wait
    fallbacks: Mapping[Name, tuple[Name, ...]] = {}
    context_window_fallbacks: Mapping[Name, tuple[Name, ...]] = {}  # instead of `fallbacks`, when a prompt is too long
    content_policy_fallbacks: Mapping[Name, tuple[Name, ...]] = {}  # and when the provider's filter refused it
    fallbacks_within_key: bool = True  # no chain leads a key to a model that is not on its list
    load_shedding: LoadSheddingSettings = LoadSheddingSettings()
    queue: QueueSettings = QueueSettings()
    forecast: ForecastSettings = ForecastSettings()
    model_queues: Mapping[Name, QueueSettings] = {}  # instead of `queue`, for a model
    aliases: Mapping[Name, Name] = {}
    autoscale: AutoscaleSettings | None = None
    budget: BudgetSettings | None = None  # of the whole domain
    cost_estimate: CostEstimateSettings = CostEstimateSettings()
    capacity_leases: CapacityLeaseSettings = CapacityLeaseSettings()
