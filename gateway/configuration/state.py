"""Settings of the shared state: which store, and when a replica leaves it."""

from typing import Literal

import msgspec

from gateway.configuration.value_types import Duration, Identifier, OptionalSecret, Secret, yaml_key

Standby = Literal["embedded", "none"]


class StateSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The store that all replicas share, and when a replica leaves it."""

    url: OptionalSecret = Secret("")
    """The address of the shared Redis or Valkey. Empty starts an embedded Valkey for the replicas of one command."""
    domain: Identifier = "default"
    """The name of the routing domain, a part of every key. Replicas with the same domain share one state."""
    standby: Standby = "embedded"
    """The store that replaces a lost shared one. `none` answers 503 instead, so that budgets stay exact."""
    deadline_ms: Duration = 250
    """The time limit of one decision. The default suits a store 40 ms away and is short next to a model's answer."""
    lost_after_ms: Duration | None = None
    """The silence after which the store counts as lost. By default 1 s, or `deadline` if that is longer.
    Since unreleased."""
