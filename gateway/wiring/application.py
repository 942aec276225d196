"""The ASGI application: finds the endpoint of a request, and turns exceptions into responses."""

import secrets
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.configuration.settings import Settings
from gateway.endpoints.admin.access import ADMIN_NAME
from gateway.endpoints.error_forms import rendered
from gateway.endpoints.stored_responses import PREFIX, addressed
from gateway.endpoints.threshold import Threshold
from gateway.endpoints.visitors import Visitors
from gateway.endpoints.websocket_offers import refused_websocket
from gateway.errors import GatewayError, MethodNotAllowed, NotFound, StateLost
from gateway.http.asgi_messages import NO_STORE, find
from gateway.http.http_text import Address
from gateway.reload.reloader import Reloader
from gateway.telemetry.request_log import RequestLine, RequestLog
from gateway.wiring.addresses import meant_by, methods_of
from gateway.wiring.routes import Endpoints
from shared_state.errors import StateError

METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
PROBES = frozenset({"/livez", "/readyz", "/metrics"})  # requested every few seconds: not worth a line in the log


class Application(Starlette):
    """Finds hot endpoints by path before Starlette's middleware: its routing and the two layers that turn exceptions
    into responses take a tenth of a request's time, and hot endpoints send their own errors.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        permanent: list[Route],
        metrics: ASGIApp,
        reloader: Reloader,
        log: RequestLog,
        visitors: Visitors,
        is_open: Callable[[], bool],
    ) -> None:
        super().__init__(exception_handlers=_HANDLERS)
        self.metrics = metrics  # for a port of its own
        self.reloader = reloader

        async def configured(scope: Scope, receive: Receive, send: Send) -> None:
            await endpoints.router(scope, receive, send)

        # A path with a surplus slash is unknown; a redirect would be built from the client's Host header.
        self.router = Router(permanent, redirect_slashes=False, default=configured)
        self._endpoints = endpoints
        self._threshold = Threshold(super().__call__, is_open)
        self._visitors = visitors
        self._log = log

    @property
    def settings(self) -> Settings:
        """The settings that this replica serves by."""
        return self._endpoints.settings

    def refuse(self, data: bytes, client: Address) -> bytes | None:
        """Returns the response to a request that is refused from its bytes, before it reaches an endpoint; None for
        other requests.
        """
        return self._endpoints.refuse(data, client)

    @property
    def all_routes(self) -> list[BaseRoute]:
        return [*self.router.routes, *self._endpoints.router.routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cors = self._endpoints.cors
        if cors is None or scope["type"] != "http":
            await self._serve(scope, receive, send)
        else:
            await cors(self._serve, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "*":  # OPTIONS, about the server as a whole
            headers = {"allow": METHODS, "cache-control": "no-store"}
            await Response(status_code=204, headers=headers)(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.hot.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        if scope["type"] == "http" and scope["path"].startswith(PREFIX) and addressed(scope["method"], scope["path"]):
            await self._endpoints.stored(scope, receive, send)
            return
        await self._serve_identified(scope, receive, send)

    async def _serve_identified(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gives the response a request id and a line in the log, as hot endpoints do for theirs."""
        started, request_id = time.perf_counter(), f"req_{secrets.token_hex(16)}"
        method = scope.get("method", "")  # a WebSocket, which is refused, has none
        line = RequestLine(method=method, path=self._log.path(scope["path"]), request_id=request_id)
        line.client = self._visitors.address(scope)

        async def send_identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"x-request-id", request_id.encode())]
                message["headers"] = headers if find(headers, b"cache-control") else [*headers, NO_STORE]
                line.status = message["status"]
            await send(message)

        try:
            await self._threshold(scope, receive, send_identified)
        finally:
            if scope["path"] not in PROBES:
                line.admin = scope.get(ADMIN_NAME, "")
                self._log.write(line, started)


async def _gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return rendered(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405 and (offer := refused_websocket(request)) is not None:
        return rendered(request, offer)
    if error.status_code == 405:
        headers = {"allow": methods_of(_routes(request), request.scope)}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        refused = MethodNotAllowed(f"{request.method} is not allowed here.")
        return rendered(request, refused, headers)
    meant = meant_by(_routes(request), request.scope)
    return rendered(request, NotFound(f"There is no such endpoint.{f' Did you mean {meant}?' if meant else ''}"))


def _routes(request: Request) -> list[BaseRoute]:
    app = request.app
    return app.all_routes if isinstance(app, Application) else [*app.routes]


async def _state_error(request: Request, _error: Exception) -> Response:
    return rendered(request, StateLost("The gateway's shared state cannot be reached.", retry_after_ms=1000))


async def _defect(request: Request, _error: Exception) -> Response:
    return rendered(request, GatewayError("An internal error occurred."))


_HANDLERS = {GatewayError: _gateway_error, HTTPException: _http_error, StateError: _state_error, Exception: _defect}


def metrics_app(routes: list[Route], is_open: Callable[[], bool]) -> ASGIApp:
    """Returns the application for a port that serves metrics only."""
    return Threshold(Starlette(routes=routes, exception_handlers=_HANDLERS), is_open)
