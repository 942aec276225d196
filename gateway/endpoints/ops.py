"""Liveness, readiness and metrics. Ready means: able to serve by the configuration in force, and not draining. A lost
store does not make a replica unready, because that would empty the load balancer just when every replica still has work
it can do.
"""

import asyncio
import contextlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.endpoints.admin.access import AdminAccess
from gateway.request.in_flight import Flight
from gateway.telemetry.exposition import content_type, exposition
from gateway.telemetry.metrics import Metrics
from shared_state.errors import StateError
from shared_state.failover import Failover

SNAPSHOT_S = 2.0  # a scrape has ten seconds


class Probes:
    def __init__(
        self, flight: Flight, store: Failover, metrics: Metrics, is_ready: Callable[[], bool], access: AdminAccess
    ) -> None:
        self._access = access
        self._is_ready = is_ready
        self._flight = flight
        self._store = store
        self._metrics = metrics

    async def livez(self, _request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(self, _request: Request) -> Response:
        if self._flight.is_draining:
            return PlainTextResponse("draining", status_code=503)
        if not self._is_ready():
            return PlainTextResponse("another configuration is in force", status_code=503)
        return PlainTextResponse("ready")

    async def metrics_beside_calls(self, request: Request) -> Response:
        """Raises as `AdminAccess.authorize`: names of tenants and what they spend are not for every caller."""
        self._access.authorize_scrape(request)
        return await self.metrics(request)

    async def metrics(self, request: Request) -> Response:
        """What the cluster knows goes along while the store answers; the replica's own counts always."""
        snapshot = None
        with contextlib.suppress(StateError, TimeoutError):
            async with asyncio.timeout(SNAPSHOT_S):
                snapshot = await self._store.snapshot()
        kind = content_type(request.headers.get("accept", ""))
        return Response(await exposition(self._metrics.collect(snapshot), kind), headers={"content-type": kind})
