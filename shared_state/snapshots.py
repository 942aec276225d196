"""The visible state of a domain: its deployments, events and replicas, explanations of decisions, and the agreement on
the configuration.
"""

from typing import Literal

import msgspec


class CandidateVerdict(msgspec.Struct, frozen=True):
    """One candidate in an explanation. ``verdict``: eligible, open, probing, forced_open, disabled, cooling, full,
    rate_limited, unsupported (it lacks the endpoint), suspect (its group fails), or remote (a nearer one has room).
    ``rtt_ms``: from this replica's region, where that is known.
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
    """A dry run of `acquire`. ``shed_reason``: empty when the request would be admitted."""

    shed_reason: str
    picked: str | None
    candidates: tuple[CandidateVerdict, ...]
    affinity: str = "none"  # of the session that the request names


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """One bucket of a latency histogram: calls that took at most ``up_to_ms`` and longer than the bucket before."""

    up_to_ms: float
    count: float


class DeploymentSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment now. Latencies in ms; requests, failures, slow and ``histogram`` count the sliding window.
    ``histogram``, the baselines and ``stored``, the whole hash, are read only on request. ``…_headroom``: the unused
    share of a minute's rate limit; ``unsupported``: the kinds of call whose endpoint the provider has recently reported
    missing; ``last_error``: of the last failed call, at 0 ms when none has failed.
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
    baseline_ms: dict[str, float] = {}  # the usual latency of "plain" calls and of a "stream", where it is learned
    slow_above_ms: dict[str, float] = {}  # the threshold of slowness; absent: too few samples, slowness is not judged
    rpm_headroom: float = 1.0
    tpm_headroom: float = 1.0
    region: str = ""
    rtt_ms: float | None = None  # from the region of the replica that reads
    histogram: tuple[Bucket, ...] = ()
    unsupported: tuple[str, ...] = ()
    last_error: str = ""
    last_error_at_ms: int = 0
    cache_hit: float | None = None  # of pinned calls: the share of the prompt read from the cache; None until measured
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


class UsageRow(msgspec.Struct):
    """What one tenant used of one model. ``cached`` and ``written``: the part of ``input`` that was read from a cache
    and written to one; ``cost``: in micro-units.
    """

    requests: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    cost: int = 0


class ScalingSignal(msgspec.Struct, frozen=True, kw_only=True):
    """The number of replicas that the cluster should have, as the store judged it at ``evaluated_at_ms``, with the
    inputs. ``average``, and ``peak`` within ``scale_down_delay_ms``, count active requests and, up to the deployments'
    ``limit``, waiting ones; ``foreseen``: the highest average of last week from now to ``ahead_ms`` later;
    ``wanted``: the number that the average requires; ``changed_at_ms`` 0: ``desired`` has never changed.
    """

    now_ms: int
    evaluated_at_ms: int
    desired: int
    wanted: int
    reason: Literal["load", "held", "foreseen", "min", "max", "learning"]
    active: int
    waiting: int
    limit: int
    replicas: int
    average: float
    peak: float
    foreseen: float = 0.0
    held_until_ms: int = 0
    changed_at_ms: int = 0
    changed_from: int = 0
    target_concurrency: int
    utilization: float
    min_replicas: int
    max_replicas: int
    scale_down_delay_ms: int
    ahead_ms: int = 0


class Event(msgspec.Struct, frozen=True):
    """A transition: of a deployment's breaker, of load shedding (subject `load_shedding`), of the desired number of
    replicas (`desired_replicas`), of a provider's deployments (`group:<name>`), or of a replica, between stores or from
    `alive` to `dead`. ``id``: its place in the stream; ``at_ms``: the domain's time; ``error``: of the call that opened
    a breaker.
    """

    id: str
    subject: str = ""
    before: str = msgspec.field(default="", name="from")
    to: str = ""
    reason: str = ""
    generation: int = 0
    sequence: int = 0
    at_ms: int = 0
    error: str = ""


class ReplicaSnapshot(msgspec.Struct, frozen=True):
    """A replica as it last reported itself. ``silent_ms``: since its last heartbeat; ``age_ms``: since its start, by
    its own clock.
    """

    id: str
    silent_ms: int
    address: str = ""
    version: str = ""
    age_ms: int = 0
    is_draining: bool = False
    store: str = ""
    is_behind: bool = False  # its file is not the configuration in force


class Presence(msgspec.Struct, frozen=True):
    """The report of a replica about itself. ``status``: 0 serving, 1 draining, gone; ``store``: the store in use, with
    the ``reason`` when it is not the shared one.
    """

    address: str
    version: str
    started_at_ms: int
    status: Literal["0", "1", "gone"] = "0"
    store: Literal["shared", "standby"] = "shared"
    reason: str = ""


class Agreed(msgspec.Struct, frozen=True):
    """The configuration in force as a replica knows it; ``version`` 0: unknown. ``is_first``: the first one of an empty
    store, which yields to one that was in force before a flush.
    """

    version: int = 0
    digest: str = ""
    fingerprint: str = ""
    is_first: bool = False


class Stand(msgspec.Struct, frozen=True):
    """A replica's report on configurations: digest and fingerprint of its file, the version that it runs, when it
    registered by the store's time (0: not yet), the newest version of policies that it has seen in other domains, and
    the configuration that it knows to be in force.
    """

    digest: str
    fingerprint: str
    version: int = 0
    registered_ms: int = 0
    written: int = 0
    known: Agreed = Agreed()


class Standing(msgspec.Struct, frozen=True):
    """One replica's file, the version that it runs, and its answer to the proposal: none yet, `ready`, or its problems
    as JSON.
    """

    version: int = 0
    digest: str = ""
    answer: str = ""
    fingerprint: str = ""


class Agreement(msgspec.Struct, frozen=True):
    """The configuration in force, and the last one proposed. ``is_held``: the home domain holds the policies of the
    configuration in force; ``is_published``: replicas with another file can read it; ``registered_ms``: when this
    replica registered; ``replicas``: the living ones.
    """

    version: int
    digest: str
    phase: Literal["", "prepare", "committed", "refused"]
    proposed_version: int
    proposed_digest: str
    proposed_by: str
    replicas: dict[str, Standing]
    fingerprint: str = ""
    is_first: bool = False
    is_published: bool = False
    is_held: bool = False
    registered_ms: int = 0

    @property
    def agreed(self) -> Agreed:
        return Agreed(self.version, self.digest, self.fingerprint, self.is_first)
