"""Counters of TLS in this process, for its metrics."""

from collections import Counter

import msgspec


class TlsCounts(msgspec.Struct):
    """Counters since the start of the process, and the expiry of the certificate in use."""

    failed: Counter[str] = msgspec.field(default_factory=Counter)  # failed handshakes by reason
    reloads: Counter[str] = msgspec.field(default_factory=Counter)  # reloads of changed files by result
    expires_at_s: float = 0.0  # since 1970; 0 without TLS


counts = TlsCounts()
