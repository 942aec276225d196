"""The wishes of one request for its own routing, from its headers. They only narrow what the configuration allows."""

import re

import msgspec

from gateway.configuration.rules import MAX_CANDIDATES
from gateway.errors import InvalidRequest

FALLBACKS, MAX_ATTEMPTS = "x-pllm-fallbacks", "x-pllm-max-attempts"
DEPLOYMENT, TAGS = "x-pllm-deployment", "x-pllm-tags"  # read where the candidates are known
PRIORITY = b"x-pllm-priority"
NONE = "none"
_NAMES = frozenset({PRIORITY, *(name.encode() for name in (FALLBACKS, MAX_ATTEMPTS, DEPLOYMENT, TAGS))})
_COUNT = re.compile(r"[1-9][0-9]{0,8}")

Headers = list[tuple[bytes, bytes]]


class Wishes(msgspec.Struct, frozen=True):
    """Limits that a request sets for itself."""

    fallbacks: tuple[str, ...] | None = None  # the models that may take over, in order; None: as configured
    max_attempts: int = 0  # 0: as configured


NO_WISHES = Wishes()


def routing_headers(headers: Headers) -> Headers:
    """Returns the headers that concern routing: most requests have none, and one pass finds that out."""
    return [header for header in headers if header[0] in _NAMES]


def wishes_of(headers: Headers) -> Wishes:
    """Returns the wishes in these headers. A repeated header is one list. Raises InvalidRequest, which names the
    header.
    """
    fallbacks, max_attempts = value_of(headers, FALLBACKS), value_of(headers, MAX_ATTEMPTS)
    return Wishes(
        None if fallbacks is None else _fallbacks(fallbacks), 0 if max_attempts is None else _count(max_attempts)
    )


def value_of(headers: Headers, name: str) -> str | None:
    """Returns the value of a header; a repeated one is one list."""
    wanted = name.encode()
    values = [value for key, value in headers if key == wanted]
    return b",".join(values).decode("utf-8", "replace") if values else None


def _fallbacks(text: str) -> tuple[str, ...]:
    if text.strip() == NONE:
        return ()
    names = [part.strip() for part in text.split(",", MAX_CANDIDATES)]
    if "" in names:
        raise InvalidRequest(f"{FALLBACKS} must be `none` or models separated by commas.", param=FALLBACKS)
    if len(names) >= MAX_CANDIDATES:
        raise InvalidRequest(f"{FALLBACKS} names more than {MAX_CANDIDATES - 1} models.", param=FALLBACKS)
    return tuple(dict.fromkeys(names))


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text.strip()):
        raise InvalidRequest(f"{MAX_ATTEMPTS} must be a whole number from 1 to 999999999.", param=MAX_ATTEMPTS)
    return int(text)
