"""What every request to one deployment has in common, prepared once: URL, headers, time-outs."""

import msgspec
from aiohttp import ClientTimeout

from gateway.configuration.settings import DeploymentSettings
from gateway.request.calls import Kind
from gateway.upstream.providers.adapters import Adapter, adapter


class Target(msgspec.Struct, frozen=True):
    """What every request to a deployment has in common. ``key``: the provider's, to be masked in its words; ``model``:
    its name at the provider.
    """

    adapter: Adapter
    headers: dict[str, str]
    timeout: ClientTimeout
    key: str
    model: str


_OURS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "user-agent": "pllm-gateway",
}


def target(deployment: DeploymentSettings, kind: Kind) -> Target | None:
    """None where the deployment does not have the endpoint. The headers are ours: of what the client sent only the
    edition of its body may reach a provider.
    """
    adapted = adapter(deployment, kind)
    if adapted is None or (deployment.endpoints and adapted.wire.label not in deployment.endpoints):
        return None
    headers = {**_OURS, **adapted.headers}
    connect_s = deployment.connect_timeout_ms / 1000
    # How long an answer may take is for the request's own clocks, which know what has come so far.
    timeout = ClientTimeout(connect=connect_s, sock_connect=connect_s)
    provider = deployment.provider
    return Target(adapted, headers, timeout, str(provider.api_key), provider.model)
