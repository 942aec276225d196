"""Settings of the desired number of replicas: `router.autoscale`. Without it nothing is computed or shown."""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from gateway.configuration.value_types import Count, Duration, Threshold, duration_ms, yaml_key
from gateway.configuration.yaml_source import Problem
from shared_state.policies import AutoscalePolicy

Ahead = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=3_600_000,
        description="a duration from 0 to 1h, such as 90s or a number of seconds",
        extra={"read": duration_ms},
    ),
]


class AutoscaleSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """How many replicas the cluster should have. The formula is in `lua/include/autoscale/desired.lua`."""

    target_concurrency: Count = 500
    """The requests at once that a replica carries: one core is 60 % busy with 500 streams of 20 chunks a second."""
    utilization: Threshold = 0.7
    """The share of `target_concurrency` to use. The rest is for arrivals while a new replica starts."""
    min_replicas: Count = 2
    """The fewest replicas. With the default one may die."""
    max_replicas: Count = 20
    """The most replicas."""
    scale_down_delay_ms: Duration = 300_000
    """How long fewer replicas must have sufficed before the number falls. The default outlasts most lulls."""
    ahead_ms: Ahead = 60_000
    """How long before a surge of last week replicas are there for it: as long as one takes to start. 0: not at all."""


def autoscale_problems(path: str, settings: AutoscaleSettings | None) -> Iterator[Problem]:
    if settings is not None and settings.max_replicas < settings.min_replicas:
        yield Problem(f"{path}.max_replicas", f"less than {path}.min_replicas")


def autoscale_policy(settings: AutoscaleSettings | None) -> AutoscalePolicy | None:
    if settings is None:
        return None
    return AutoscalePolicy(
        target_concurrency=settings.target_concurrency,
        utilization=settings.utilization,
        min_replicas=settings.min_replicas,
        max_replicas=settings.max_replicas,
        scale_down_delay_ms=settings.scale_down_delay_ms,
        ahead_ms=settings.ahead_ms,
    )
