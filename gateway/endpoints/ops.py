"""Liveness, readiness and metrics. Ready means: configured and not draining. A lost store does not make a replica
unready, because that would empty the load balancer just when every replica still has work it can do.
"""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.flight import Flight
from gateway.metrics import CONTENT_TYPE, Metrics


class Probes:
    def __init__(self, flight: Flight, metrics: Metrics) -> None:
        self._flight = flight
        self._metrics = metrics

    async def livez(self, _request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(self, _request: Request) -> Response:
        if self._flight.is_draining:
            return PlainTextResponse("draining", status_code=503)
        return PlainTextResponse("ready")

    async def metrics(self, _request: Request) -> Response:
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)
