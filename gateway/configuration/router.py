"""The settings of the router: strategy, breaker, score, fallbacks, retries, load shedding.

The numbers are defaults of formulas in Lua; the text beside each gives the reason.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from gateway.configuration.affinity import AffinitySettings
from gateway.configuration.autoscale import AutoscaleSettings
from gateway.configuration.leases import CapacityLeaseSettings
from gateway.configuration.money import BudgetSettings, CostEstimateSettings
from gateway.configuration.state_owners import StateOwnerSettings
from gateway.configuration.value_types import (
    Allowance,
    Amount,
    Count,
    Duration,
    Factor,
    Level,
    ModelName,
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
    """When a circuit breaker opens by rate, and how it recovers."""

    min_calls: Count = 20
    """The calls in the window below which no rate opens a breaker. A rate of fewer calls is chance."""
    failure_rate: Threshold = 0.5
    """The share of failed calls in the window that opens a breaker."""
    slow_rate: Threshold = 0.5
    """The share of slow calls in the window that opens a breaker while another candidate can take the traffic."""
    max_cooldown_ms: Duration = 300_000
    """The longest cooldown. It doubles with every trip, and would otherwise outlast the outage by far."""
    group_share: Threshold = 0.5
    """The share of a `provider_group`, at least two, that must fail before its other deployments are only probed.
    Since unreleased."""
    probes: Count = 3
    """The most calls through a half-open breaker, over all replicas."""
    probe_successes: Count = 2
    """The fast, successful probes that close a breaker. One may be luck, and one of three may be cancelled."""
    slow_start_ms: Duration = 30_000
    """How long a deployment takes to get its full traffic back after its breaker has closed."""
    trip_memory_ms: Duration = 60_000
    """The time in the closed state after which one trip no longer lengthens the cooldown. As long as the window."""


class ScoreSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The weights of the adaptive score, the original PLLM's by default. Only their proportion matters."""

    load: Amount = 0.3
    """The weight of the load in relation to the limit."""
    latency: Amount = 0.4
    """The weight of the latency."""
    error: Amount = 0.3
    """The weight of the error rate."""


class FallbackSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """When a fallback model takes over from an unhealthy model that could still be called."""

    min_health: Score = 40
    """The health score below which a model is left. 40 remain of 100 when half of the calls fail and none is slow."""
    advantage: Factor = 1.25
    """How many times better a fallback must score. With less, traffic would swing between equal models."""


class RetryBudgetSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """How many further attempts the whole cluster makes."""

    ratio: Ratio = 0.2
    """The share of requests that may have a further attempt. An outage adds a fifth to the load, not a multiple."""
    floor_per_second: Amount = 3
    """The further attempts per second that are always allowed. A fifth of little traffic would be none."""


class LoadSheddingSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """When requests are refused. The first three are the original PLLM's, which reported and never obeyed them."""

    max_active_requests: Count = 1_000
    """The most requests at once in the domain, over all replicas."""
    min_healthy_ratio: Ratio = 0.5
    """The share of healthy deployments below which low and bulk requests are refused."""
    max_failure_rate: Ratio = 0.10
    """The share of failed requests above which some of all but the critical requests are refused."""
    critical_reserve: Ratio = 0.2
    """The share of `max_active_requests` that is kept for critical requests, against bursts of ordinary ones."""


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The queue of one model on one replica, for when all its deployments are full."""

    max_waiting: Level = 100
    """The most requests that wait. With 0 there is no queue, and requests to full deployments are refused."""
    max_wait_ms: Duration = 10_000
    """How long a request waits before it is refused. Most people do not wait for longer."""
    target_ms: Duration = 1_000
    """The wait of the oldest request that, exceeded for a whole second, is overload and not a burst."""


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """How deployments are chosen, and when requests are refused."""

    routing_strategy: RoutingStrategy = "adaptive"
    """How a deployment is picked among the eligible ones of a model."""
    model_strategies: Mapping[ModelName, RoutingStrategy] = {}
    """The strategies of single models, also among their fallbacks, instead of `routing_strategy`. Since unreleased."""
    circuit_breaker_enabled: bool = True
    """Whether breakers open on failures, slow calls and overdue calls. Operators can open them in any case."""
    circuit_breaker_threshold: Count = 5
    """The failures in a row that open a breaker. The default is the original PLLM's."""
    circuit_breaker_cooldown_ms: Duration = 30_000
    """How long a breaker stays open after its first trip. The default is the original PLLM's."""
    latency_threshold_ms: Duration | None = None
    """The latency above which a call is slow. By default three times a deployment's usual latency, at least 2 s."""
    slow_request_limit: Count = 3
    """The slow calls in a row that open a breaker while another candidate can take the traffic."""
    token_allowance_ms: Allowance = 50
    """The time per output token that a plain answer may take on top of the threshold. 0 makes long answers slow."""
    last_resort: bool = True
    """Whether a request may go to a deployment with an open breaker when no other candidate is left.
    Since unreleased."""
    breaker: BreakerSettings = BreakerSettings()
    """When breakers open by rate, and how they recover."""
    score: ScoreSettings = ScoreSettings()
    """The weights of the adaptive score."""
    fallback: FallbackSettings = FallbackSettings()
    """When a fallback model takes over from an unhealthy one."""
    retry_budget: RetryBudgetSettings = RetryBudgetSettings()
    """How many further attempts the whole cluster makes."""
    max_attempts: Count = 3
    """The most attempts of one request: two deployments and a fallback by default. More only add waiting."""
    request_timeout_ms: Duration = 600_000
    """The time limit of all attempts together, until the first content. Official SDKs wait for as long."""
    fallbacks: Mapping[ModelName, tuple[Name, ...]] = {}
    """The models that take over from a model, in order."""
    context_window_fallbacks: Mapping[ModelName, tuple[Name, ...]] = {}
    """The models for prompts that are too long for a model, in order, instead of `fallbacks`."""
    content_policy_fallbacks: Mapping[ModelName, tuple[Name, ...]] = {}
    """The models for requests that a provider's filter has refused, in order, instead of `fallbacks`."""
    fallbacks_within_key: bool = True
    """Whether fallbacks keep to the `models` of the request's key. Since unreleased."""
    load_shedding: LoadSheddingSettings = LoadSheddingSettings()
    """When requests are refused."""
    queue: QueueSettings = QueueSettings()
    """The queue of every model."""
    affinity: AffinitySettings = AffinitySettings()
    """Sessions stay with the deployment that served them. Since unreleased."""
    model_queues: Mapping[ModelName, QueueSettings] = {}
    """The queues of single models, instead of `queue`."""
    aliases: Mapping[Name, Name] = {}
    """Other names of models."""
    autoscale: AutoscaleSettings | None = None
    """How many replicas the cluster should have. By default nothing is computed or shown."""
    budget: BudgetSettings | None = None
    """The budget of all tenants together. Unlimited by default."""
    cost_estimate: CostEstimateSettings = CostEstimateSettings()
    """The amount that a budget reserves before a call."""
    state_owners: StateOwnerSettings = StateOwnerSettings()
    """The memory of who holds responses, conversations and containers. Since unreleased."""
    capacity_leases: CapacityLeaseSettings = CapacityLeaseSettings()
    """Permits in blocks, for a domain that needs more than one core of the store."""
