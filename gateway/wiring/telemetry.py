"""Builds the recorders of requests: counters, traces and the request log."""

import contextlib
from collections.abc import Mapping

import msgspec

from gateway.configuration.redaction import Redaction
from gateway.request.tenant_labels import TenantLabels
from gateway.routing.tracing import Tracer, is_wanted
from gateway.telemetry.request_counters import ClientRetries, RequestCounters
from gateway.telemetry.request_log import RequestLog
from gateway.wiring.state import ThisReplica


class Telemetry(msgspec.Struct, frozen=True):
    """The recorders of requests."""

    counters: RequestCounters
    labels: TenantLabels
    client_retries: ClientRetries
    tracer: Tracer
    log: RequestLog
    redact: Redaction


def open_telemetry(
    stack: contextlib.AsyncExitStack,
    environment: Mapping[str, str],
    replica: ThisReplica,
    log: RequestLog,
    redact: Redaction,
) -> Telemetry:
    """Opens the recorders until ``stack`` closes. Raises ConfigurationError where the environment names an invalid
    trace collector.
    """
    tracer = _tracer(environment, replica, redact)
    stack.push_async_callback(tracer.close)
    labels = TenantLabels(0)  # until the tenants are known
    return Telemetry(RequestCounters(labels), labels, ClientRetries(), tracer, log, redact)


def _tracer(environment: Mapping[str, str], replica: ThisReplica, redact: Redaction) -> Tracer:
    """Returns the tracer for this environment. Raises ConfigurationError."""
    if not is_wanted(environment):
        return Tracer()
    from gateway.telemetry import otlp  # importing the SDK takes a tenth of a second: only tracing pays for it

    return otlp.tracer(environment, replica.name, replica.version, redact)
