"""Spans over OTLP/HTTP, with the names of OpenTelemetry's conventions for HTTP and for generative AI (2026).

A span costs tens of microseconds, so spans are made only for sampled requests and only where the environment names a
collector. The SDK sends them from its own thread, out of a queue that drops the excess: a slow or absent collector
costs spans, never a request's time.
"""

import asyncio
import contextlib
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import ConfigurationError, DeploymentSettings
from gateway.configuration.yaml_source import Problem
from gateway.request.auth import Tenant
from gateway.request.calls import Call, Kind
from gateway.routing.catalog import Candidate
from gateway.routing.tracing import ENDPOINTS, NO_ATTEMPT, Attempt, Headers, Trace, Tracer
from gateway.upstream.exchange import Exchange
from shared_state.records import Outcome, Permit, Rejection

CLOSE_MOST_S = 2.0  # for the spans still queued at the end
PARENT_MOST, STATE_MOST = 128, 512  # bytes: a traceparent has 55, and the W3C requires 512 of tracestate
AGENT_MOST = 200
AGENTS_KEPT = 64  # clients use few user agents, and redaction searches each for every configured key
SERVICE = "pllm-gateway"
_PROVIDERS = {"openai": "openai", "azure": "azure.ai.openai", "anthropic": "anthropic"}
_OPERATIONS = {Kind.COMPLETION: "text_completion", Kind.EMBEDDING: "embeddings"}
_ERROR = Status(StatusCode.ERROR)
_context = TraceContextTextMapPropagator()

Attribute = str | int | float | bool | Sequence[str] | Sequence[float]


def tracer(environment: Mapping[str, str], replica: str, version: str, redact: Redaction) -> Tracer:
    """Returns a tracer for an environment that names a collector. ``redact``: applied to text from clients. Raises
    ConfigurationError for an invalid endpoint.
    """
    name, endpoint = next((name, environment[name]) for name in ENDPOINTS if environment.get(name))
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError([Problem(name, "must be an http or https URL")])
    service = environment.get("OTEL_SERVICE_NAME", SERVICE)
    return OtlpTracer({"service.name": service, "service.instance.id": replica, "service.version": version}, redact)


class OtlpTracer(Tracer):
    def __init__(self, resource: Mapping[str, str], redact: Redaction) -> None:
        self._redact = lru_cache(AGENTS_KEPT)(redact)
        self._provider = TracerProvider(resource=Resource.create(dict(resource)), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(SERVICE, resource["service.version"])

    def begin(self, kind: Kind, headers: Headers, request_id: bytes) -> Trace:
        route = f"/v1{kind.value}"
        attributes: dict[str, Attribute] = {
            "http.request.method": "POST",
            "http.route": route,
            "url.path": route,
            "url.scheme": "http",
            "pllm.request_id": request_id.decode(),
        }
        for name, value in headers:
            if name == b"user-agent":
                attributes["user_agent.original"] = self._redact(value[: 2 * AGENT_MOST].decode("latin-1"))[:AGENT_MOST]
        span = self._tracer.start_span(f"POST {route}", _parent(headers), SpanKind.SERVER, attributes)
        return OtlpTrace(self._tracer, span) if span.is_recording() else UnsampledTrace(span)

    async def close(self) -> None:
        """Sends the queued spans. With a hanging collector the SDK would need half a minute, so its thread is abandoned
        after two seconds.
        """
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has closed: no one waits
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=shut_down, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closed.wait(), CLOSE_MOST_S)


def _parent(headers: Headers) -> Context:
    """Returns the caller's trace context; an empty one where its headers contradict each other or are invalid."""
    carrier: dict[str, str] = {}
    for name, value in headers:
        if name == b"traceparent":
            if "traceparent" in carrier or len(value) > PARENT_MOST:
                return Context()
            carrier["traceparent"] = value.decode("latin-1")
        elif name == b"tracestate" and "tracestate" not in carrier and len(value) <= STATE_MOST:
            carrier["tracestate"] = value.decode("latin-1")
    return _context.extract(carrier, Context())


def _carried(span: Span) -> tuple[tuple[str, str], ...]:
    carrier: dict[str, str] = {}
    _context.inject(carrier, set_span_in_context(span, Context()))
    return tuple(carrier.items())


def _id(span: Span) -> str:
    return format_trace_id(span.get_span_context().trace_id)


class UnsampledTrace(Trace):
    """A trace that is not recorded. It has an id for the logs, and its context marks it as unsampled for providers."""

    def __init__(self, span: Span) -> None:
        self.id = _id(span)
        self._trusted = Attempt()
        self._trusted.context = _carried(span)

    def attempt(self, candidate: Candidate, call: Call) -> Attempt:
        return self._trusted if candidate.deployment.provider.trace_context else NO_ATTEMPT


