"""The values that cross the border of the shared state: policies in, permits, rejections and snapshots out.

Field names are those of the store (docs in lua/include/policy.lua and deployment.lua), so that what a caller
sets, what a script reads and what redis-cli shows are the same words.
"""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from shared_state.money import Budget, Spending


class Outcome(StrEnum):
    """How a call of an upstream ended. Failure, timeout and overloaded count against the deployment."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    THROTTLED = "throttled"
    OVERLOADED = "overloaded"
    CLIENT_ERROR = "client_error"
    CANCELLED = "cancelled"


class RouterPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What every replica must apply alike. Rates, ratios and weights 0..1, times in ms, health 0..100."""

    breaker_enabled: bool
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
    """Policy of one deployment; None means unlimited.

    ``lease_ms``: after this a lease expires by itself; longer than the longest call. ``price``: currency per
    million tokens, input and output added, only compared.
    """

    id: str
    lease_ms: int
    latency_threshold_ms: int
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


class Ask(msgspec.Struct, frozen=True):
    """One request to be decided on. ``priority``: 0 critical to 100 bulk; ``attempt``: from 1, 0 for another candidate
    while none has failed; ``tokens``: as many as it is estimated to take, in and out; ``waiting``: 0, 1 when it is in
    this replica's queue, 2 when more of its tenant wait there behind it; ``is_traced``: tell of every candidate;
    ``spending``: the budgets it has to fit, None where there is none.
    """

    priority: int = 50
    is_stream: bool = False
    attempt: int = 1
    tokens: int = 0
    tenant: TenantLimits = UNLIMITED
    waiting: int = 0
    is_traced: bool = False
    spending: Spending | None = None


class MinuteUsed(msgspec.Struct, frozen=True):
    """How many ms of a tenant's minute are used up, of its requests and of its tokens."""

    requests_ms: int = 0
    tokens_ms: int = 0


class Permit(msgspec.Struct, frozen=True):
    """One granted lease: the right to send one call to one deployment, to be settled exactly once. ``ask``: what it was
    granted for; ``verdicts``, ``scores``: one per candidate, where that is traced; ``is_block``: it came with others.
    """

    token: str
    position: int
    deployment_id: str
    generation: int
    is_probe: bool
    ask: Ask
    sequence: int
    used: MinuteUsed = MinuteUsed()
    verdicts: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    is_block: bool = False

    @property
    def is_stream(self) -> bool:
        return self.ask.is_stream

    @property
    def reserved(self) -> int:
        """Micro-units, of the budgets it was granted under."""
        return self.ask.spending.costs[self.position] if self.ask.spending else 0


class Rejection(msgspec.Struct, frozen=True):
    """No lease. ``code``: shed, limited (the tenant), none, retry_budget or over_budget (``reason``: domain or tenant;
    ``retry_after_ms`` 0: no waiting helps); one verdict per candidate when they were looked at, with its score where
    that is traced.
    """

    code: str
    reason: str
    retry_after_ms: int
    sequence: int
    verdicts: tuple[str, ...]
    used: MinuteUsed = MinuteUsed()
    scores: tuple[float, ...] = ()


class Ending(msgspec.Struct, frozen=True):
    """What `settle` learns. ``latency_ms``: first byte of a stream, total of the rest; ``retry_after_ms``: 0 when
    the provider named none; ``is_final``: this is the outcome of the whole request, not of an attempt; ``tokens``: in
    and out, -1 when the provider did not tell; ``cost``: micro-units that were spent, -1 when nobody knows, so that
    what was reserved counts.
    """

    outcome: Outcome
    latency_ms: int = 0
    output_tokens: int = 0
    retry_after_ms: int = 0
    is_final: bool = True
    tokens: int = -1
    cost: int = -1


class BlockEnding(msgspec.Struct, frozen=True):
    """The end of a permit of a block, ``age_ms`` after it was handed out; no ending: it was not used."""

    permit: Permit
    ending: Ending | None
    age_ms: int = 0


