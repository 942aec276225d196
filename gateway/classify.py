"""What an answer of a provider means: the one table from statuses, error objects and faults to outcomes.

| answer | outcome | what follows |
|---|---|---|
| 2xx with a body of its dialect | success | |
| 2xx with another body, or cut | failure | next candidate |
| 204, 205, 206 | failure: no answer, or a part of one that nobody asked for | next candidate |
| 400, 406, 411 to 422, ... | client_error | the client's error, neutral |
| ... that says the prompt is too long | client_error | the chain of `context_window_fallbacks` |
| ... that says a filter refused it | client_error | the chain of `content_policy_fallbacks` |
| 401, 403, 404, 405, 407, 410 | failure: our key, our model's name, our address | next candidate |
| 408, time-outs | timeout | next candidate |
| 409 | failure: a conflict that passes | next candidate |
| 429 | throttled: cools for Retry-After | next candidate |
| 402, or 400 or 429 that says the quota is used up | throttled for an hour: no waiting helps | next candidate |
| 2xx that says that nothing is left of a rate limit | success: cools until there is more | |
| 503, 529 | overloaded | next candidate |
| other 5xx, connection refused, reset or broken | failure | next candidate |
"""

import datetime
import email.utils
import re
import time
from collections.abc import Mapping
from enum import Enum

from gateway.calls import UpstreamError
from shared_state.records import Outcome

RETRY_AFTER_MOST_S = 86_400.0
QUOTA_COOL_MS = 3_600_000  # somebody has to pay first; the longest cooldown of the router is the limit
_QUOTA_CODES = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "quota_exceeded",
    "billing_error",
}
_QUOTA_WORDS = ("credit balance is too low",)  # Anthropic's, in a 400 that names no code
_LENGTH_CODES = {"context_length_exceeded", "string_above_max_length", "model_context_window_exceeded"}
# Of providers that name no code.
_LENGTH_WORDS = (
    "prompt is too long",
    "input is too long",
    "context length",
    "context limit",
    "context size",
    "context window",
    "too many tokens",
    "maximum number of tokens",
)
_POLICY_CODES = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_POLICY_WORDS = ("content management policy", "content filtering policy", "usage policy", "safety system")


class Refusal(Enum):
    """Why a provider refused a request that another model may take."""

    CONTEXT_WINDOW = "context_window"
    CONTENT_POLICY = "content_policy"


_BY_STATUS = {
    204: Outcome.FAILURE,
    205: Outcome.FAILURE,
    206: Outcome.FAILURE,
    401: Outcome.FAILURE,  # our key, not the client's: the next provider may still serve
    403: Outcome.FAILURE,
    402: Outcome.THROTTLED,  # our account
    404: Outcome.FAILURE,  # our model name
    405: Outcome.FAILURE,  # our address
    407: Outcome.FAILURE,
    408: Outcome.TIMEOUT,
    409: Outcome.FAILURE,
    410: Outcome.FAILURE,  # a model that was retired
    429: Outcome.THROTTLED,
    503: Outcome.OVERLOADED,
    529: Outcome.OVERLOADED,  # Anthropic's overloaded_error
}


def classify_status(status: int) -> Outcome:
    """The outcome by HTTP status alone; a 200 is a success only once its body has been seen."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if 200 <= status < 300:
        return Outcome.SUCCESS
    return Outcome.CLIENT_ERROR if 400 <= status < 500 else Outcome.FAILURE


def is_quota_exhausted(status: int, error: UpstreamError | None) -> bool:
    """Ours at the provider, whatever its client does."""
    if status == 402:
        return True
    if error is None or status not in (400, 429):
        return False
    message = error.message.lower()
    return not _QUOTA_CODES.isdisjoint((error.code, error.type)) or any(words in message for words in _QUOTA_WORDS)


def classify_refusal(error: UpstreamError) -> Refusal | None:
    """Of a client_error: may another model take the request?"""
    codes, message = {error.code, error.type}, error.message.lower()
    if codes & _LENGTH_CODES or any(words in message for words in _LENGTH_WORDS):
        return Refusal.CONTEXT_WINDOW
    if codes & _POLICY_CODES or any(words in message for words in _POLICY_WORDS):
        return Refusal.CONTENT_POLICY
    return None


def classify_fault(error: BaseException) -> Outcome:
    """A fault of the transport."""
    return Outcome.TIMEOUT if isinstance(error, TimeoutError) else Outcome.FAILURE


_LIMITS = (  # what is left of a provider's limit, and when there will be more
    (b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"),
    (b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"),
    (b"anthropic-ratelimit-requests-remaining", b"anthropic-ratelimit-requests-reset"),
    (b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset"),
)
USED_UP_MOST_MS = 60_000  # limits are per minute: by then there is something again
USED_UP_DEFAULT_MS = 1_000
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def used_up_ms(headers: Mapping[bytes, bytes], dated: Mapping[str, str]) -> int:
    """For how long a provider whose answer says that nothing is left of a limit needs no further call, in ms, a minute
    at most; 0 when something is left or nothing was said. Names in lower case; ``dated``: all headers of the answer.
    """
    waits = [_reset_ms(headers.get(reset), dated) for left, reset in _LIMITS if headers.get(left, b"").strip() == b"0"]
    return max(waits, default=0)


def _reset_ms(value: bytes | None, dated: Mapping[str, str]) -> int:
    """OpenAI's durations (6m0s, 120ms), a number of seconds, or Anthropic's time (RFC 3339)."""
    text = (value or b"").decode("latin-1").strip()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        ms = sum(float(number) * _UNITS_MS[unit] for number, unit in parts)
    elif text.replace(".", "", 1).isdigit() and text.isascii():
        ms = 1000 * float(text)
    else:
        try:
            ms = 1000 * (datetime.datetime.fromisoformat(text).timestamp() - _said_at_s(dated))
        except (ValueError, OverflowError):
            ms = USED_UP_DEFAULT_MS
    return round(min(max(ms, 1), USED_UP_MOST_MS))


def retry_after_ms(value: str | None, dated: Mapping[str, str]) -> int:
    """A Retry-After header (seconds or an HTTP date) in ms, a day at most; 0 when absent or unreadable. ``dated``: all
    headers of the answer.
    """
    if not value:
        return 0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - _said_at_s(dated)
        except (ValueError, TypeError, OverflowError):
            return 0
    return round(min(max(seconds, 0.0), RETRY_AFTER_MOST_S) * 1000) if seconds == seconds else 0


def _said_at_s(dated: Mapping[str, str]) -> float:
    """By the clock of whoever answered, if it tells its time: this machine's may be an hour off."""
    try:
        return email.utils.parsedate_to_datetime(dated["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return time.time()
