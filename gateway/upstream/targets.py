"""The common part of every request to one deployment, prepared once: URL, headers, timeouts."""

import msgspec

from gateway.configuration.settings import DeploymentSettings
from gateway.request.calls import Kind
from gateway.upstream.credentials import Credential, with_key
from gateway.upstream.http.request import Request, request
from gateway.upstream.providers.adapters import Adapter, adapter


class Target(msgspec.Struct, frozen=True):
    """The common part of every request to a deployment."""

    adapter: Adapter
    request: Request
    stream_request: Request  # the same for most providers
    connect_s: float  # for a new connection, TLS included
    key: str  # the provider's, to be masked in its error messages
    model: str  # its name at the provider
    credential: Credential | None = None  # a key that changes


_OURS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
}


def target(deployment: DeploymentSettings, kind: Kind, credential: Credential | None = None) -> Target | None:
    """Returns the target, None where the deployment lacks the endpoint. Its headers are the gateway's own: those that
    depend on the call are in `sent_headers`. ``credential``: the key is the present one of that.
    """
    if credential is not None:
        keyed = with_key(deployment.provider, credential.key)
        deployment = msgspec.structs.replace(deployment, provider=keyed)
    adapted = adapter(deployment, kind)
    if adapted is None or (deployment.endpoints and adapted.wire.label not in deployment.endpoints):
        return None
    headers = {**_OURS, **adapted.headers}
    provider = deployment.provider
    # The request's own clocks limit the answer's duration, because they know how much of it has arrived.
    connect_s = deployment.connect_timeout_ms / 1000
    prepared = request("POST", adapted.url, headers.items())
    streamed = request("POST", adapted.stream_url, headers.items()) if adapted.stream_url else prepared
    return Target(adapted, prepared, streamed, connect_s, str(provider.api_key), provider.model, credential)
