"""What is made anew from each configuration: the endpoints, and what decides before them. The part of the composition
root that runs again at a reload; what lasts is handed in and told.
"""

import asyncio

import msgspec
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.configuration.auth import signing_secrets
from gateway.configuration.money import budget_of
from gateway.configuration.settings import Settings
from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.admin.autoscale import ScalingView
from gateway.endpoints.admin.breakers import Admin
from gateway.endpoints.admin.explain import Explainer
from gateway.endpoints.admin.overview import Overview
from gateway.endpoints.admin.page import LivePage
from gateway.endpoints.admin.reload import Reload
from gateway.endpoints.admin.tenants import Tenants
from gateway.endpoints.early_refusal import EarlyRefusal
from gateway.endpoints.inference import Inference
from gateway.endpoints.models import Models
from gateway.endpoints.ops import Probes
from gateway.endpoints.reception import Reception
from gateway.endpoints.visitors import Visitors
from gateway.http.http_text import Refuse
from gateway.request.auth import Authenticator
from gateway.request.body_memory import BodyMemory, most_of
from gateway.request.calls import Kind
from gateway.request.in_flight import Flight
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.dispatch import Dispatcher
from gateway.routing.health_checks import HealthChecks
from gateway.routing.prices import Prices
from gateway.routing.round_trips import RoundTrips
from gateway.routing.tracing import Tracer
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_counters import ClientRetries, RequestCounters
from gateway.telemetry.request_log import RequestLog
from gateway.upstream.client import UpstreamClient
from gateway.views.live import LiveFeed, models_shown
from shared_state.failover import Failover
from shared_state.scaling import Scaling
from shared_state.seal import Seal
from shared_state.tenants import TenantBook


class Lasting(msgspec.Struct):
    """What outlives a configuration: connections, queues, what was counted, who is known. ``created``: since 1970."""

    failover: Failover
    admission: Admission
    authenticator: Authenticator
    body_memory: BodyMemory
    dispatcher: Dispatcher
    upstream: UpstreamClient
    prices: Prices
    scaling: Scaling
    round_trips: RoundTrips
    health_checks: HealthChecks
    book: TenantBook
    access: AdminAccess
    visitors: Visitors
    feed: LiveFeed
    metrics: Metrics
    probes: Probes
    reload: Reload
    flight: Flight
    retries: ClientRetries
    measures: RequestCounters
    tracer: Tracer
    log: RequestLog
    replica: str
    created: int


class Serving(msgspec.Struct, frozen=True):
    """``hot``: endpoints by path; ``refuse``: answers from bytes, before a request reaches one."""

    settings: Settings
    hot: dict[str, ASGIApp]
    routes: list[Route]
    refuse: Refuse


def adopt(settings: Settings, lasting: Lasting) -> Serving:
    """Another configuration, at one stroke: no request comes between. What is under way ends as it began."""
    catalog, upstream = Catalog(settings), lasting.upstream.with_deployments(settings.model_list)
    lasting.authenticator.adopt(settings.auth)
    lasting.book.adopt(seal_of(settings))
    lasting.visitors.adopt(settings.server.trusted_proxies)
    lasting.body_memory.most = most_of(settings.server)
    lasting.prices.adopt(settings.model_list, settings.router.cost_estimate, budget_of(settings.router.budget))
    lasting.round_trips.adopt(settings.model_list)
    lasting.health_checks.adopt(settings.model_list)
    lasting.failover.watch(lasting.prices.budget, lasting.authenticator.limits())
    lasting.admission.adopt(settings.router, {entry.model_name for entry in settings.model_list})
    lasting.dispatcher.adopt(upstream, catalog, settings.router)
    lasting.feed.adopt(models_shown(settings))
    lasting.metrics.adopt(settings)
    return serving(settings, catalog, lasting)


def seal_of(settings: Settings) -> Seal:
    """Without keys every caller is served, so there is nothing to protect by a signature."""
    return Seal(settings.state.domain, signing_secrets(settings.auth), is_required=bool(settings.auth.keys))


def serving(settings: Settings, catalog: Catalog, lasting: Lasting) -> Serving:
    dispatcher, authenticator, access = lasting.dispatcher, lasting.authenticator, lasting.access
    measures, retries, tracer, log = lasting.measures, lasting.retries, lasting.tracer, lasting.log
    reception = Reception(
        dispatcher,
        authenticator,
        settings.router.request_timeout_ms,
        lasting.body_memory,
        lasting.visitors,
        settings.server.max_messages,
    )
    hot: dict[str, ASGIApp] = {
        f"/v1{kind.value}": Inference(
            kind, dispatcher, reception, settings, lasting.replica, lasting.flight, retries, measures, tracer, log
        )
        for kind in Kind
    }
    models = Models(catalog, reception, lasting.created)
    admin = Admin(lasting.failover, catalog, lasting.admission, access)
    tenants = Tenants(access, lasting.book, authenticator, catalog)
    overview = Overview(access, lasting.failover, lasting.feed, settings)
    now = asyncio.get_running_loop().time
    shed = lasting.admission.shed
    refuse = EarlyRefusal(dispatcher, reception, shed, settings, lasting.replica, measures, retries, tracer, log, now)
    routes = _routes(hot, models, admin, tenants, overview, lasting.probes)
    explainer = Explainer(access, lasting.failover, dispatcher, authenticator, lasting.prices)
    routes.append(Route("/admin", LivePage(access).show, methods=["GET"]))
    routes.append(Route("/v1/admin/explain", explainer.show, methods=["GET"]))
    routes.append(Route("/v1/admin/autoscale", ScalingView(access, lasting.scaling).show, methods=["GET"]))
    routes.append(Route("/v1/admin/reload", lasting.reload.post, methods=["POST"]))
    routes.append(Route("/v1/admin/reload", lasting.reload.get, methods=["GET"]))
    return Serving(settings, hot, routes, refuse)


def _routes(
    hot: dict[str, ASGIApp], models: Models, admin: Admin, tenants: Tenants, overview: Overview, probes: Probes
) -> list[Route]:
    """Hot endpoints stand here too, for the methods they do not take."""
    return [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in hot.items()),
        Route("/v1/models", models.index, methods=["GET"]),
        Route("/v1/models/{model:path}", models.show, methods=["GET"]),
        Route("/v1/admin/models/stats", admin.stats, methods=["GET"]),
        Route("/v1/admin/deployments/{deployment:path}/{action}", admin.force, methods=["POST"]),
        Route("/v1/admin/deployments/{deployment:path}", overview.deployment, methods=["GET"]),
        Route("/v1/admin/events", overview.events, methods=["GET"]),
        Route("/v1/admin/replicas", overview.replicas, methods=["GET"]),
        Route("/v1/admin/configuration", overview.configuration, methods=["GET"]),
        Route("/v1/admin/live", overview.live, methods=["GET"]),
        Route("/v1/admin/tenants", tenants.index, methods=["GET"]),
        Route("/v1/admin/tenants/{name:path}", tenants.put, methods=["PUT"]),
        Route("/v1/admin/tenants/{name:path}", tenants.remove, methods=["DELETE"]),
        Route("/livez", probes.livez, methods=["GET"]),
        Route("/readyz", probes.readyz, methods=["GET"]),
    ]
