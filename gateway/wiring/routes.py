"""The endpoints: those that are built anew from each configuration, and those that stay."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from gateway.configuration.settings import Settings
from gateway.configuration.store_policies import has_affinity
from gateway.endpoints.admin.autoscale import ScalingView
from gateway.endpoints.admin.breakers import Admin
from gateway.endpoints.admin.explain import Explainer
from gateway.endpoints.admin.overview import Overview
from gateway.endpoints.admin.page import LivePage
from gateway.endpoints.admin.reload import Reload
from gateway.endpoints.admin.tenants import Tenants
from gateway.endpoints.admin.usage import UsageView
from gateway.endpoints.cors import Cors
from gateway.endpoints.early_refusal import EarlyRefusal
from gateway.endpoints.inference import Inference
from gateway.endpoints.models import Models
from gateway.endpoints.openapi.document import document
from gateway.endpoints.ops import Probes
from gateway.endpoints.reception import Reception
from gateway.endpoints.services import Services
from gateway.endpoints.stored_responses import METHODS, PREFIX, StoredResponses, refuse
from gateway.endpoints.token_count import COUNTED, TokenCount
from gateway.http.http_text import Refuse
from gateway.request.calls import Kind
from gateway.request.sessions import Sessions
from gateway.routing.catalog import Catalog
from gateway.wiring.collaborators import Collaborators


class Endpoints:
    """The endpoints of the configuration in force. ``written_s`` returns when its file was written, since 1970."""

    settings: Settings
    cors: Cors | None
    hot: dict[str, ASGIApp]  # the inference endpoints by path
    stored: ASGIApp  # the endpoints below a response's id
    refuse: Refuse  # sheds a request from its bytes
    router: Router  # all endpoints; hot ones stand here too, for the methods that they refuse

    def __init__(self, settings: Settings, collaborators: Collaborators, written_s: Callable[[], int]) -> None:
        self._collaborators = collaborators
        self._written_s = written_s
        self._build(settings, Catalog(settings))

    def apply_settings(self, settings: Settings) -> None:
        """Serves by another configuration from now on. Requests in flight end as they began."""
        catalog = Catalog(settings)
        self._collaborators.apply_settings(settings, catalog)
        self._build(settings, catalog)

    def _build(self, settings: Settings, catalog: Catalog) -> None:
        collaborators = self._collaborators
        services = _services(settings, collaborators)
        hot: dict[str, ASGIApp] = {f"/v1{kind.value}": Inference(kind, services) for kind in Kind}
        hot |= {path: TokenCount(kind, services) for path, kind in COUNTED.items()}
        shedding, now = collaborators.routing.admission.recent_shedding, asyncio.get_running_loop().time
        routes = [
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in hot.items()),
            *(_stored(f"{PREFIX}{{id}}{action}", methods) for action, methods in METHODS.items()),
            *_model_routes(Models(catalog, services.reception, self._written_s())),
            *_breaker_routes(settings, catalog, collaborators),
            *_tenant_routes(catalog, collaborators),
        ]
        self.settings = settings
        self.cors = Cors(settings.server.cors) if settings.server.cors is not None else None
        self.hot = hot
        self.stored = StoredResponses(services)
        self.refuse = EarlyRefusal(services, shedding, now)
        self.router = Router(routes, redirect_slashes=False)


def _stored(path: str, methods: tuple[str, ...]) -> Route:
    route = Route(path, refuse, methods=[*methods])
    route.methods = {*methods}  # without HEAD, which would call the provider for nothing
    return route


def _sessions(settings: Settings) -> Sessions:
    affinity = settings.router.affinity
    return Sessions(affinity.mode if has_affinity(settings.router) else "off", affinity.pass_headers)


def _services(settings: Settings, collaborators: Collaborators) -> Services:
    tenancy, telemetry = collaborators.tenancy, collaborators.telemetry
    dispatcher = collaborators.routing.dispatcher
    reception = Reception(
        dispatcher,
        tenancy.authenticator,
        settings.router.request_timeout_ms,
        tenancy.body_memory,
        tenancy.visitors,
        settings.server.max_messages,
        _sessions(settings),
    )
    return Services(
        settings=settings,
        replica=collaborators.replica.name,
        reception=reception,
        dispatcher=dispatcher,
        in_flight=collaborators.replica.in_flight,
        counters=telemetry.counters,
        client_retries=telemetry.client_retries,
        tracer=telemetry.tracer,
        log=telemetry.log,
    )


def _model_routes(models: Models) -> list[Route]:
    return [get("/v1/models", models.index), get("/v1/models/{model:path}", models.show)]


def _breaker_routes(settings: Settings, catalog: Catalog, collaborators: Collaborators) -> list[Route]:
    tenancy, routing, failover = collaborators.tenancy, collaborators.routing, collaborators.state.failover
    access = tenancy.access
    admin = Admin(failover, catalog, routing.admission, access)
    overview = Overview(access, failover, collaborators.views.feed, settings)
    explainer = Explainer(
        access, failover, routing.dispatcher, tenancy.authenticator, tenancy.prices, _sessions(settings)
    )
    return [
        get("/admin", LivePage(access).show),
        get("/v1/admin/models/stats", admin.stats),
        Route("/v1/admin/deployments/{deployment:path}/{action}", admin.force, methods=["POST"]),
        get("/v1/admin/deployments/{deployment:path}", overview.deployment),
        get("/v1/admin/events", overview.events),
        get("/v1/admin/replicas", overview.replicas),
        get("/v1/admin/configuration", overview.configuration),
        get("/v1/admin/live", overview.live),
        get("/v1/admin/explain", explainer.show),
        get("/v1/admin/usage", UsageView(access, failover).show),
        get("/v1/admin/autoscale", ScalingView(access, routing.scaling).show),
    ]


def _tenant_routes(catalog: Catalog, collaborators: Collaborators) -> list[Route]:
    tenancy = collaborators.tenancy
    tenants = Tenants(tenancy.access, tenancy.book, tenancy.authenticator, catalog)
    return [
        get("/v1/admin/tenants", tenants.index),
        Route("/v1/admin/tenants/{name:path}", tenants.put, methods=["PUT"]),
        Route("/v1/admin/tenants/{name:path}", tenants.remove, methods=["DELETE"]),
    ]


def permanent_routes(version: str, probes: Probes, reload: Reload, has_metrics: bool) -> list[Route]:
    """Returns the routes that no configuration changes. ``has_metrics``: metrics have no port of their own."""
    openapi = document(version)

    async def show_openapi(_request: Request) -> Response:
        return Response(openapi, media_type="application/json")

    return [
        get("/openapi.json", show_openapi),
        get("/livez", probes.livez),
        get("/readyz", probes.readyz),
        *([get("/metrics", probes.metrics_beside_calls)] if has_metrics else []),
        get("/v1/admin/reload", reload.get),
        Route("/v1/admin/reload", reload.post, methods=["POST"]),
    ]


def get(path: str, endpoint: Callable[..., object]) -> Route:
    return Route(path, endpoint, methods=["GET"])
