"""How many files a process may have open: one for each call on the wire."""

import contextlib
import resource


def allow_many() -> None:
    """Up to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses a soft limit of "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