class OtlpTrace(Trace):
    is_recording = True

    def __init__(self, tracer: OtelTracer, span: Span) -> None:
        self.id = _id(span)
        self._tracer = tracer
        self._span = span
        self._route = span

    def parsed(self, call: Call, tenant: Tenant, priority: int) -> None:
        self._span.set_attributes(
            {
                "gen_ai.request.model": call.model[:AGENT_MOST],
                "gen_ai.request.stream": call.is_stream,
                "pllm.tenant": tenant.name,
                "pllm.priority": priority,
            }
        )

    def begin_route(self, strategy: str) -> None:
        inside = set_span_in_context(self._span, Context())
        self._route = self._tracer.start_span("gateway.route", inside, attributes={"pllm.strategy": strategy})

    def decided(self, decision: Permit | Rejection, candidates: Sequence[Candidate], number: int) -> None:
        """Adds an event for each decision; the span's attributes hold the last one."""
        attributes: dict[str, Attribute] = {"pllm.attempt": number}
        if decision.verdicts:
            attributes["pllm.candidates"] = [each.deployment.id for each in candidates]
            attributes["pllm.candidate.verdicts"] = decision.verdicts
            attributes["pllm.candidate.scores"] = decision.scores
        if isinstance(decision, Permit):
            attributes["pllm.deployment"] = decision.deployment_id
            attributes["pllm.is_probe"] = decision.is_probe
            attributes["pllm.is_last_resort"] = decision.is_last_resort
            attributes["pllm.affinity"] = decision.affinity or "none"
        else:
            attributes["pllm.rejection"] = decision.code
            attributes["pllm.rejection.reason"] = decision.reason
        self._route.set_attributes(attributes)
        self._route.add_event("decision", attributes)

    def attempt(self, candidate: Candidate, call: Call) -> Attempt:
        return OtlpAttempt(self._tracer, self._route, candidate.deployment, call)

    def end_route(self, error: str = "") -> None:
        if error:
            self._route.set_attribute("error.type", error)
            self._route.set_status(_ERROR)
        self._route.end()

    def end(self, status: int, error: str = "") -> None:
        """Ends the span. A client's mistake is not an error of a server span, by the conventions for HTTP."""
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if error:
            self._span.set_attribute("error.type", error)
            if status == 0 or status >= 500 or status == 200:
                self._span.set_status(_ERROR)
        self._span.end()


class OtlpAttempt(Attempt):
    def __init__(self, tracer: OtelTracer, route: Span, deployment: DeploymentSettings, call: Call) -> None:
        provider, operation = deployment.provider, _OPERATIONS.get(call.kind, "chat")
        address = urlsplit(str(provider.base_url))
        attributes: dict[str, Attribute] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS[provider.type],
            "gen_ai.request.model": provider.model,
            "gen_ai.request.stream": call.is_stream,
            "server.address": address.hostname or "",
            "server.port": address.port or (443 if address.scheme == "https" else 80),
            "pllm.deployment": deployment.id,
            "pllm.model": deployment.model_name,
        }
        self._tracer = tracer
        self._span = tracer.start_span(
            f"{operation} {provider.model}", set_span_in_context(route, Context()), SpanKind.CLIENT, attributes
        )
        self._is_stream = call.is_stream
        self.context = _carried(self._span) if provider.trace_context else ()

    def answered(self, exchange: Exchange) -> None:
        if exchange.status:
            self._span.set_attribute("http.response.status_code", exchange.status)
        if self._is_stream and exchange.outcome is Outcome.SUCCESS:
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", exchange.latency_ms / 1000)

    def end(self, outcome: Outcome, exchange: Exchange | None = None) -> None:
        self._span.set_attribute("pllm.outcome", outcome.value)
        if exchange is not None and exchange.input_tokens:
            self._span.set_attribute("gen_ai.usage.input_tokens", exchange.input_tokens)
        if exchange is not None and exchange.output_tokens:
            self._span.set_attribute("gen_ai.usage.output_tokens", exchange.output_tokens)
        if outcome is not Outcome.SUCCESS:
            is_status = exchange is not None and exchange.status >= 400
            kind = str(exchange.status) if exchange and is_status else outcome.value
            self._span.set_attribute("error.type", kind)
            if exchange is not None and exchange.reason:
                self._span.add_event("exception", {"exception.type": kind, "exception.message": exchange.reason})
            self._span.set_status(_ERROR)
        self._span.end()

    def settling(self, settled: "asyncio.Future[list[object]]") -> None:
        span = self._tracer.start_span("state.settle", set_span_in_context(self._span, Context()))

        def ended(done: "asyncio.Future[list[object]]") -> None:
            if done.cancelled() or done.exception() is not None:
                span.set_attribute("error.type", "cancelled" if done.cancelled() else type(done.exception()).__name__)
                span.set_status(_ERROR)
            span.end()

        settled.add_done_callback(ended)
