"""Settings of the metrics."""

from typing import Annotated

import msgspec

from gateway.configuration.value_types import yaml_key

_MOST = 10_000
MaxTenants = Annotated[int, msgspec.Meta(ge=0, le=_MOST, description=f"a whole number from 0 to {_MOST}")]


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """What metrics name."""

    max_tenants: MaxTenants = 200
    """The most tenants with a label of their own in the metrics of requests, tokens and cost. The others share `other`:
    each label multiplies the series. Since unreleased."""
