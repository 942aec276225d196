"""Attaches the TLS alert of a failed handshake to its error. The event loop would drop it with the connection, and a
client would not learn the reason, such as a certificate that is required.
"""

import ssl
from typing import Any

_ALERT = "alert"


def alert_of(error: ssl.SSLError) -> bytes:
    """Returns the alert that OpenSSL wanted to send to the client; empty if it had none."""
    alert: bytes = getattr(error, _ALERT, b"")
    return alert


class _Handshake(ssl.SSLObject):
    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            setattr(error, _ALERT, self.outgoing.read())
            raise


class HandshakeContext(ssl.SSLContext):
    """A context whose handshakes keep their alert for `alert_of`."""

    sslobject_class = _Handshake

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *arguments: Any, **options: Any) -> _Handshake:
        made = super().wrap_bio(incoming, outgoing, *arguments, **options)
        assert isinstance(made, _Handshake)
        made.outgoing = outgoing
        return made
