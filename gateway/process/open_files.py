"""The limit of open files, sockets included, of this process."""

import resource

RESERVED = 100  # for the store, listeners, logs and files that a library opens for a moment
CONNECTIONS_MOST = 10_000


def raise_limit() -> int:
    """Raises the soft limit of open files to the hard one. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):  # a system may allow less than it reports
            pass
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def connections_most(limit: int) -> int:
    """Returns how many clients may be connected under a ``limit`` of open files: each needs a second one for its call
    to a provider.
    """
    return max(1, min(CONNECTIONS_MOST, (limit - RESERVED) // 2))
