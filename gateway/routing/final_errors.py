"""The errors of requests that no candidate answered: the first candidate's error, with the outcome of each attempt."""

from collections.abc import Sequence

import msgspec

from gateway.configuration.redaction import without_keys
from gateway.errors import (
    RETRY_AFTER_MS,
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

FIELD_MOST = 200  # characters of a provider's type, param or code
_REFUSALS = (Outcome.CLIENT_ERROR, Outcome.UNSUPPORTED)
_PERMANENT = (Outcome.FAILURE, *_REFUSALS)


class Tried(msgspec.Struct, frozen=True):
    """An attempt without an answer."""

    candidate: Candidate
    outcome: Outcome
    retry_after_ms: int = 0
    status: int = 0
    is_quota_exhausted: bool = False
    error: GatewayError | None = None  # for the client, where this attempt decides its error
    is_sent: bool = True  # False where the provider's dialect cannot express the request
    reason: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()  # for the client, about the provider
    is_passing: bool = False  # the provider may answer a moment later
    is_overdue: bool = False  # the request moved on while the provider hung, because its breaker opened
    is_state_unknown: bool = False  # the account lacks what the request names by its id

    @property
    def is_lasting(self) -> bool:
        """Whether the provider would answer the same request the same way for the next minute."""
        return self.is_quota_exhausted or (self.outcome in _PERMANENT and not self.is_passing)


def provider_fields(key: str, wire: Kind, error: UpstreamError, status: int) -> ProviderFields:
    """Returns the provider's error in both dialects: every field as received, without the ``key`` that was sent."""
    given: dict[str, object] = {**error.fields, "message": error.message or "The provider refused the request."}
    for name, value in (("type", error.type), ("param", error.param), ("code", error.code)):
        if value is not None:
            given[name] = value[:FIELD_MOST] if isinstance(value, str) else value
    try:
        text = msgspec.json.encode(given).decode()
        given = msgspec.json.decode(without_keys(text, key))
    except (msgspec.DecodeError, RecursionError):  # a key equal to a part of JSON's syntax, or too many levels
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


def refused(exchange: Exchange, has_tried_all: bool = True) -> UpstreamRefused:
    """Returns the provider's refusal of the request as an error of the gateway, with the provider's message."""
    error = exchange.error or UpstreamError()
    fields = provider_fields(exchange.key, exchange.wire, error, exchange.status)
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
    """Returns the record of an attempt that reached the provider."""
    error = refused(exchange) if exchange.outcome in _REFUSALS else None
    if error:
        error.headers += exchange.provider_headers
    return Tried(
        candidate,
        exchange.outcome,
        exchange.retry_after_ms,
        exchange.status,
        exchange.is_quota_exhausted,
        error,
        reason=exchange.reason,
        headers=exchange.provider_headers,
        is_passing=exchange.judgement.is_passing,
        is_overdue=exchange.is_overdue,
        is_state_unknown=exchange.is_state_unknown,
    )


def attempts(tried: Sequence[Tried]) -> int:
    """Returns how many of the attempts called a provider."""
    return sum(each.is_sent for each in tried) if tried else 0


def tried_list(tried: Sequence[Tried]) -> tuple[Attempt, ...]:
    return tuple(Attempt(t.candidate.deployment.id, t.outcome.value, t.status, t.reason) for t in tried)


def failed(tried: Sequence[Tried], has_tried_all: bool = False) -> GatewayError:
    """Returns the error that the client gets after these attempts. ``has_tried_all``: no candidate is left that could
    answer the same request otherwise.
    """
    error = _error_for(tried)
    error.is_in_vain = error.is_in_vain and has_tried_all and all(each.is_lasting for each in tried)
    error.attempts = attempts(tried)
    headers, has = next((each.headers for each in tried if each.headers), ()), {name for name, _ in error.headers}
    error.headers += [header for header in headers if header[0] not in has]
    return error


def _error_for(tried: Sequence[Tried]) -> GatewayError:
    if not tried:
        return UpstreamTimedOut("The request's time was over before a provider was called.")
    # A missing endpoint means less to the client than another deployment's answer, and so does a missing response.
    judged = [t for t in tried if t.outcome is not Outcome.UNSUPPORTED] or tried
    primary, details = next((t for t in judged if not t.is_state_unknown), judged[0]), tried_list(tried)
    if primary.error is not None:
        primary.error.details = details
        return primary.error
    if primary.outcome is Outcome.THROTTLED:
        waits = [t.retry_after_ms for t in tried if t.outcome is Outcome.THROTTLED and not t.is_quota_exhausted]
        if not waits:
            return QuotaExhausted("The quota at the provider is used up.", details=details)
        message = "The provider's rate limit is reached."
        return RateLimited(message, retry_after_ms=min(waits) or RETRY_AFTER_MS, details=details)
    if primary.outcome is Outcome.OVERLOADED:
        waits = [t.retry_after_ms for t in tried if t.outcome is Outcome.OVERLOADED]
        return UpstreamOverloaded(
            "The provider is overloaded.", retry_after_ms=min(waits) or RETRY_AFTER_MS, details=details
        )
    if primary.outcome in (Outcome.TIMEOUT, Outcome.CANCELLED):
        return UpstreamTimedOut("The provider did not answer in time.", details=details)
    failure = UpstreamFailed("The provider failed to answer.", details=details)
    failure.is_in_vain = True
    return failure


# Verdicts of the store about a deployment.
FULL = frozenset({"full", "behind"})  # no room, or room only for waiting tenants with a smaller share
LIMITED = frozenset({"cooling", "rate_limited"})  # by its provider, or by its configured limits
EXCLUDED = "excluded"  # by the request: it names what another account holds, or other deployments
UNSUPPORTED = "unsupported"  # it lacks this endpoint: the other deployments' verdicts decide
_BUDGETS = {"domain": "The gateway's budget", "tenant": "The budget of this API key"}
_SHED = "The gateway is overloaded and sheds load ({})."


def rejected(rejection: Rejection, candidates: Sequence[Candidate], tried: Sequence[Tried]) -> GatewayError:
    """Returns the error that the client gets when the store grants no permit after these attempts. Where the accounts
    tried so far lack what the request names, one of the others may hold it.
    """
    if tried and (rejection.code != "none" or not all(each.is_state_unknown for each in tried)):
        return failed(tried, has_tried_all=rejection.code == "owner")
    error = _refusal(rejection, candidates, tried)
    error.attempts = attempts(tried)
    return error


def _refusal(rejection: Rejection, candidates: Sequence[Candidate], tried: Sequence[Tried]) -> GatewayError:
    wait_ms = rejection.retry_after_ms
    if rejection.code == "shed":
        return Overloaded(_SHED.format(rejection.reason), rejection.reason, retry_after_ms=wait_ms)
    refused_by = zip(candidates, rejection.verdicts, strict=True)
    details = (*tried_list(tried), *(Attempt(c.deployment.id, v) for c, v in refused_by if v != EXCLUDED))
    if rejection.code == "over_budget":
        message = f"{_BUDGETS[rejection.reason]} has no room for the possible cost of this request."
        return BudgetExceeded(message, retry_after_ms=wait_ms or None, details=details)
    verdicts = set(rejection.verdicts) - {EXCLUDED}
    if verdicts == {UNSUPPORTED}:
        message = "No deployment of this model has this endpoint, according to their providers."
        return EndpointNotSupported(message, param="model", details=details)
    if verdicts and verdicts - {UNSUPPORTED} <= LIMITED:
        message = "Every deployment of this model is at its rate limit or cooling down."
        return RateLimited(message, retry_after_ms=wait_ms, details=details)
    if not FULL.isdisjoint(rejection.verdicts):
        message = "Every usable deployment of this model is at its concurrency limit."
        return Overloaded(message, "full", retry_after_ms=wait_ms, details=details)
    return NoHealthyDeployment(
        "No deployment of this model can take a request now.", retry_after_ms=wait_ms, details=details
    )
