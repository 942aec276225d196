"""What a request tells of itself while it goes: which candidates were looked at, what each attempt gave, how it ended.

These are the classes of a request that nobody traces, and do nothing; `otlp` has those that make spans. Who calls them
need not know which they are.
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
    """One call of a provider. ``context``: headers for a provider that is trusted with them."""

    context: tuple[tuple[str, str], ...] = ()

    def answered(self, exchange: Exchange) -> None:
        """A plain answer or a stream's first event is here."""

    def end(self, outcome: Outcome, exchange: Exchange | None = None) -> None:
        """Its last byte has come, or none will."""

    def settling(self, settled: "asyncio.Future[list[object]]") -> None:
        """The store is told how it ended."""


class Trace:
    """One request. ``id``: of the trace, in hexadecimal, empty without one; ``is_recording``: is anybody interested?"""

    id = ""
    is_recording = False

    def asked(self, call: Call, tenant: Tenant, priority: int) -> None:
        """What is asked for, by whom."""

    def begin_route(self, strategy: str) -> None:
        """From here candidates are looked at."""

    def decided(self, decision: Permit | Rejection, candidates: Sequence[Candidate], number: int) -> None:
        """What the store said of the attempt of this number, from 1."""

    def attempt(self, candidate: Candidate, call: Call) -> Attempt:
        return NO_ATTEMPT

    def end_route(self, error: str = "") -> None:
        """A candidate has answered, or none will."""

    def end(self, status: int, error: str = "") -> None:
        """``status``: HTTP's, 0 when the client left before it got one; ``error``: what went wrong, as a code."""


class Tracer:
    """Makes the trace of each request."""

    def begin(self, kind: Kind, headers: Headers, request_id: bytes) -> Trace:
        """A request that has just come, with the headers that it came with."""
        return NO_TRACE

    async def close(self) -> None:
        """Sends what is left, in a bounded time."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not is_off and not is_elsewhere and any(environment.get(name) for name in ENDPOINTS)


NO_ATTEMPT = Attempt()
NO_TRACE = Trace()
