"""Values of decisions: requests for a permit, permits and rejections, endings and settlements, heartbeats.

Field names are those of the store (docs in lua/include/store/policy.lua and deployment.lua), so that what a caller
sets, what a script reads and what redis-cli shows are the same words.
"""

from enum import StrEnum

import msgspec

from shared_state.money import Spending
from shared_state.policies import UNLIMITED, TenantLimits

CALL_KINDS = ("chat", "completions", "embeddings", "messages", "responses")
REASON_MOST = 200  # characters


class Outcome(StrEnum):
    """How a call of an upstream ended. Failure, timeout and overloaded count against the deployment; unsupported means
    that it does not have the endpoint of this kind of call.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    THROTTLED = "throttled"
    OVERLOADED = "overloaded"
    CLIENT_ERROR = "client_error"
    CANCELLED = "cancelled"
    UNSUPPORTED = "unsupported"


class Ask(msgspec.Struct, frozen=True):
    """One request to be decided on. ``priority``: 0 critical to 100 bulk; ``attempt``: from 1, 0 for another candidate
    while none has failed; ``tokens``: the estimate, in and out; ``waiting``: 0, 1 when it is in
    this replica's queue, 2 when more of its tenant wait there behind it; ``is_traced``: report every candidate;
    ``spending``: the budgets it has to fit, None where there is none; ``kind``: chat, completions, embeddings, messages
    or responses, empty when that does not matter.
    """

    priority: int = 50
    is_stream: bool = False
    attempt: int = 1
    tokens: int = 0
    tenant: TenantLimits = UNLIMITED
    waiting: int = 0
    is_traced: bool = False
    spending: Spending | None = None
    kind: str = ""


class MinuteUsed(msgspec.Struct, frozen=True):
    """How many ms of a tenant's minute are used up, of its requests and of its tokens."""

    requests_ms: int = 0
    tokens_ms: int = 0


class Permit(msgspec.Struct, frozen=True):
    """One granted lease: the right to send one call to one deployment, to be settled exactly once. ``ask``: what it was
    granted for; ``verdicts``, ``scores``: one per candidate, where that is traced; ``is_block``: it came with others;
    ``is_last_resort``: no candidate was eligible.
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
    is_last_resort: bool = False

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
    and out, -1 when the provider did not report it; ``cached_tokens``: of the prompt, from or into a cache, that are
    not among them: they cost, but are in no limit; ``cost``: micro-units that were spent, -1 when unknown, so that what
    was reserved counts; ``reason``: why it was no success, in at most `REASON_MOST` characters without secrets.
    """

    outcome: Outcome
    latency_ms: int = 0
    output_tokens: int = 0
    retry_after_ms: int = 0
    is_final: bool = True
    tokens: int = -1
    cached_tokens: int = 0
    cost: int = -1
    reason: str = ""


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


class Breaker(msgspec.Struct, frozen=True):
    """A breaker that has moved, or a deployment that is limited. ``ends_s``: when its state ends by itself, by the
    monotonic clock of this process; 0 never. ``cools_s``, ``used_s``: until when it cools, and its rate limit is used
    up; ``error``: why its last call failed, where it is open.
    """

    state: str
    generation: int
    ends_s: float = 0.0
    trips: int = 0
    reason: str = ""
    cools_s: float = 0.0
    used_s: float = 0.0
    error: str = ""


class Heartbeat(msgspec.Struct, frozen=True):
    """The cluster as the store sees it at one beat. ``policy_version`` 0: the store has no configuration;
    ``is_known``: False when this replica has been silent for so long that it was taken for dead; ``breakers``: by
    position of the deployment, from 0; ``fingerprint``: of the policies, empty where an earlier release wrote them.
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
    fingerprint: str = ""


class Plan(msgspec.Struct, frozen=True):
    """The part of an acquire that is the same for every request of a model, packed once."""

    ids: tuple[str, ...]
    tiers: tuple[int, ...]
    strategy: str
    prefix: bytes
    region: str = ""
