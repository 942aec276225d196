"""What every request to one deployment has in common, prepared once: URL, headers, time-outs."""

from collections.abc import ItemsView

import httpx
import msgspec

from gateway.calls import Kind
from gateway.providers.adapters import Adapter, adapter
from gateway.settings import DeploymentSettings

Pairs = tuple[tuple[str, str], ...]


class FixedHeaders(httpx.Headers):
    """Headers that are the same for every request to a deployment: decoded once, not in every call."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers)
        self._decoded = headers

    def items(self) -> ItemsView[str, str]:
        return self._decoded.items()


class FixedURL(httpx.URL):
    """A URL that is rendered once."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._rendered = url

    def __str__(self) -> str:
        return self._rendered


class Target(msgspec.Struct, frozen=True):
    """What every request to a deployment has in common."""

    adapter: Adapter
    url: FixedURL
    headers: FixedHeaders
    extensions: dict[str, dict[str, float]]


class PreparedRequest(httpx.Request):
    """A POST of bytes to a target. httpx builds its requests for the general case, at four times the cost: this one
    has just what the transport reads. ``more``: headers of this one call.
    """

    def __init__(self, target: Target, body: bytes, more: Pairs = ()) -> None:
        self.method = "POST"
        self.url = target.url
        self.headers = FixedHeaders({**dict(target.headers.items()), **dict(more)}) if more else target.headers
        self.extensions = target.extensions
        self._body = body

    @property
    def content(self) -> bytes:
        return self._body


_OURS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "user-agent": "pllm-gateway",
}


def target(deployment: DeploymentSettings, kind: Kind) -> Target | None:
    """Its headers are ours: of what the client sent only the edition of its body may reach a provider."""
    adapted = adapter(deployment, kind)
    if adapted is None:
        return None
    url = FixedURL(adapted.url)
    headers = {"host": url.netloc.decode(), **_OURS, **adapted.headers}
    timeouts = {
        "connect": deployment.connect_timeout_ms / 1000,
        "read": deployment.timeout_ms / 1000,
        "pool": deployment.connect_timeout_ms / 1000,
    }
    return Target(adapted, url, FixedHeaders(headers), {"timeout": timeouts})
