"""What happened to TLS in this process, for its metrics."""

from collections import Counter

import msgspec


class TlsCounts(msgspec.Struct):
    """``failed``: handshakes that failed, by reason; ``reloads``: of changed files, by result; ``expires_at_s``: of the
    certificate in use, since 1970; 0 without TLS.
    """

    failed: Counter[str] = msgspec.field(default_factory=Counter)
    reloads: Counter[str] = msgspec.field(default_factory=Counter)
    expires_at_s: float = 0.0


counts = TlsCounts()
