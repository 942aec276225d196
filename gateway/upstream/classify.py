"""The one table of judgement: maps (phase, status or in-band code, words, kind of endpoint) to the meaning of an
answer.

docs/judgement.md is the table as users read it; a test calls `judge` with each of its rows. The shared breaker
multiplies a wrong judgement over the cluster, so it learns only from evidence about the deployment.
"""

import errno
import os
import socket
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus

import msgspec

from gateway.upstream import error_words
from gateway.upstream.fault_words import may_pass
from gateway.upstream.http.faults import AddressesFailed
from gateway.upstream.upstream_errors import UpstreamError, status_of
from shared_state.records import Outcome

QUOTA_COOL_MS = 3_600_000  # until an invoice is paid; the longest cooldown of the router is the limit
REASON_MOST = 200


class Refusal(Enum):
    """Why a provider refused a request that another model may take."""

    CONTEXT_WINDOW = "context_window"
    CONTENT_POLICY = "content_policy"


class Judgement(msgspec.Struct, frozen=True):
    """The meaning of an answer."""

    outcome: Outcome  # for the deployment
    moves_on: bool = True  # the next candidate is called
    refusal: Refusal | None = None  # names the fallback chain to take instead, where one is configured
    cools_ms: int = 0  # a fixed cooldown, 0 where headers decide
    is_passing: bool = False  # the same deployment may answer the same request a moment later
    is_state_unknown: bool = False  # the account lacks what the request names by its id

    @property
    def is_quota_exhausted(self) -> bool:
        return self.cools_ms > 0


SUCCESS = Judgement(Outcome.SUCCESS, moves_on=False)
FAILURE = Judgement(Outcome.FAILURE)
PASSING = Judgement(Outcome.FAILURE, is_passing=True)
_CLIENT_ERROR = Judgement(Outcome.CLIENT_ERROR, moves_on=False)
_TOO_LONG = Judgement(Outcome.CLIENT_ERROR, moves_on=False, refusal=Refusal.CONTEXT_WINDOW)
_FLAGGED = Judgement(Outcome.CLIENT_ERROR, moves_on=False, refusal=Refusal.CONTENT_POLICY)
UNKNOWN_MODEL = Judgement(Outcome.CLIENT_ERROR)  # of a pattern: the provider's other models are not judged by it
_TOO_EXPENSIVE = Judgement(Outcome.CLIENT_ERROR)  # another account may afford it
_LACKS_FEATURE = Judgement(Outcome.CLIENT_ERROR)  # of this request: another model may have it
STATE_UNKNOWN = Judgement(Outcome.CLIENT_ERROR, is_state_unknown=True)  # another account may have it
_QUOTA = Judgement(Outcome.THROTTLED, cools_ms=QUOTA_COOL_MS)
_UNSUPPORTED = Judgement(Outcome.UNSUPPORTED)
_THROTTLED = Judgement(Outcome.THROTTLED)

REQUEST_FAILED = Judgement(Outcome.CLIENT_ERROR)  # another provider may reach the tool, or take the field
OUR_LIMIT = Judgement(Outcome.CANCELLED)
_MAY_NAME = (403, 409)
_MAY_LACK_STATE = (400, 404, 410, 422)
_MAY_BLAME_REQUEST = (401, 403, 409, 424, 500, 502)

# Statuses below 500 that official clients retry, or that announce that a later call may succeed.
_PASSING_BELOW_500 = frozenset({408, 409, 425, 498, 499})
_IN_VAIN_FROM_500 = frozenset({501, 505, 511})  # a missing ability of the server, or a network's login page

_BY_STATUS = {
    401: Outcome.FAILURE,  # the gateway's key, not the client's: the next provider may still serve
    402: Outcome.THROTTLED,
    403: Outcome.FAILURE,
    404: Outcome.UNSUPPORTED,
    405: Outcome.UNSUPPORTED,
    407: Outcome.FAILURE,  # from a proxy in between
    408: Outcome.TIMEOUT,
    409: Outcome.FAILURE,  # a conflict that passes
    410: Outcome.UNSUPPORTED,  # a model that was retired
    421: Outcome.FAILURE,  # the wrong server, by a proxy's mistake
    424: Outcome.FAILURE,  # TGI: generation failed
    425: Outcome.FAILURE,
    429: Outcome.THROTTLED,
    498: Outcome.OVERLOADED,  # Groq: no capacity left in the flex tier
    499: Outcome.FAILURE,  # cancelled between the provider's own servers: this client is still here
    501: Outcome.UNSUPPORTED,
    503: Outcome.OVERLOADED,
    529: Outcome.OVERLOADED,  # Anthropic's overloaded_error
}


