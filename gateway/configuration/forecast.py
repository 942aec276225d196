"""Settings of the forecast of arrivals and latencies: whether it is on, how far it looks ahead, and its effect."""

from typing import Annotated

import msgspec

from gateway.configuration.value_types import duration_ms, yaml_key

Lookahead = Annotated[
    int,
    msgspec.Meta(
        ge=60_000,
        le=3_600_000,
        description="a duration from 1m to 1h, such as 5m or a number of seconds",
        extra={"read": duration_ms},
    ),
]
EarlyCut = Annotated[float, msgspec.Meta(ge=0, le=0.3, description="a number from 0 to 0.3")]


class ForecastSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """A forecast of arrivals and latency by the hour of the week."""

    enabled: bool = False
    """Whether the forecast is computed and used. Not allowed together with `router.capacity_leases`."""
    lookahead_ms: Lookahead = 300_000
    """How far ahead it predicts. Queues grow within minutes, so the load in an hour does not matter yet."""
    early_cut: EarlyCut = 0.1
    """How much earlier low priorities are shed, as a share of `max_active_requests`: from 60 % instead of 70 %."""
