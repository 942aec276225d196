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
    enabled: bool = False
    lookahead_ms: Lookahead = 300_000  # queues grow in minutes; traffic an hour away is no reason to shift now
    early_cut: EarlyCut = 0.1  # low priorities are shed from 60 instead of 70 % of `max_active_requests`