def judge(
    status: int, error: UpstreamError | None, names: Callable[[UpstreamError], bool] = lambda _error: False
) -> Judgement:
    """Returns the meaning of an answer with this status and error. ``names``: returns whether the error mentions
    something that the request itself names. A 2xx is an error here: it has no answer, or only a part of one (204, 205,
    206).
    """
    outcome = _BY_STATUS.get(status)
    if error is not None:
        judged = _by_words(status, error)
        if judged is not None:
            return judged
        if status in _MAY_LACK_STATE and error_words.reports_state_unknown(error, names):
            return STATE_UNKNOWN
        if (outcome is Outcome.UNSUPPORTED or status in _MAY_NAME) and names(error):
            return _CLIENT_ERROR
    if status == 413:
        return _TOO_LONG
    if status == 402:
        return _QUOTA
    if outcome is not None:
        return Judgement(outcome, is_passing=_is_passing(status))
    if 400 <= status < 500:
        return _CLIENT_ERROR
    return PASSING if _is_passing(status) else FAILURE


def _is_passing(status: int) -> bool:
    return status in _PASSING_BELOW_500 or (status >= 500 and status not in _IN_VAIN_FROM_500)


def _by_words(status: int, error: UpstreamError) -> Judgement | None:
    if status in _MAY_BLAME_REQUEST and error_words.reports_request_failed(error):
        return REQUEST_FAILED
    if status in (401, 407, 408, 409):
        return None
    if status == 413 and error_words.reports_rate_limited(error) and error_words.names_limit_with_room(error):
        return _THROTTLED
    if status != 404 and error_words.reports_too_long(status, error):
        return _TOO_LONG
    if status < 500 and status != 429 and error_words.reports_flagged(error):
        return _FLAGGED
    if status == 402 and error_words.reports_too_expensive(error):
        return _TOO_EXPENSIVE
    if status in (400, 402, 403, 429) and error_words.reports_quota_exhausted(error):
        return _QUOTA
    if status == 400 and error_words.reports_key_refused(error):
        return FAILURE
    if status in (400, 422, 500) and error_words.reports_endpoint_unsupported(error):
        return _UNSUPPORTED
    if status in (400, 403, 422) and error_words.reports_model_gone(error):
        return _UNSUPPORTED
    if status in (404, 500, 501) and error_words.reports_feature_unsupported(error):
        return _LACKS_FEATURE
    return None


def judge_in_band(
    error: UpstreamError, names: Callable[[UpstreamError], bool] = lambda _error: False
) -> tuple[int, Judgement]:
    """Returns the status that an error within a 200 stands for, and the judgement of that status."""
    status = status_of(error, 0) or (429 if error_words.reports_throttled(error) else 0)
    if not status:
        # An unknown code: the message may still blame the request.
        is_request = error_words.reports_too_long(400, error) or error_words.reports_flagged(error)
        status = 400 if is_request else 500
    return status, judge(status, error, names)


def judge_fault(fault: BaseException) -> Judgement:
    """Returns the meaning of a transport fault."""
    outcome = Outcome.TIMEOUT if isinstance(fault, TimeoutError) else Outcome.FAILURE
    return Judgement(outcome, is_passing=may_pass(fault))


_OWN_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


def is_own_fault(fault: BaseException) -> bool:
    """Returns whether this process is at fault, not the deployment: out of descriptors, ports, buffers or memory."""
    cause: BaseException | None = fault
    while cause is not None:
        several = cause.faults if isinstance(cause, AddressesFailed) else (cause,)
        if any(isinstance(each, OSError) and each.errno in _OWN_ERRNOS for each in several):
            return True
        if isinstance(cause, MemoryError):
            return True
        if isinstance(cause, socket.gaierror) and not _has_descriptor():
            return True
        cause = cause.__cause__
    return False


def _has_descriptor() -> bool:
    """Returns whether a file can be opened. A resolver that cannot open its socket reports "name not found" only."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def reason_of(status: int, error: UpstreamError | None, is_in_band: bool = False) -> str:
    """Returns the reason of a failed answer: `401 invalid_api_key: Incorrect API key provided`. The part before the
    first colon is the same for all answers of a kind. The caller masks keys.
    """
    code = None if error is None else next((name for name in (error.code, error.type, error.status) if name), None)
    if is_in_band:
        head = f"error {code or status} within a 200"
    elif code and str(code) != str(status):
        head = f"{status} {code}"
    else:
        head = f"{status} {_phrase(status)}".rstrip()
    words = "" if error is None else " ".join(error.message.split())
    return (f"{head}: {words}" if words else head)[:REASON_MOST]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
