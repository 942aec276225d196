"""The composition root: this file, `lasting` and `serving` are the only ones that build collaborators and wire them."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import ConfigurationError, Settings
from gateway.configuration.value_types import secrets as secrets_of
from gateway.endpoints.admin.access import ADMIN_NAME
from gateway.endpoints.error_forms import rendered
from gateway.endpoints.openapi.document import document
from gateway.endpoints.threshold import Threshold
from gateway.endpoints.visitors import Visitors
from gateway.errors import GatewayError, MethodNotAllowed, NotFound, StateLost
from gateway.http.asgi_messages import NO_STORE, find
from gateway.http.http_text import Address
from gateway.reload.file import ConfigurationFile, Loaded
from gateway.reload.participation import Participation, meaning
from gateway.reload.reloader import Reloader
from gateway.request.in_flight import Flight
from gateway.routing.catalog import Catalog
from gateway.routing.tracing import Tracer, is_wanted
from gateway.telemetry.logs import Lines
from gateway.telemetry.request_log import RequestLine, RequestLog
from gateway.wiring.collaborators import what_lasts
from gateway.wiring.routes import Serving, adopt, serving
from gateway.wiring.state import open_state
from shared_state.errors import StateError
from shared_state.in_force import InForce
from shared_state.policies import Configuration

VERSION = "0.1.0"
LEAVE_S = 0.5
METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
PROBES = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds: not worth a line


class Application(Starlette):
    """A Starlette app whose hot endpoints are found by path before its middleware: routing and the two layers that
    turn exceptions into answers cost a tenth of a request, and hot endpoints answer for themselves. ``metrics``: for a
    port of their own.
    """

    def __init__(
        self,
        first: Serving,
        scraped: list[Route],
        metrics: ASGIApp,
        log: RequestLog,
        reloader: Reloader,
        is_open: Callable[[], bool],
        visitors: Visitors,
    ) -> None:
        super().__init__(exception_handlers=_HANDLERS)
        # An address with a slash too many is unknown; a redirect would be built from the client's Host header.
        self.router.redirect_slashes = False
        self._own = [Route("/openapi.json", openapi, methods=["GET"]), *scraped]
        self._threshold = Threshold(super().__call__, is_open)
        self._visitors = visitors
        self._log = log
        self.metrics = metrics
        self.reloader = reloader
        self.adopt(first)

    def adopt(self, serving: Serving) -> None:
        """For requests from now on."""
        self._hot = serving.hot
        self._refuse = serving.refuse
        self.settings = serving.settings
        self.router.routes = [*serving.routes, *self._own]

    def refuse(self, data: bytes, client: Address) -> bytes | None:
        """Returns the answer to a request that is refused from its bytes, before it reaches an endpoint."""
        return self._refuse(data, client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "*":  # OPTIONS, about the server as a whole
            about = {"allow": METHODS, "cache-control": "no-store"}
            await Response(status_code=204, headers=about)(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._hot.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await self._serve_named(scope, receive, send)

    async def _serve_named(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers get an id and a line here as those of the hot endpoints do."""
        started, request_id = time.perf_counter(), f"req_{secrets.token_hex(16)}"
        method = scope.get("method", "")  # a WebSocket, which is refused, has none
        line = RequestLine(method=method, path=self._log.path(scope["path"]), request_id=request_id)
        line.client = self._visitors.address(scope)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"x-request-id", request_id.encode())]
                message["headers"] = headers if find(headers, b"cache-control") else [*headers, NO_STORE]
                line.status = message["status"]
            await send(message)

        try:
            await self._threshold(scope, receive, send_named)
        finally:
            if scope["path"] not in PROBES:
                line.admin = scope.get(ADMIN_NAME, "")
                self._log.write(line, started)


@contextlib.asynccontextmanager
async def application(
    file: ConfigurationFile,
    loaded: Loaded,
    environment: Mapping[str, str],
    flight: Flight,
    lines: Lines,
    redact: Redaction,
    replica: str | None = None,
) -> AsyncIterator[Application]:
    """Everything one replica is made of, given back in reverse order on the way out. Raises StateError when the
    store cannot be reached or started, ConfigurationError when the environment asks for traces in vain.
    """
    settings, replica = loaded.settings, replica or secrets.token_hex(3)
    # The state knows each life of a replica by a name of its own: what a former life left behind is reaped within
    # seconds, and neither its leases nor its tokens are taken for ours.
    life = f"{replica}-{secrets.token_hex(2)}"
    async with contextlib.AsyncExitStack() as stack:
        tracer = _tracer(environment, replica, redact)
        stack.push_async_callback(tracer.close)
        log = RequestLog(lines if settings.server.access_log else None, redact)
        started_s, mine = int(time.time()), meaning(loaded)
        state = await open_state(stack, settings, life, VERSION, mine.configuration, flight)
        failover = state.failover

        async def adopt_policies(policies: Configuration) -> None:
            await failover.adopt(policies.of(*failover.parts))

        in_force = InForce([part.shared for part in failover.parts.values()], mine, adopt_policies)
        stack.push_async_callback(_leave, in_force)
        for heart in state.hearts:
            stack.push_async_callback(heart.stop)
            await heart.start()

        def serve(taken: Settings) -> None:
            app.adopt(adopt(taken, lasting))

        part = Participation(settings, in_force, serve, lambda: failover.worst.state == "standby")

        def learn(read: Settings) -> None:
            redact.learn(secrets_of(read))
            if problems := tuple(lasting.authenticator.clashes(read.auth)):
                raise ConfigurationError(problems)

        reloader = Reloader(file, life, part, learn)
        lasting = await what_lasts(stack, settings, state, reloader, flight, tracer, log, replica, started_s)
        scraped = [Route("/metrics", lasting.probes.metrics, methods=["GET"])]
        beside = [Route("/metrics", lasting.probes.metrics_beside_calls, methods=["GET"])]
        on_main = beside if settings.server.metrics_port is None else []
        first = serving(settings, Catalog(settings), lasting)
        metrics = Threshold(Starlette(routes=scraped, exception_handlers=_HANDLERS), lasting.authenticator.is_open)
        app = Application(first, on_main, metrics, log, reloader, lasting.authenticator.is_open, lasting.visitors)
        stack.push_async_callback(reloader.stop)
        await reloader.start()
        yield app


async def _leave(in_force: InForce) -> None:
    with contextlib.suppress(StateError, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await in_force.leave()


def _tracer(environment: Mapping[str, str], replica: str, redact: Redaction) -> Tracer:
    """Raises ConfigurationError."""
    if not is_wanted(environment):
        return Tracer()
    from gateway.telemetry import (
        otlp,  # what it imports takes a tenth of a second: only who wants traces waits for that
    )

    return otlp.tracer(environment, replica, VERSION, redact)


_OPENAPI = document(VERSION)


async def openapi(_request: Request) -> Response:
    """GET /openapi.json."""
    return Response(_OPENAPI, media_type="application/json")


async def _gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return rendered(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        headers = dict(error.headers or {})
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": f"{headers.get('Allow', '')}, OPTIONS"})
        refused = MethodNotAllowed(f"{request.method} is not allowed here.")
        return rendered(request, refused, headers)
    return rendered(request, NotFound("There is no such endpoint."))


async def _state_error(request: Request, _error: Exception) -> Response:
    return rendered(request, StateLost("The gateway's shared state cannot be reached.", retry_after_ms=1000))


async def _defect(request: Request, _error: Exception) -> Response:
    return rendered(request, GatewayError("An internal error occurred."))


_HANDLERS = {GatewayError: _gateway_error, HTTPException: _http_error, StateError: _state_error, Exception: _defect}
