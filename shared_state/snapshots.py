"""What can be seen of a domain: its deployments, events and replicas, why a request would go where, and who agrees."""

from typing import Literal

import msgspec


class CandidateVerdict(msgspec.Struct, frozen=True):
    """One candidate in an explanation. ``verdict``: eligible, open, probing, forced_open, disabled, cooling, full,
    rate_limited, unsupported (it does not have the endpoint), or remote: a nearer one has room. ``rtt_ms``: from this
    replica's region, where that is known.
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


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """Of a latency histogram: calls that took at most this many ms, and longer than the bucket before."""

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
    ``histogram``; that, the baselines and ``stored``, its whole hash, only on request. Of a rate limit
    the headroom is the share of a minute's that is left; ``unsupported``: the kinds of call whose endpoint it does not
    have, as its provider has just answered; ``last_error``: why its last call that was no success failed, 0 ms when
    none has.
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
    forecast: Forecast | None = None
    unsupported: tuple[str, ...] = ()
    last_error: str = ""
    last_error_at_ms: int = 0
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
    ``wanted``: what the average requires. ``changed_at_ms`` 0: ``desired`` has never changed.
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
    in the stream, ``at_ms`` the domain's time; ``error``: of the call that opened a breaker.
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
    """The report of a replica about itself. ``status``: 0 serving, 1 draining, gone; ``store``: the one it decides on,
    and ``reason`` why that is not the shared one.
    """

    address: str
    version: str
    started_at_ms: int
    status: Literal["0", "1", "gone"] = "0"
    store: Literal["shared", "standby"] = "shared"
    reason: str = ""


class Agreed(msgspec.Struct, frozen=True):
    """The configuration in force as a replica knows it; ``version`` 0: it does not. ``is_first``: the first one of an
    empty store, which yields to one that was in force before a flush.
    """

    version: int = 0
    digest: str = ""
    fingerprint: str = ""
    is_first: bool = False


class Stand(msgspec.Struct, frozen=True):
    """What a replica reports of configurations: digest and fingerprint of its file, the version that it runs, when it
    registered by the store's time (0: not yet), the newest version of policies that it has seen in any domain, and
    what it knows to be in force.
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
    """The configuration in force, and the one that was proposed last. ``is_held``: the policies of the home domain are
    those of the one in force; ``is_published``: so is what replicas with another file can read; ``registered_ms``: when
    this replica registered; ``replicas``: those that live.
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
