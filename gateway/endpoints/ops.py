"""Liveness, readiness and metrics. A replica is ready when it can serve by the configuration in force and is not
draining. A lost store does not make it unready: the load balancer would lose all replicas at once, although each of
them can still serve.
"""

import asyncio
import contextlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.endpoints.admin.access import AdminAccess
from gateway.request.in_flight import InFlight
from gateway.telemetry.exposition import content_type, exposition
from gateway.telemetry.metrics import Metrics
from shared_state.errors import StateError
from shared_state.failover import Failover

SNAPSHOT_S = 2.0  # a scrape has ten seconds


class Probes:
    """GET /livez, /readyz and /metrics."""

    def __init__(
        self, in_flight: InFlight, store: Failover, metrics: Metrics, is_ready: Callable[[], bool], access: AdminAccess
    ) -> None:
        self._access = access
        self._is_ready = is_ready
        self._in_flight = in_flight
        self._store = store
        self._metrics = metrics

    async def livez(self, _request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(self, _request: Request) -> Response:
        if self._in_flight.is_draining:
            return PlainTextResponse("draining", status_code=503)
        if not self._is_ready():
            return PlainTextResponse("another configuration is in force", status_code=503)
        return PlainTextResponse("ready")

    async def metrics_beside_calls(self, request: Request) -> Response:
        """Serves metrics on the port of calls. Raises as `AdminAccess.authorize`: names of tenants and their spending
        are not for every caller.
        """
        self._access.authorize_scrape(request)
        return await self.metrics(request)

    async def metrics(self, request: Request) -> Response:
        """Serves the replica's metrics, and those of the cluster while the store answers."""
        snapshot = None
        with contextlib.suppress(StateError, TimeoutError):
            async with asyncio.timeout(SNAPSHOT_S):
                snapshot = await self._store.snapshot()
        kind = content_type(request.headers.get("accept", ""))
        return Response(await exposition(self._metrics.collect(snapshot), kind), headers={"content-type": kind})
