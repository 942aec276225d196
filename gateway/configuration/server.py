"""Settings of one replica's server: where it listens, and how much it holds."""

from typing import Literal

import msgspec

from gateway.configuration.cors import CorsSettings
from gateway.configuration.tls import TlsSettings
from gateway.configuration.value_types import Count, Duration, Network, Port, Region, Size, Text, yaml_key

Engine = Literal["hypercorn", "uvicorn"]
DEFAULT_BODY = 32 * 1_048_576


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Where a replica listens, and how much it holds."""

    host: Text = "127.0.0.1"
    """The address to listen on. The default keeps a gateway without keys away from the network."""
    port: Port = 8080
    """The TCP port to listen on."""
    engine: Engine = "hypercorn"
    """Without effect: there is one server. `uvicorn` of earlier releases is still accepted."""
    max_connections: Count | None = None
    """The most client connections of a replica. By default half of its open file limit, at most 10,000.
    Since unreleased."""
    max_connections_per_address: Count | None = None
    """The most connections from one address. Unlimited by default, because a load balancer is one address.
    Since unreleased."""
    max_body_bytes: Size = DEFAULT_BODY
    """The largest request body, decoded. The default is the limit of Anthropic's API; a replica keeps the whole body in
    memory."""
    max_body_memory_bytes: Size | None = None
    """The memory for all request bodies of a replica. By default a quarter of what the container or machine has,
    and at least `max_body`. Since unreleased."""
    max_messages: Count = 10_000
    """The most messages, input items or prompts of one request. No model's context holds as many.
    Since unreleased."""
    ping_interval_ms: Duration | None = None
    """How often a waiting stream gets a comment. Off by default, because the first one commits the status."""
    drain_delay_ms: Duration | None = None
    """How long a replica that ends still takes requests while `/readyz` answers 503, so that balancers notice.
    None by default."""
    drain_timeout_ms: Duration = 60_000
    """How long answers in flight may take when a replica ends. Process supervisors must wait for longer than this."""
    region: Region | None = None
    """The region of this replica. By default the environment variable `PLLM_REGION`."""
    access_log: bool = True
    """Whether each request writes one log line."""
    access_log_file: Text | None = None
    """A file for these lines, one JSON object each, for those who load them elsewhere. By default they go to stderr.
    Since unreleased."""
    trusted_proxies: tuple[Network, ...] = ()
    """The proxies whose `X-Forwarded-For` names the client's address. Since unreleased."""
    metrics_port: Port | None = None
    """A port of its own for `/metrics`, on the same host. By default `/metrics` is on the gateway's port."""
    cors: CorsSettings | None = None
    """Web pages that may call the gateway. Off by default. Since unreleased."""
    tls: TlsSettings | None = None
    """TLS and HTTP/2 on the gateway's port; the port for metrics stays plain. Off by default. Since unreleased."""
