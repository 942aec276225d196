"""Builds the objects that outlive a configuration, in the order in which they use each other: a reload changes their
settings and keeps connections, queues and counters.
"""

import contextlib

import msgspec

from gateway.configuration.settings import Settings
from gateway.routing.catalog import Catalog
from gateway.wiring.routing import Routing, open_routing
from gateway.wiring.state import State, ThisReplica
from gateway.wiring.telemetry import Telemetry
from gateway.wiring.tenancy import Tenancy, open_tenancy
from gateway.wiring.views import Reloads, Views, open_views


class Collaborators(msgspec.Struct, frozen=True):
    """The objects of one replica; each group uses those above it."""

    replica: ThisReplica
    state: State
    telemetry: Telemetry
    tenancy: Tenancy
    routing: Routing
    views: Views

    def apply_settings(self, settings: Settings, catalog: Catalog) -> None:
        """Applies another configuration atomically: without an await, so no request sees half of it."""
        self.tenancy.apply_settings(settings)
        self.routing.apply_settings(settings, catalog)
        self.views.apply_settings(settings)


async def open_collaborators(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    replica: ThisReplica,
    state: State,
    telemetry: Telemetry,
    reloads: Reloads,
) -> Collaborators:
    """Opens the groups that are not open yet, until ``stack`` closes."""
    tenancy = await open_tenancy(settings, state.failover, telemetry.labels)
    routing = open_routing(stack, settings, state.failover, tenancy, telemetry.redact)
    views = open_views(stack, settings, replica, state, telemetry, routing, reloads)
    return Collaborators(replica, state, telemetry, tenancy, routing, views)
