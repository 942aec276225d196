"""Health checks of a deployment whose breaker is open. Off unless configured."""

from typing import Annotated

import msgspec

from gateway.configuration.value_types import Duration, duration_ms, yaml_key

# Replicas learn from their heartbeats, once a second, which breakers are open, so 1 s is the least.
Interval = Annotated[
    int,
    msgspec.Meta(
        ge=1_000,
        le=86_400_000,
        description="a duration from 1s to 24h, such as 30s or a number of seconds",
        extra={"read": duration_ms},
    ),
]
Path = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A/[!\"$->@-~]*\Z",
        description="a path that begins with a slash, such as /models, without blanks, query or fragment",
    ),
]


class HealthCheckSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Requests to a provider while the deployment's breaker is open. A 2xx ends the cooldown early."""

    interval_ms: Interval = 30_000
    """The time between two checks of the whole cluster: one replica sends each."""
    path: Path = "/models"
    """The path that is appended to `base_url`. The default costs nothing at any known provider."""
    timeout_ms: Duration = 5_000
    """The time limit of one check; at most `interval`."""
