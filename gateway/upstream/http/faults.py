"""The faults of an exchange with a provider over HTTP.

HttpFault
├── NotConnected         no connection, so the request was not sent; its cause is the system's or OpenSSL's error
│   ├── ConnectTimeout   within the time allowed, the TLS handshake included
│   └── ProxyRefused     by the proxy on the way to the provider
├── Disconnected         closed before the head of the answer was complete
├── NotHttp              the head of the answer is malformed
│   └── HeadTooLarge
└── BodyBroken           the body ended early, or its framing is malformed
    ├── BodyNotDecodable  the body is not what its content coding names
    └── EndlessAnswer    interim answers, chunk framing or trailers without end
"""

from collections.abc import Sequence


class HttpFault(Exception):
    """An exchange with a provider failed."""


class NotConnected(HttpFault):
    """No connection was made."""


class AddressesFailed(OSError):
    """The addresses of one server failed differently. ``faults``: one for each."""

    def __init__(self, faults: Sequence[OSError]) -> None:
        super().__init__("Multiple exceptions: " + ", ".join(map(str, faults)))
        self.faults = tuple(faults)


class ConnectTimeout(NotConnected, TimeoutError):
    """No connection was made in time."""


class ProxyRefused(NotConnected):
    """The proxy refused to connect to the provider. ``status``: of its answer, 0 if that is not HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered {status}")
        self.status = status


class Disconnected(HttpFault):
    """The connection was closed before the head of an answer was complete."""


class NotHttp(HttpFault):
    """The head of the answer is malformed."""


class HeadTooLarge(NotHttp):
    """The head of the answer has too many bytes or headers."""


class BodyBroken(HttpFault):
    """The body ended early, or its framing is malformed."""


class BodyNotDecodable(BodyBroken):
    """The body is not what its content coding names, or ends too early for it."""


class EndlessAnswer(BodyBroken):
    """A provider sends more interim answers, chunk framing or trailers than this replica takes."""
