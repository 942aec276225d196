"""The scripted behaviour of the fake provider: decides about the next call, without I/O.

One seeded generator makes all random decisions in the order in which calls arrive, so a run can be repeated.
"""

import math
import random
from typing import Annotated, Any, Literal

import msgspec

NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The behaviour for each call. The defaults are a healthy provider that answers at once."""

    latency_ms: NonNegative = 0.0
    """Mean time to the first byte, of answers and errors alike."""
    latency_distribution: Literal["fixed", "uniform", "exponential", "lognormal"] = "fixed"
    latency_spread: Ratio = 0.5
    """How far the distribution spreads from the mean: 0 not at all, 1 fully."""
    chunk_gap_ms: NonNegative = 0.0
    """Pause between the content chunks of a stream."""
    chunks: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 8
    """Content chunks of a stream; completion tokens of every answer."""
    tool_calls: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Number of tool calls in an answer to a caller that offers tools, until it sends their results."""
    prompt_cache: Count = 0
    """Prompts that the provider keeps, the last used ones: a call whose prompt begins with one of them waits for a
    quarter of the latency, and its usage has the cached tokens. 0 keeps none."""
    slots: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Concurrent answers, as of a self-hosted engine; further calls wait."""

    error_rate: Ratio = 0.0
    error_status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 500
    retry_after_s: NonNegative | None = None
    """Sent as `retry-after` with every scripted error."""
    error_body: str | None = None
    """Sent unchanged, instead of the dialect's JSON error."""
    fail_first: Count = 0
    """The next N calls fail with `error_status`; counted down."""
    close_first: Count = 0
    """The connections of the next N calls close before any byte of an answer; counted down."""
    keep_alive: bool = True
    """False closes each connection after its answer, so that every call needs a new one."""

    stall_rate: Ratio = 0.0
    """Share of calls that get no first byte until the client disconnects."""
    stall_after_chunks: Count | None = None
    """A stream stalls after this many content chunks; 0 sends only the headers."""
    cut_after_chunks: Count | None = None
    """The connection closes after this many content chunks; a plain answer is cut in half."""
    malformed: Literal["html", "half_json", "empty"] | None = None
    """An answer with status 200 whose body breaks the dialect."""

    keeps_state: bool = False
    """Only the ids of responses, items, containers and encrypted reasoning that this provider has made are known."""

    seed: int = 1


class Plan(msgspec.Struct, frozen=True):
    """The fate of one call before its first byte: wait, then fail with a status, stall, close or answer."""

    delay_s: float = 0.0
    error_status: int | None = None
    is_stalled: bool = False
    is_closed: bool = False


class Script:
    """The behaviour in force together with its random generator."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._random = random.Random(behaviour.seed)

    def change(self, patch: dict[str, Any]) -> None:
        """Merges `patch` into the behaviour; a `seed` restarts the random decisions.

        Raises msgspec.ValidationError and then changes nothing.
        """
        self.behaviour = merge(self.behaviour, patch)
        if "seed" in patch:
            self._random = random.Random(self.behaviour.seed)

    def plan_call(self) -> Plan:
        behaviour = self.behaviour
        if behaviour.close_first:
            self.behaviour = msgspec.structs.replace(behaviour, close_first=behaviour.close_first - 1)
            return Plan(delay_s=self._draw_delay_s(), is_closed=True)
        if behaviour.fail_first:
            self.behaviour = msgspec.structs.replace(behaviour, fail_first=behaviour.fail_first - 1)
            return Plan(delay_s=self._draw_delay_s(), error_status=behaviour.error_status)
        if behaviour.stall_rate and self._random.random() < behaviour.stall_rate:
            return Plan(is_stalled=True)
        is_error = behaviour.error_rate and self._random.random() < behaviour.error_rate
        return Plan(
            delay_s=self._draw_delay_s(),
            error_status=behaviour.error_status if is_error else None,
        )

    def _draw_delay_s(self) -> float:
        """Draws a delay. Every distribution has the same mean, so that the spread does not change the load."""
        mean_s = self.behaviour.latency_ms / 1000
        if not mean_s:
            return 0.0
        spread = self.behaviour.latency_spread
        match self.behaviour.latency_distribution:
            case "fixed":
                return mean_s
            case "uniform":
                return mean_s * self._random.uniform(1 - spread, 1 + spread)
            case "exponential":
                return mean_s * (1 - spread + spread * self._random.expovariate(1))
            case "lognormal":
                # exp(N(-s²/2, s)) has mean 1
                return mean_s * math.exp(self._random.gauss(-spread * spread / 2, spread))


def merge(behaviour: Behaviour, patch: dict[str, Any]) -> Behaviour:
    """Returns the changed behaviour. Raises msgspec.ValidationError, which names the unknown or invalid field."""
    return msgspec.convert({**msgspec.structs.asdict(behaviour), **patch}, Behaviour)
