"""The waiting time in an answer's headers: Retry-After, and the remainder and reset of a rate limit.

Providers write a reset as a duration (OpenAI: `6m0s`, `120ms`), as seconds, as a date (Anthropic: RFC 3339), or as the
time since 1970 in seconds or milliseconds (OpenRouter).
"""

import datetime
import email.utils
import re
import time
from collections.abc import Mapping

RETRY_AFTER_MOST_MS = 86_400_000
SERVED_MOST_MS = 60_000  # limits are per minute: by then requests are allowed again
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_OTHER = re.compile(rb"priority|image|audio|batch|fast")  # limits that do not apply to ordinary calls
_NUMBER = re.compile(r"\d{1,18}(?:\.\d{1,9})?")
_SINCE_1970_S = 1e9  # no provider requires thirty years of patience
_SINCE_1970_MS = 1e12


def retry_after_ms(headers: Mapping[bytes, bytes], dated: Mapping[str, str]) -> int:
    """Returns `retry-after-ms` or `retry-after` (seconds, an HTTP date, or the time since 1970) in ms, a day at most;
    0 when absent or unreadable. ``headers``: names in lower case; ``dated``: all headers of the answer.
    """
    exact = headers.get(b"retry-after-ms", b"").decode("latin-1").strip()
    if _NUMBER.fullmatch(exact):
        return round(min(float(exact), RETRY_AFTER_MOST_MS))
    text = headers.get(b"retry-after", b"").decode("latin-1").strip()
    if _NUMBER.fullmatch(text) and float(text) >= _SINCE_1970_S:
        return reset_ms(text.encode(), dated)
    try:
        ms = float(text) * 1000
    except ValueError:
        try:
            ms = 1000 * (email.utils.parsedate_to_datetime(text).timestamp() - _sent_at_s(dated))
        except (ValueError, TypeError, OverflowError, IndexError):
            return 0
    return round(min(max(ms, 0.0), RETRY_AFTER_MOST_MS)) if ms == ms else 0


def served_ms(headers: Mapping[bytes, bytes], dated: Mapping[str, str]) -> int:
    """Returns how long a deployment that has just served should get no further call, because a limit is used up and
    names its reset; in ms, a minute at most, 0 without a readable reset.
    """
    waits = [
        reset_ms(headers.get(name.replace(b"remaining", b"reset")), dated)
        for name, left in headers.items()
        if b"remaining" in name and left.strip() == b"0" and not _OTHER.search(name)
    ]
    return min(max(waits, default=0), SERVED_MOST_MS)


def throttled_ms(headers: Mapping[bytes, bytes], dated: Mapping[str, str]) -> int:
    """Returns how long to wait after a 429 without Retry-After, in ms: until the last reset of the limits that are used
    up or do not name their remainder. 0 without such a header.
    """
    waits = []
    for name, value in headers.items():
        if b"reset" in name:
            left = headers.get(name.replace(b"reset", b"remaining"), b"0").strip()
            if left.startswith((b"0", b"-")):
                waits.append(reset_ms(value, dated))
    return min(max(waits, default=0), RETRY_AFTER_MOST_MS)


def reset_ms(value: bytes | None, dated: Mapping[str, str]) -> int:
    """Returns the time until a reset, in ms; 0 when it is unreadable or over."""
    text = (value or b"").decode("latin-1").strip()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        ms = sum(float(number) * _UNITS_MS[unit] for number, unit in parts)
    elif _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _SINCE_1970_MS:
            ms = number - 1000 * _sent_at_s(dated)
        else:
            ms = 1000 * (number - (_sent_at_s(dated) if number >= _SINCE_1970_S else 0))
    else:
        try:
            ms = 1000 * (datetime.datetime.fromisoformat(text).timestamp() - _sent_at_s(dated))
        except (ValueError, OverflowError):
            return 0
    return round(min(max(ms, 0), RETRY_AFTER_MOST_MS))


def _sent_at_s(dated: Mapping[str, str]) -> float:
    """Returns the provider's own time where its answer has a date, because this machine's clock may be an hour off."""
    try:
        return email.utils.parsedate_to_datetime(dated["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError, IndexError):
        return time.time()
