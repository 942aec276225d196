"""Raises the limit of open files: each call in progress takes one."""

import contextlib
import resource


def allow_many() -> None:
    """Raises the soft limit to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses a soft limit of "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
