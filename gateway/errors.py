"""Errors that reach a client: each class fixes status and code; `http/error_bodies` renders them.

GatewayError               500  a defect of the gateway
├── InvalidRequest         400  invalid JSON, a missing or mistyped field
├── Unauthorized           401  the API key is missing or wrong
├── BudgetExceeded         402  a budget has no room for the cost of the call
├── Forbidden              403  the key may not use this model
│   ├── AdminOnly          403  the key is not an admin key
│   ├── RoleRequired       403  the role of the admin key does not suffice
│   ├── AdminOff           403  the configuration has no admins
│   └── CrossOrigin        403  a page of another site sent the request
├── ModelNotFound          404
├── NotFound               404  an unknown path, deployment or tenant
│   └── EndpointNotSupported 404  no deployment of the model has the endpoint
├── MethodNotAllowed       405
├── RequestTimedOut        408  the body did not arrive in time
├── Conflict               409  the configuration, another tenant or another reload holds it
│   └── StateOwnerUnavailable 409  the account that holds what the request names cannot serve it
├── ConfigurationRefused   409  at least one replica refuses the configuration, so none applies it
├── RequestTooLarge        413
├── RateLimited            429
│   ├── QuotaExhausted     429  the quota at the provider is used up: waiting does not help
│   ├── TooManyWrongKeys   429  too many wrong keys came from this address, and this one is wrong as well
│   └── QueueFull          429  too many requests wait already
├── UpstreamRefused        4xx  the provider refused the request itself, with this status
├── UpstreamFailed         502  every candidate was tried and failed
│   ├── UpstreamTimedOut   504
│   └── UpstreamOverloaded 503  the provider is overloaded; 529 in Anthropic's dialect
├── Overloaded             503  load shedding
├── NoHealthyDeployment    503  every candidate is open or cooling
├── ReplicaFault           503  this replica is out of descriptors, ports or memory, or has a defect
├── KeyUnavailable         503  this replica cannot read the key of a deployment
└── StateLost              503  the store cannot be reached
"""

import msgspec


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one candidate."""

    deployment: str
    outcome: str
    status: int = 0  # of HTTP; 0 without one
    reason: str = ""  # why it gave no answer; free of API keys


class ProviderFields(msgspec.Struct, frozen=True):
    """A provider's error object in each dialect, without API keys."""

    chat: dict[str, object]
    message: dict[str, object]
    request_id: str | None = None  # next to the error object, in Anthropic's dialect


class Objection(msgspec.Struct, frozen=True):
    """A replica's objection to a configuration."""

    replica: str
    path: str  # of the setting; empty for the whole configuration
    message: str


def without_frames(error: BaseException) -> None:
    """Drops the frames that ``error`` and its causes hold, after the response was sent. A frame of the request holds
    the error in turn: this cycle would keep the body in memory until a full garbage collection.
    """
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and each.__traceback__ is not None:
            each.__traceback__ = None
            left += (each.__cause__, each.__context__)


RETRY_AFTER_MS = 1000  # where nothing says when a retry may succeed


class GatewayError(Exception):
    """An error with a status and a code; the base of all others, and itself a defect of the gateway."""

    status = 500
    message_status = 0  # in Anthropic's dialect; 0: as `status`
    type = "api_error"
    code: str | None = "internal_error"
    is_in_vain = False  # the same request would get the same error again

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
        self.retry_after_ms = retry_after_ms  # sent as retry-after headers
        self.details = details  # a list next to the message; named `attempts` where it holds outcomes of candidates
        self.facts: dict[str, object] | None = None  # for programs; an object that is named `details`
        self.attempts = 0  # calls of providers for this request
        self.headers: list[tuple[bytes, bytes]] = []  # further ones
        self.provider: ProviderFields | None = None  # the provider's own error, which the client gets instead


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


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class EndpointNotSupported(NotFound):
    code = "endpoint_not_supported"


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


class StateOwnerUnavailable(Conflict):
    code = "state_owner_unavailable"
    is_in_vain = True


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
    """The provider's own 4xx, passed on with its status and the fields of its error."""

    type = "invalid_request_error"

    def __init__(self, status: int, message: str, *, type: str, param: str | None, code: str | None) -> None:  # noqa: A002
        super().__init__(message, param=param)
        self.status, self.type, self.code = status, type, code


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
    """The cluster sheds load, or every deployment is full. ``reason``: of load shedding, or `full`, or `waited`."""

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
    """A fault of this process, never an outcome of a deployment."""

    status = 503
    type = "service_unavailable_error"
    code = "replica_exhausted"

    def __init__(self, message: str, *, code: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.code = code or self.code


class KeyUnavailable(GatewayError):
    """The provider was not called. Other candidates may serve, and no deployment is at fault."""

    status = 503
    type = "service_unavailable_error"
    code = "provider_key_unavailable"


class StateLost(GatewayError):
    status = 503
    type = "service_unavailable_error"
    code = "state_unavailable"
