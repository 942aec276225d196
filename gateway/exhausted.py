"""What a client is told when no candidate gave an answer: the first one's error, and what each of them said."""

from collections.abc import Sequence

import msgspec

from gateway.catalog import Candidate
from gateway.errors import (
    Attempt,
    BudgetExceeded,
    GatewayError,
    NoHealthyDeployment,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from gateway.upstream import Exchange
from shared_state.records import Outcome, Rejection


class Tried(msgspec.Struct, frozen=True):
    """A candidate that gave no answer. ``is_sent``: it was called, as it is not when its dialect lacks the words."""

    candidate: Candidate
    outcome: Outcome
    retry_after_ms: int = 0
    status: int = 0
    is_quota_exhausted: bool = False
    error: GatewayError | None = None  # the request's own fault, as it was found there
    is_sent: bool = True


def refused(candidate: Candidate, exchange: Exchange) -> UpstreamRefused:
    """The provider's fault-finding with the request, as our error: bounded, and without the key it was asked with."""
    error = exchange.error
    if error is None:
        return UpstreamRefused(
            exchange.status, "The provider refused the request.", type="invalid_request_error", param=None, code=None
        )
    key = str(candidate.deployment.provider.api_key)

    def told(text: str | None, most: int = 200) -> str | None:
        return text and (text.replace(key, "***") if key else text)[:most]

    return UpstreamRefused(
        exchange.status,
        told(error.message, 2000) or "The provider refused the request.",
        type=told(error.type) or "invalid_request_error",
        param=told(error.param),
        code=None if error.code is None else told(str(error.code)),
    )


def tried_with(candidate: Candidate, exchange: Exchange) -> Tried:
    return Tried(
        candidate,
        exchange.outcome,
        exchange.retry_after_ms,
        exchange.status,
        exchange.is_quota_exhausted,
        refused(candidate, exchange) if exchange.outcome is Outcome.CLIENT_ERROR else None,
    )


def attempts(tried: Sequence[Tried]) -> int:
    return sum(each.is_sent for each in tried)


def _details(tried: Sequence[Tried]) -> tuple[Attempt, ...]:
    return tuple(Attempt(t.candidate.deployment.id, t.outcome.value, t.status) for t in tried)


def failed(tried: Sequence[Tried]) -> GatewayError:
    """All candidates were tried: the client gets the primary's error, and what each of them answered."""
    error = _error_for(tried)
    error.attempts = attempts(tried)
    return error


def _error_for(tried: Sequence[Tried]) -> GatewayError:
    if not tried:
        return UpstreamTimedOut("The request's time was over before a provider was asked.")
    primary, details = tried[0], _details(tried)
    if primary.error is not None:
        primary.error.details = details
        return primary.error
    if primary.outcome is Outcome.THROTTLED:
        waits = [t.retry_after_ms for t in tried if t.outcome is Outcome.THROTTLED and not t.is_quota_exhausted]
        if not waits:
            return QuotaExhausted("The quota at the provider is used up.", details=details)
        message = "The provider's rate limit is reached."
        return RateLimited(message, retry_after_ms=min(waits) or 1000, details=details)
    if primary.outcome is Outcome.OVERLOADED:
        return UpstreamFailed("The provider is overloaded.", details=details)
    if primary.outcome in (Outcome.TIMEOUT, Outcome.CANCELLED):
        return UpstreamTimedOut("The provider did not answer in time.", details=details)
    return UpstreamFailed("The provider failed to answer.", details=details)


FULL = frozenset({"full", "behind"})  # no room, or only for those who wait and have less
_BUDGETS = {"domain": "The gateway's budget", "tenant": "The budget of this API key"}
_SHED = "The gateway is overloaded and sheds load ({})."


def rejected(rejection: Rejection, candidates: Sequence[Candidate], tried: Sequence[Tried]) -> GatewayError:
    if tried:
        return failed(tried)
    wait_ms = rejection.retry_after_ms
    if rejection.code == "shed":
        return Overloaded(_SHED.format(rejection.reason), rejection.reason, retry_after_ms=wait_ms)
    details = tuple(Attempt(c.deployment.id, v) for c, v in zip(candidates, rejection.verdicts, strict=True))
    if rejection.code == "over_budget":
        message = f"{_BUDGETS[rejection.reason]} has no room for what this request may cost."
        return BudgetExceeded(message, retry_after_ms=wait_ms or None, details=details)
    if set(rejection.verdicts) == {"rate_limited"}:
        message = "The rate limit of every deployment of this model is reached."
        return RateLimited(message, retry_after_ms=wait_ms, details=details)
    if not FULL.isdisjoint(rejection.verdicts):
        message = "Every usable deployment of this model is at its concurrency limit."
        return Overloaded(message, "full", retry_after_ms=wait_ms, details=details)
    return NoHealthyDeployment(
        "No deployment of this model can take a request now.", retry_after_ms=wait_ms, details=details
    )