class Settlement(msgspec.Struct, frozen=True):
    """``is_known``: False when the lease had ended before (settled twice, expired, reaped)."""

    is_known: bool
    state: str
    generation: int
    sequence: int


class CandidateVerdict(msgspec.Struct, frozen=True):
    """One candidate in an explanation. ``verdict``: eligible, open, probing, forced_open, disabled, cooling, full,
    rate_limited, or remote: a nearer one has room. ``rtt_ms``: from this replica's region, where that is known.
    """

    deployment_id: str
    verdict: str
    tier: int
    state: str
    active: int
    limit: int
    wait_ms: int
    health: float
    score: float
    region: str = ""
    rtt_ms: float | None = None


class Explanation(msgspec.Struct, frozen=True):
    """A dry run of `acquire`. ``shed_reason`` is empty when the request would be let in."""

    shed_reason: str
    picked: str | None
    candidates: tuple[CandidateVerdict, ...]


class Breaker(msgspec.Struct, frozen=True):
    """A breaker that has moved, or a deployment that is limited. ``ends_s``: when its state ends by itself, by the
    monotonic clock of this process; 0 never. ``cools_s``, ``used_s``: until when it cools, and its rate limit is used
    up.
    """

    state: str
    generation: int
    ends_s: float = 0.0
    trips: int = 0
    reason: str = ""
    cools_s: float = 0.0
    used_s: float = 0.0


class Heartbeat(msgspec.Struct, frozen=True):
    """The cluster as the store sees it at one beat. ``policy_version`` 0: the store has no configuration;
    ``is_known``: False when this replica has been silent for so long that it was taken for dead; ``breakers``: by
    position of the deployment, from 0.
    """

    epoch: str
    sequence: int
    now_ms: int
    policy_version: int
    active: int
    replicas_alive: int
    shed_reasons: str
    is_known: bool
    dead_replicas: tuple[str, ...]
    breakers: dict[int, Breaker]
    tenants_version: int = 0


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """Of a latency histogram: calls that took at most so many ms, and longer than the bucket before."""

    up_to_ms: float
    count: float


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What is foreseen of a deployment, minutes ahead: arrivals a minute, how long each holds its permit (ms), the
    share of its limit that they take together, and how far that is trusted (0..1). ``…_error``: the mean absolute
    error of the last week's hours; `_hour`, of the guess that it will be as in the last hour; `_week`, as in the same
    hour last week.
    """

    arrivals_ahead: float = 0.0
    latency_ahead: float = 0.0
    utilisation: float = 0.0
    trust: float = 0.0
    arrivals_seen: int = 0  # hours
    arrivals_scored: int = 0
    arrivals_error: float = 0.0
    arrivals_error_hour: float = 0.0
    arrivals_error_week: float = 0.0
    latency_error: float = 0.0
    latency_error_hour: float = 0.0
    latency_error_week: float = 0.0


class DeploymentSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment now. Latencies in ms; requests, failures and slow count the sliding window, as does the
    ``histogram``; that and ``stored``, its whole hash, only where they were asked for. Of a rate limit the headroom is
    the share of a minute's that is left.
    """

    id: str
    state: str = "closed"
    generation: int = 0
    health_score: float = 0.0
    active: int = 0
    limit: int = 0
    requests: int = 0
    failures: int = 0
    slow: int = 0
    consecutive_failures: int = 0
    consecutive_slow: int = 0
    probes_issued: int = 0
    probes_succeeded: int = 0
    trips: int = 0
    open_reason: str = ""
    wait_ms: int = 0
    oldest_ms: int = 0
    avg_ms: int = 0
    p50_ms: int = 0
    p95_ms: int = 0
    p99_ms: int = 0
    ewma_ms: float = 0.0
    rpm_headroom: float = 1.0
    tpm_headroom: float = 1.0
    region: str = ""
    rtt_ms: float | None = None  # from the region of who asks
    histogram: tuple[Bucket, ...] = ()
    forecast: Forecast | None = None
    stored: dict[str, str] = {}


class DomainSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole domain now. ``requests`` and ``failures`` are final outcomes of requests in the window;
    ``retry_tokens``: the balance of the retry budget.
    """

    epoch: str
    sequence: int
    now_ms: int
    policy_version: int
    active: int
    replicas_alive: int
    shed_reasons: str
    healthy_ratio: float
    requests: int
    failures: int
    retry_tokens: float
    deployments: tuple[DeploymentSnapshot, ...]

    @property
    def should_shed_load(self) -> bool:
        return bool(self.shed_reasons)


class ScalingSignal(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas there should be, as the store judged at ``evaluated_at_ms``, and what it knew then. ``average``
    and ``peak`` of ``scale_down_delay_ms`` are of active requests and, up to the deployments' ``limit``, waiting ones;
    ``wanted``: what the average asks for. ``changed_at_ms`` 0: ``desired`` has never changed.
    """

    now_ms: int
    evaluated_at_ms: int
    desired: int
    wanted: int
    reason: Literal["load", "held", "min", "max", "learning"]
    active: int
    waiting: int
    limit: int
    replicas: int
    average: float
    peak: float
    held_until_ms: int = 0
    changed_at_ms: int = 0
    changed_from: int = 0
    target_concurrency: int
    utilization: float
    min_replicas: int
    max_replicas: int
    scale_down_delay_ms: int


class Event(msgspec.Struct, frozen=True):
    """A transition: of a deployment's breaker, of load shedding (subject `load_shedding`), of the replicas that there
    should be (`desired_replicas`), or of a replica, between the stores or from `alive` to `dead`. ``id`` is its place
    in the stream, ``at_ms`` the domain's time.
    """

    id: str
    subject: str = ""
    before: str = msgspec.field(default="", name="from")
    to: str = ""
    reason: str = ""
    generation: int = 0
    sequence: int = 0
    at_ms: int = 0


class ReplicaSnapshot(msgspec.Struct, frozen=True):
    """A replica as it last told of itself. ``silent_ms``: since its last heartbeat; ``age_ms``: since its start, by
    its own clock.
    """

    id: str
    silent_ms: int
    address: str = ""
    version: str = ""
    age_ms: int = 0
    is_draining: bool = False
    store: str = ""


class Presence(msgspec.Struct, frozen=True):
    """What a replica says of itself. ``status``: 0 serving, 1 draining, gone; ``store``: the one it decides on, and
    ``reason`` why that is not the shared one.
    """

    address: str
    version: str
    started_at_ms: int
    status: Literal["0", "1", "gone"] = "0"
    store: Literal["shared", "standby"] = "shared"
    reason: str = ""


class Plan(msgspec.Struct, frozen=True):
    """The part of an acquire that is the same for every request of a model, packed once."""

    ids: tuple[str, ...]
    tiers: tuple[int, ...]
    strategy: str
    prefix: bytes
    region: str = ""


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


class Running(msgspec.Struct, frozen=True):
    """The configuration that a replica works by. ``has_agreed``: the others took it too, or the same was in force."""

    version: int
    digest: str
    has_agreed: bool = False


class Standing(msgspec.Struct, frozen=True):
    """Of a replica: what it runs, and what it says to the configuration that is proposed: nothing yet, `ready`, or its
    problems as JSON.
    """

    version: int = 0
    digest: str = ""
    answer: str = ""


class Agreement(msgspec.Struct, frozen=True):
    """The configuration in force, and the one that was proposed last; ``replicas``: those that live."""

    version: int
    digest: str
    phase: Literal["", "prepare", "committed", "refused"]
    proposed_version: int
    proposed_digest: str
    proposed_by: str
    replicas: dict[str, Standing]
