"""Capacity leases: permits in blocks, for a domain whose load exceeds one core of the store. Off by default."""

from typing import Annotated

import msgspec

from gateway.configuration.value_types import duration_ms, yaml_key

# A larger block would keep the store busy for more than ten milliseconds where a chain is long.
Block = Annotated[int, msgspec.Meta(ge=0, le=100, description="a whole number from 0 (off) to 100")]
Hold = Annotated[
    int,
    msgspec.Meta(
        ge=50,
        le=5_000,
        description="a duration from 50ms to 5s, such as 250ms or a number of seconds",
        extra={"read": duration_ms},
    ),
]


class CapacityLeaseSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Permits in blocks, for a domain that needs more than one core of the store."""

    block: Block = 0
    """The most unused permits of one deployment on one replica. 0 switches blocks off."""
    for_ms: Hold = 1_000
    """How long a permit may wait unused. Replicas obey an opened breaker or load shedding within this time."""
