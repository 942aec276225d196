"""What a client is told when no candidate gave an answer: the first one's error, and what each of them said."""

from collections.abc import Sequence

import msgspec

from gateway.configuration.redaction import without_keys
from gateway.errors import (
    Attempt,
    BudgetExceeded,
    EndpointNotSupported,
    GatewayError,
    NoHealthyDeployment,
    Overloaded,
    ProviderFields,
    QuotaExhausted,
    RateLimited,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
)
from gateway.request.calls import Kind
from gateway.routing.catalog import Candidate
from gateway.upstream.dialects.error_kinds import chat_error_fields, message_error_fields
from gateway.upstream.exchange import Exchange
from gateway.upstream.upstream_errors import UpstreamError
from shared_state.records import Outcome, Rejection

PROVIDER_REQUEST_ID = b"x-pllm-provider-request-id"
FIELD_MOST = 200  # characters of a provider's type, param or code
_TOLD = (Outcome.CLIENT_ERROR, Outcome.UNSUPPORTED)
_LASTING = (Outcome.FAILURE, *_TOLD)


class Tried(msgspec.Struct, frozen=True):
    """A candidate that gave no answer. ``error``: what the client gets where this candidate decides it; ``is_sent``: it
    was called, as it is not when its dialect lacks the words; ``is_passing``: it may answer a moment later;
    ``is_overdue``: it was left while it waited, because its breaker opened.
    """

    candidate: Candidate
    outcome: Outcome
    retry_after_ms: int = 0
    status: int = 0
    is_quota_exhausted: bool = False
    error: GatewayError | None = None
    is_sent: bool = True
    reason: str = ""
    request_id: bytes = b""
    is_passing: bool = False
    is_overdue: bool = False

    @property
    def is_lasting(self) -> bool:
        """It would answer the same request the same way for the next minute."""
        return self.is_quota_exhausted or (self.outcome in _LASTING and not self.is_passing)


def provider_fields(candidate: Candidate, wire: Kind, error: UpstreamError, status: int) -> ProviderFields:
    """Returns the provider's error in both dialects: every field as it came, without keys."""
    given: dict[str, object] = {**error.fields, "message": error.message or "The provider refused the request."}
    for name, value in (("type", error.type), ("param", error.param), ("code", error.code)):
        if value is not None:
            given[name] = value[:FIELD_MOST] if isinstance(value, str) else value
    try:
        text = msgspec.json.encode(given).decode()
        given = msgspec.json.decode(without_keys(text, str(candidate.deployment.provider.api_key)))
    except (msgspec.DecodeError, RecursionError):  # a key that is a part of JSON's own signs, or too many levels
        given = {"message": "The provider refused the request."}
    if wire is Kind.MESSAGE:
        return ProviderFields(chat_error_fields(given), {"type": "api_error", **given}, error.request_id)
    message = message_error_fields({**given, "status_code": status})
    message.pop("status_code", None)
    default = "invalid_request_error" if status < 500 else "api_error"
    code = given.get("code")
    return ProviderFields(
        {"type": default, "param": None, **given, "code": None if code is None else str(code)}, message
    )


def refused(candidate: Candidate, exchange: Exchange, has_tried_all: bool = True) -> UpstreamRefused:
    """Returns the provider's objection to the request as an error of ours, with the provider's words."""
    error = exchange.error or UpstreamError()
    fields = provider_fields(candidate, exchange.wire, error, exchange.status)
    chat = fields.chat
    refusal = UpstreamRefused(
        exchange.status,
        str(chat["message"]),
        type=str(chat["type"]),
        param=None if chat.get("param") is None else str(chat["param"]),
        code=None if chat.get("code") is None else str(chat["code"]),
    )
    refusal.provider = fields
    is_retried = exchange.status in (409, 429) or exchange.status >= 500  # by official clients
    refusal.is_in_vain = is_retried and has_tried_all
    return refusal


def tried_with(candidate: Candidate, exchange: Exchange) -> Tried:
    error = refused(candidate, exchange) if exchange.outcome in _TOLD else None
    if error and exchange.request_id:
        error.headers.append((PROVIDER_REQUEST_ID, exchange.request_id))
    return Tried(
        candidate,
        exchange.outcome,
        exchange.retry_after_ms,
        exchange.status,
        exchange.is_quota_exhausted,
        error,
        reason=exchange.reason,
        request_id=exchange.request_id,
        is_passing=exchange.judgement.is_passing,
        is_overdue=exchange.is_overdue,
    )


def attempts(tried: Sequence[Tried]) -> int:
    return sum(each.is_sent for each in tried)


def tried_list(tried: Sequence[Tried]) -> tuple[Attempt, ...]:
    return tuple(Attempt(t.candidate.deployment.id, t.outcome.value, t.status, t.reason) for t in tried)


def failed(tried: Sequence[Tried], has_tried_all: bool = False) -> GatewayError:
    """Returns what the client gets: the primary's error, and what each of those tried answered. ``has_tried_all``:
    whether no candidate is left that could answer the same request otherwise.
    """
    error = _error_for(tried)
    error.is_in_vain = error.is_in_vain and has_tried_all and all(each.is_lasting for each in tried)
    error.attempts = attempts(tried)
    request_id = next((each.request_id for each in tried if each.request_id), b"")
    if request_id and all(name != PROVIDER_REQUEST_ID for name, _ in error.headers):
        error.headers.append((PROVIDER_REQUEST_ID, request_id))
    return error


def _error_for(tried: Sequence[Tried]) -> GatewayError:
    if not tried:
        return UpstreamTimedOut("The request's time was over before a provider was asked.")
    # A missing endpoint means less to the client than another deployment's answer.
    primary, details = next((t for t in tried if t.outcome is not Outcome.UNSUPPORTED), tried[0]), tried_list(tried)
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
        waits = [t.retry_after_ms for t in tried if t.outcome is Outcome.OVERLOADED]
        return UpstreamOverloaded("The provider is overloaded.", retry_after_ms=min(waits) or 1000, details=details)
    if primary.outcome in (Outcome.TIMEOUT, Outcome.CANCELLED):
        return UpstreamTimedOut("The provider did not answer in time.", details=details)
    failure = UpstreamFailed("The provider failed to answer.", details=details)
    failure.is_in_vain = True
    return failure


FULL = frozenset({"full", "behind"})  # no room, or only for those who wait and have less
LIMITED = frozenset({"cooling", "rate_limited"})  # by its provider, or by its own limits
UNSUPPORTED = "unsupported"  # it does not have this endpoint: what the other deployments say counts
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
    verdicts = set(rejection.verdicts)
    if verdicts == {UNSUPPORTED}:
        message = "No deployment of this model has this endpoint: their providers have just said so."
        return EndpointNotSupported(message, param="model", details=details)
    if verdicts and verdicts - {UNSUPPORTED} <= LIMITED:
        message = "Every deployment of this model is at its rate limit or cools down."
        return RateLimited(message, retry_after_ms=wait_ms, details=details)
    if not FULL.isdisjoint(rejection.verdicts):
        message = "Every usable deployment of this model is at its concurrency limit."
        return Overloaded(message, "full", retry_after_ms=wait_ms, details=details)
    return NoHealthyDeployment(
        "No deployment of this model can take a request now.", retry_after_ms=wait_ms, details=details
    )
