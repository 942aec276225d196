"""Settings of the forecast: whether arrivals and latencies are foreseen, how far, and what may come of it."""

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
    lookahead_ms: Lookahead = 300_000  # queues grow in minutes; what comes in an hour is not worth a shift now
    early_cut: EarlyCut = 0.1  # low priorities go from 60 instead of 70 % of `max_active_requests`
