"""The events of a request's trace: which candidates were considered, how each attempt ended, how the request ended.

The classes here belong to requests without a trace, and do nothing; `otlp` has the subclasses that make spans. Callers
need not know which of the two they hold.
"""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.request.auth import Tenant
from gateway.request.calls import Call, Kind
from gateway.routing.catalog import Candidate
from gateway.upstream.exchange import Exchange
from shared_state.records import Outcome, Permit, Rejection

# OpenTelemetry's own variables: an endpoint switches traces on; the sampler and the rest are read by its SDK.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
Headers = Sequence[tuple[bytes, bytes]]


class Attempt:
    """One call of a provider."""

    context: tuple[tuple[str, str], ...] = ()  # headers, for a provider that is trusted with them

    def answered(self, exchange: Exchange) -> None:
        """Notes that a plain answer or a stream's first event has arrived."""

    def end(self, outcome: Outcome, exchange: Exchange | None = None) -> None:
        """Notes that the last byte has arrived, or that no more bytes will."""

    def settling(self, settled: "asyncio.Future[list[object]]") -> None:
        """Notes that the outcome is on its way to the store."""


class Trace:
    """One request."""

    id = ""  # of the trace, in hexadecimal; empty without one
    is_recording = False  # spans are made and exported

    def parsed(self, call: Call, tenant: Tenant, priority: int) -> None:
        """Notes the parsed request."""

    def begin_route(self, strategy: str) -> None:
        """Notes that the routing begins."""

    def decided(self, decision: Permit | Rejection, candidates: Sequence[Candidate], number: int) -> None:
        """Notes the store's decision on attempt ``number``, which counts from 1."""

    def attempt(self, candidate: Candidate, call: Call) -> Attempt:
        """Begins the call of a provider."""
        return NO_ATTEMPT

    def end_route(self, error: str = "") -> None:
        """Notes that a candidate has answered, or that no candidate will. ``error``: as in `end`."""

    def end(self, status: int, error: str = "") -> None:
        """Ends the request. ``status``: of HTTP, 0 when the client left before it got one; ``error``: its code."""


class Tracer:
    """Makes the trace of each request."""

    def begin(self, kind: Kind, headers: Headers, request_id: bytes) -> Trace:
        """Begins the trace of a request that has just arrived. ``headers``: of the request."""
        return NO_TRACE

    async def close(self) -> None:
        """Exports the spans that are left, within a bounded time."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Returns whether OpenTelemetry's variables switch traces on."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not is_off and not is_elsewhere and any(environment.get(name) for name in ENDPOINTS)


NO_ATTEMPT = Attempt()
NO_TRACE = Trace()
