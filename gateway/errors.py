"""Errors that reach a client: each class fixes status and code; `error_bodies` renders them.

GatewayError
├── InvalidRequest        400  bad JSON, missing or mistyped field
├── Unauthorized          401  no or wrong API key
├── BudgetExceeded        402  what the call may cost does not fit
├── Forbidden             403  the key may not use this model or endpoint
├── ModelNotFound         404
├── EndpointNotSupported  404  no deployment of the model has the endpoint
├── Conflict              409  somebody else has it
├── ConfigurationRefused  409  by at least one replica, so by all
├── RequestTimedOut       408  the body did not arrive in time
├── RequestTooLarge       413
├── RateLimited           429
│   ├── QuotaExhausted    429  no waiting helps
│   ├── TooManyWrongKeys  429  from one address, and this key is wrong as well
│   └── QueueFull         429  too many wait already
├── UpstreamRefused       4xx  the provider found fault with the request itself
├── UpstreamFailed        502  every candidate was tried and failed
│   ├── UpstreamTimedOut  504
│   └── UpstreamOverloaded 503 the provider is overloaded; 529 in Anthropic's dialect
├── Overloaded            503  shed
├── NoHealthyDeployment   503  every candidate is open or cooling
├── ReplicaFault          503  this replica is out of descriptors, ports or memory, or has a defect
└── StateLost             503  the store cannot be reached
"""

import msgspec


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one candidate answered. ``status``: its HTTP status if it had one; ``reason``: why it gave no answer, in
    words without keys.
    """

    deployment: str
    outcome: str
    status: int = 0
    reason: str = ""


class ProviderFields(msgspec.Struct, frozen=True):
    """A provider's error object as each dialect has it, without keys; ``request_id``: Anthropic's, next to it."""

    chat: dict[str, object]
    message: dict[str, object]
    request_id: str | None = None


class Objection(msgspec.Struct, frozen=True):
    """What a replica has against a configuration; no path: it concerns the whole."""

    replica: str
    path: str
    message: str


def without_frames(error: BaseException) -> None:
    """Drops the frames that ``error`` and its causes hold, once it has been answered. A frame of the request holds the
    error in turn: with it the body would stay in memory until the collector looks at old objects.
    """
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and each.__traceback__ is not None:
            each.__traceback__ = None
            left += (each.__cause__, each.__context__)


class GatewayError(Exception):
    """Base. ``retry_after_ms`` becomes retry-after headers; ``details`` a list next to the error's message, named
    `attempts` where it holds what candidates answered; ``attempts``: how often a provider was called for it;
    ``headers``: further ones; ``provider``: the provider's own error, which the client gets as it is; ``is_in_vain``:
    the same request would meet the same error; ``message_status``: the status in Anthropic's dialect, 0: the same.
    """

    status = 500
    message_status = 0
    type = "api_error"
    code: str | None = "internal_error"
    is_in_vain = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_ms: int | None = None,
        details: tuple[Attempt | Objection, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_ms = retry_after_ms
        self.details = details
        self.attempts = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.provider: ProviderFields | None = None


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    code = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code


class Unauthorized(GatewayError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"
    is_in_vain = True


class Forbidden(GatewayError):
    status = 403
    type = "invalid_request_error"
    code = "model_not_allowed"


class BudgetExceeded(GatewayError):
    status = 402
    type = "insufficient_quota"
    code = "budget_exceeded"
    is_in_vain = True


class AdminOnly(Forbidden):
    code = "admin_key_required"


class RoleRequired(Forbidden):
    code = "admin_role_required"


class AdminOff(Forbidden):
    code = "admin_disabled"


class CrossOrigin(Forbidden):
    code = "cross_origin"


class ModelNotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class EndpointNotSupported(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "endpoint_not_supported"


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class Conflict(GatewayError):
    status = 409
    type = "invalid_request_error"
    code = "conflict"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code or self.code


class ConfigurationRefused(GatewayError):
    status = 409
    type = "invalid_request_error"
    code = "configuration_refused"


class MethodNotAllowed(GatewayError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class RequestTimedOut(GatewayError):
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class RequestTooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class RateLimited(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class QuotaExhausted(RateLimited):
    type = "insufficient_quota"
    code = "insufficient_quota"
    is_in_vain = True


class TooManyWrongKeys(RateLimited):
    code = "too_many_wrong_keys"
    is_in_vain = True


class QueueFull(RateLimited):
    code = "queue_full"


class UpstreamRefused(GatewayError):
    """The provider's own 4xx about the request, passed on with its status and its error's fields."""

    type = "invalid_request_error"

    def __init__(self, status: int, message: str, *, type: str, param: str | None, code: str | None) -> None:  # noqa: A002
        super().__init__(message, param=param)
        self.status = status
        self.type = type
        self.code = code


class UpstreamFailed(GatewayError):
    status = 502
    code = "upstream_error"


class UpstreamTimedOut(UpstreamFailed):
    status = 504
    code = "upstream_timeout"


class UpstreamOverloaded(UpstreamFailed):
    status = 503
    message_status = 529
    type = "service_unavailable_error"
    code = "upstream_overloaded"


class Overloaded(GatewayError):
    """``reason``: of load shedding, or `full` (every deployment), or `waited` (in vain)."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"

    def __init__(
        self, message: str, reason: str, *, retry_after_ms: int | None = None, details: tuple[Attempt, ...] = ()
    ) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms, details=details)
        self.reason = reason


class NoHealthyDeployment(GatewayError):
    status = 503
    type = "service_unavailable_error"
    code = "no_healthy_deployment"


class ReplicaFault(GatewayError):
    """Never an outcome of a deployment."""

    status = 503
    type = "service_unavailable_error"
    code = "replica_exhausted"

    def __init__(self, message: str, *, code: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.code = code or self.code


class StateLost(GatewayError):
    status = 503
    type = "service_unavailable_error"
    code = "state_unavailable"
