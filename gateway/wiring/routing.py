"""Builds the objects that route requests: connections to providers, admission, dispatch, and the tasks that measure
deployments.
"""

import contextlib

import msgspec

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import Settings
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.dispatch import Dispatcher
from gateway.routing.health_checks import HealthChecks
from gateway.routing.round_trips import RoundTrips
from gateway.telemetry.loop_lag import LoopLag
from gateway.upstream.client import UpstreamClient
from gateway.upstream.credentials import Credentials
from gateway.wiring.tenancy import Tenancy
from shared_state.failover import Failover
from shared_state.scaling import Scaling


class Routing(msgspec.Struct, frozen=True):
    """The decisions about requests, and the background tasks that report to the store."""

    loop_lag: LoopLag
    upstream: UpstreamClient
    admission: Admission
    dispatcher: Dispatcher
    round_trips: RoundTrips
    scaling: Scaling
    health_checks: HealthChecks

    def apply_settings(self, settings: Settings, catalog: Catalog) -> None:
        """Routes by another configuration from now on; requests in flight end as they began."""
        deployments = settings.model_list
        self.round_trips.replace_deployments(deployments)
        self.health_checks.replace_deployments(deployments)
        self.admission.apply_settings(settings.router, {entry.model_name for entry in deployments})
        upstream = self.upstream.with_deployments(deployments)
        self.dispatcher.apply_settings(upstream, catalog, settings.router)


def open_routing(
    stack: contextlib.AsyncExitStack, settings: Settings, failover: Failover, tenancy: Tenancy, redact: Redaction
) -> Routing:
    """Opens connections and starts the background tasks, until ``stack`` closes."""
    credentials = Credentials(settings.model_list, redact.renew)
    upstream, lag = UpstreamClient(settings.model_list, credentials=credentials), LoopLag()
    stack.push_async_callback(upstream.close)
    stack.callback(lag.stop)
    is_welcome = tenancy.authenticator.is_welcome
    admission = Admission(failover, settings.router, is_welcome, tenancy.prices, lag.is_saturated, tenancy.labels)
    round_trips = RoundTrips(settings.model_list, failover.report_round_trips)
    stack.push_async_callback(round_trips.stop)
    if settings.server.region:
        round_trips.start()
    scaling = Scaling(failover, lambda: sum(admission.waiting().values()))
    stack.push_async_callback(scaling.stop)
    scaling.start()
    health_checks = HealthChecks(settings.model_list, failover, credentials.keyed)
    stack.push_async_callback(health_checks.stop)
    health_checks.start()
    return Routing(
        loop_lag=lag,
        upstream=upstream,
        admission=admission,
        dispatcher=Dispatcher(failover, admission, upstream, Catalog(settings), settings.router),
        round_trips=round_trips,
        scaling=scaling,
        health_checks=health_checks,
    )
