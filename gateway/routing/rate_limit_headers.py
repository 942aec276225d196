"""What a tenant is told of its limits: OpenAI's `x-ratelimit-*` headers, and the error when one is reached."""

from gateway.errors import RateLimited
from shared_state.policies import TenantLimits
from shared_state.records import MinuteUsed, Rejection

MINUTE_MS = 60_000
Header = tuple[bytes, bytes]


def rate_headers(limits: TenantLimits, used: MinuteUsed) -> list[Header]:
    """Limit, what remains of it, and when it will be whole again; nothing for what is unlimited."""
    headers: list[Header] = []
    for name, limit, used_ms in ((b"requests", limits.rpm, used.requests_ms), (b"tokens", limits.tpm, used.tokens_ms)):
        if limit is None:
            continue
        # The store tells whole ms, rounded up.
        remaining = limit * max(0, MINUTE_MS - max(0, used_ms - 1)) // MINUTE_MS if used_ms else limit
        headers += [
            (b"x-ratelimit-limit-" + name, b"%d" % limit),
            (b"x-ratelimit-remaining-" + name, b"%d" % remaining),
            (b"x-ratelimit-reset-" + name, _duration(used_ms)),
        ]
    return headers


def _duration(ms: int) -> bytes:
    """As OpenAI writes it: 120ms, 1.5s, 6m0s."""
    if ms < 1000:
        return b"%dms" % ms
    minutes, rest_ms = divmod(ms, MINUTE_MS)
    seconds = b"%gs" % (rest_ms / 1000)
    return b"%dm%b" % (minutes, seconds) if minutes else seconds


def tenant_limited(limits: TenantLimits, rejection: Rejection) -> RateLimited:
    """The tenant's own limit is reached, whatever the deployments could take."""
    reached = {
        "requests": f"{limits.rpm} requests per minute",
        "tokens": f"{limits.tpm} tokens per minute",
        "parallel": f"{limits.max_parallel} requests at a time",
    }[rejection.reason]
    error = RateLimited(f"The limit of this API key is reached: {reached}.", retry_after_ms=rejection.retry_after_ms)
    error.headers = rate_headers(limits, rejection.used)
    return error
