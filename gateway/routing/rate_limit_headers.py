"""A tenant's rate limits as clients see them: OpenAI's `x-ratelimit-*` headers, and the error at a limit."""

from gateway.errors import RateLimited
from shared_state.policies import TenantLimits
from shared_state.records import MinuteUsed, Rejection

MINUTE_MS = 60_000
Header = tuple[bytes, bytes]


def rate_headers(limits: TenantLimits, used: MinuteUsed) -> list[Header]:
    """Returns for each limit its value, the rest of it, and when it is whole again; nothing where there is no limit."""
    headers: list[Header] = []
    if limits.rpm is None and limits.tpm is None:
        return headers
    for name, limit, used_ms in ((b"requests", limits.rpm, used.requests_ms), (b"tokens", limits.tpm, used.tokens_ms)):
        if limit is None:
            continue
        # The store returns whole milliseconds, rounded up.
        remaining = limit * max(0, MINUTE_MS - max(0, used_ms - 1)) // MINUTE_MS if used_ms else limit
        headers += [
            (b"x-ratelimit-limit-" + name, b"%d" % limit),
            (b"x-ratelimit-remaining-" + name, b"%d" % remaining),
            (b"x-ratelimit-reset-" + name, _duration(used_ms)),
        ]
    return headers


def _duration(ms: int) -> bytes:
    """Returns a duration in OpenAI's format: 120ms, 1.5s, 6m0s."""
    if ms < 1000:
        return b"%dms" % ms
    minutes, rest_ms = divmod(ms, MINUTE_MS)
    seconds = b"%gs" % (rest_ms / 1000)
    return b"%dm%b" % (minutes, seconds) if minutes else seconds


def tenant_limited(limits: TenantLimits, rejection: Rejection) -> RateLimited:
    """Returns the error for a tenant that has reached its own limit, whether deployments have room or not."""
    reached = {
        "requests": f"{limits.rpm} requests per minute",
        "tokens": f"{limits.tpm} tokens per minute",
        "parallel": f"{limits.max_parallel} requests at a time",
    }[rejection.reason]
    error = RateLimited(f"The limit of this API key is reached: {reached}.", retry_after_ms=rejection.retry_after_ms)
    error.headers = rate_headers(limits, rejection.used)
    return error
