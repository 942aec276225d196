"""What an answer of a provider means: the one table from statuses and faults to outcomes."""

import email.utils
import time

from shared_state.records import Outcome

RETRY_AFTER_MOST_S = 86_400.0

_BY_STATUS = {
    401: Outcome.FAILURE,  # our key, not the client's: the next provider may still serve
    403: Outcome.FAILURE,
    404: Outcome.FAILURE,  # our model name
    408: Outcome.TIMEOUT,
    429: Outcome.THROTTLED,
    503: Outcome.OVERLOADED,
    529: Outcome.OVERLOADED,  # Anthropic's overloaded_error
}


def classify_status(status: int) -> Outcome:
    """The outcome by HTTP status alone; a 200 is a success only once its body has been seen."""
    if 200 <= status < 300:
        return Outcome.SUCCESS
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return Outcome.CLIENT_ERROR if 400 <= status < 500 else Outcome.FAILURE


def classify_fault(error: BaseException) -> Outcome:
    """A fault of the transport. aiohttp's own error (the cause) tells time-outs from broken connections; httpx's
    mapping of it does not.
    """
    cause = error.__cause__ or error
    return Outcome.TIMEOUT if isinstance(cause, TimeoutError) else Outcome.FAILURE


def retry_after_ms(value: str | None) -> int:
    """A Retry-After header (seconds or an HTTP date) in ms, a day at most; 0 when absent or unreadable."""
    if not value:
        return 0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0
    return round(min(max(seconds, 0.0), RETRY_AFTER_MOST_S) * 1000) if seconds == seconds else 0
