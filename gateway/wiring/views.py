"""Builds the objects that show the state of the replica and of the cluster: metrics and the live view."""

import contextlib
from collections import Counter
from functools import partial

import msgspec

from gateway.configuration.settings import Settings
from gateway.telemetry.cluster_metrics import ClusterMetrics
from gateway.telemetry.metrics import Metrics, Sources
from gateway.views.cluster_summary import cluster_summary
from gateway.views.live import LiveFeed, models_shown
from gateway.wiring.routing import Routing
from gateway.wiring.state import State, ThisReplica
from gateway.wiring.telemetry import Telemetry
from shared_state.in_force import InForce


class Views(msgspec.Struct, frozen=True):
    """The metrics, and the feed of the live view."""

    metrics: Metrics
    feed: LiveFeed

    def apply_settings(self, settings: Settings) -> None:
        """Shows another configuration from now on."""
        self.feed.show_models(models_shown(settings))
        self.metrics.apply_settings(settings)


class Reloads(msgspec.Struct, frozen=True):
    """The configuration in force, and how reloads ended at this replica, by result."""

    in_force: InForce
    counts: Counter[str]


def open_views(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    replica: ThisReplica,
    state: State,
    telemetry: Telemetry,
    routing: Routing,
    reloads: Reloads,
) -> Views:
    """Opens the views until ``stack`` closes."""
    failover, admission, scaling = state.failover, routing.admission, routing.scaling
    ledger, region = failover.shared.memory.ledger, settings.server.region
    summary = partial(cluster_summary, region, ledger, scaling, admission.waiting)
    in_flight = replica.in_flight
    feed = LiveFeed(failover, models_shown(settings), replica.name, summary, lambda: in_flight.is_draining)
    stack.push_async_callback(feed.stop)
    cluster = ClusterMetrics(settings.model_list, ledger, lambda: scaling.latest, region)
    sources = Sources(
        failover=failover,
        retries=telemetry.client_retries,
        counters=telemetry.counters,
        queues=admission.queues,
        attempts=admission.attempts,
        costs=admission.costs,
        labels=telemetry.labels,
        lag=routing.loop_lag,
        in_force=reloads.in_force,
        reloads=reloads.counts,
    )
    return Views(Metrics(sources, cluster, settings), feed)
