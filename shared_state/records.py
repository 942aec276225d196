"""Values of decisions: requests for a permit, permits and rejections, tokens, endings and settlements, heartbeats.

Field names are those of the store (docs in lua/include/store/policy.lua and deployment.lua), so that what a caller
sets, what a script reads and what redis-cli shows are the same words.
"""

from enum import StrEnum

import msgspec

from shared_state.money import Spending
from shared_state.policies import UNLIMITED, TenantLimits

CALL_KINDS = ("chat", "completions", "embeddings", "messages", "responses")
REASON_MOST = 200  # characters
FIRST_TURN = b"+"  # before the name of a session: its first turn, which only its beginning names


class Outcome(StrEnum):
    """The end of a provider's call. Failure, timeout and overloaded count against the deployment; unsupported means
    that it lacks the endpoint of this kind of call.
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
    """One request for a permit."""

    priority: int = 50  # 0 critical to 100 bulk
    is_stream: bool = False
    attempt: int = 1  # from 1; 0 for another candidate while none has failed
    tokens: int = 0  # estimated, input and output
    tenant: TenantLimits = UNLIMITED
    waiting: int = 0  # 1 when it is in this replica's queue, 2 when more requests of its tenant wait after it
    is_traced: bool = False  # the reply reports every candidate
    spending: Spending | None = None  # the budgets that it has to fit
    kind: str = ""  # chat, completions, embeddings, messages or responses; empty when it does not matter
    only: tuple[str, ...] = ()  # the deployments that may be picked; empty: all
    owned: tuple[str, ...] = ()  # digests of the ids that the request names: their owner's account has to serve it
    is_neutral: bool = False  # its outcome does not judge calls of a model
    session: tuple[bytes, ...] = ()  # names of its session, and of its prompt's prefixes from the longest on


class MinuteUsed(msgspec.Struct, frozen=True):
    """The used part of a tenant's minute in ms, by requests and by tokens."""

    requests_ms: int = 0
    tokens_ms: int = 0


class Permit(msgspec.Struct, frozen=True):
    """One granted lease: the right to send one call to one deployment, to be settled exactly once. ``ask``: the request
    it was granted for; ``verdicts``, ``scores``: one per candidate of a traced request; ``is_block``: it came in a
    block; ``is_last_resort``: no candidate was eligible; ``is_owned``: only the deployment's account can serve it.
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
    is_owned: bool = False
    affinity: str = ""  # pinned, new, moved(<why>) or none; empty where the request names no session

    @property
    def is_stream(self) -> bool:
        return self.ask.is_stream

    @property
    def reserved(self) -> int:
        """The reservation in the budgets under which it was granted, in micro-units."""
        return self.ask.spending.costs[self.position] if self.ask.spending else 0


class Rejection(msgspec.Struct, frozen=True):
    """A refused permit. ``code``: shed, limited (the tenant), none, retry_budget, over_budget, or owner: the request
    names what only the deployment ``reason`` holds, which is no candidate. ``reason``: of the code; for over_budget,
    domain or tenant, and then ``retry_after_ms`` 0 means that waiting does not help; for none, `owned` where the owner
    is a candidate.
    ``verdicts``: one per candidate that was considered, with ``scores`` when the request is traced.
    """

    code: str
    reason: str
    retry_after_ms: int
    sequence: int
    verdicts: tuple[str, ...]
    used: MinuteUsed = MinuteUsed()
    scores: tuple[float, ...] = ()


class TokenCounts(msgspec.Struct, frozen=True):
    """The tokens of one call. ``plain``: of the prompt, neither read from a cache nor written to one; ``output``:
    reasoning included; ``read``, ``written``: of the prompt, by the cache; ``kept``: the part of ``written`` that is
    kept for an hour, which costs more; ``outside``: the part of ``read`` and ``written`` that the provider does not
    count among the tokens in, as Anthropic does.
    """

    plain: int = 0
    output: int = 0
    read: int = 0
    written: int = 0
    kept: int = 0
    outside: int = 0

    @property
    def prompt(self) -> int:
        """All tokens in."""
        return self.plain + self.read + self.written

    @property
    def limited(self) -> int:
        """The tokens that count against limits per minute."""
        return self.plain + self.output + self.read + self.written - self.outside


NO_TOKENS = TokenCounts()


class Ending(msgspec.Struct, frozen=True):
    """The end of a call, as `settle` learns from it."""

    outcome: Outcome
    latency_ms: int = 0  # to the first byte of a stream, to the end of a plain response
    output_tokens: int = 0
    retry_after_ms: int = 0  # 0 when the provider sent none
    is_final: bool = True  # the outcome of the whole request, not of one attempt
    tokens: int = -1  # as limited, -1 when the provider did not report them
    counts: TokenCounts = NO_TOKENS  # what is priced; ``tokens`` is what is limited
    cost: int = -1  # in micro-units, -1 when unknown: then the reservation counts
    reason: str = ""  # of a failure, at most `REASON_MOST` characters, without secrets
    cache_share: float = -1.0  # of the prompt, 0..1, that the provider read from its cache; negative when unknown


class BlockEnding(msgspec.Struct, frozen=True):
    """The end of a block's permit, ``age_ms`` after it was handed out; without an ``ending`` it was not used."""

    permit: Permit
    ending: Ending | None
    age_ms: int = 0


class Settlement(msgspec.Struct, frozen=True):
    """The effect of a settle. ``is_known``: False when the lease had ended before (settled twice, expired, reaped)."""

    is_known: bool
    state: str
    generation: int
    sequence: int


class Breaker(msgspec.Struct, frozen=True):
    """A breaker that has moved, or a deployment that is limited. Times are by the monotonic clock of this process.
    ``ends_s``: when its state ends by itself, 0: never; ``cools_s``: until when it cools; ``used_s``: until when its
    rate limit is used up; ``error``: of the call that opened it.
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
    """The cluster as the store sees it at one heartbeat. ``policy_version`` 0: the store has no configuration;
    ``is_known``: False when this replica was silent for so long that it was taken for dead; ``breakers``: by position
    of the deployment, from 0; ``fingerprint``: of the policies, empty where an earlier release wrote them.
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
    secret: bytes = b""  # of the keyed hashes of sessions


class Plan(msgspec.Struct, frozen=True):
    """The part of an acquire that is the same for every request of a model, packed once."""

    ids: tuple[str, ...]
    tiers: tuple[int, ...]
    strategy: str
    prefix: bytes
    region: str = ""
