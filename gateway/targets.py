"""What every request to one deployment has in common, prepared once: URL, headers, time-outs."""

import msgspec
from aiohttp import ClientTimeout

from gateway.calls import Kind
from gateway.providers.adapters import Adapter, adapter
from gateway.settings import DeploymentSettings


class Target(msgspec.Struct, frozen=True):
    """What every request to a deployment has in common."""

    adapter: Adapter
    headers: dict[str, str]
    timeout: ClientTimeout


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
    headers = {**_OURS, **adapted.headers}
    connect_s = deployment.connect_timeout_ms / 1000
    timeout = ClientTimeout(connect=connect_s, sock_connect=connect_s, sock_read=deployment.timeout_ms / 1000)
    return Target(adapted, headers, timeout)
