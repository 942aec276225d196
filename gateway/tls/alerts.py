"""The alert of a handshake that fails. The event loop drops it with the connection, and a client would see nothing but
an end where TLS has a reason, such as a certificate that is required. Here it travels with the error.
"""

import ssl
from typing import Any

_ALERT = "alert"


def alert_of(error: ssl.SSLError) -> bytes:
    """What OpenSSL wanted to send the client; nothing when it has no words for it."""
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
    sslobject_class = _Handshake

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *arguments: Any, **options: Any) -> _Handshake:
        made = super().wrap_bio(incoming, outgoing, *arguments, **options)
        assert isinstance(made, _Handshake)
        made.outgoing = outgoing
        return made
