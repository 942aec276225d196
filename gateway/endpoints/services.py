"""The services that every inference endpoint uses, built anew from each configuration."""

import msgspec

from gateway.configuration.settings import Settings
from gateway.endpoints.reception import Reception
from gateway.request.in_flight import InFlight
from gateway.routing.dispatch import Dispatcher
from gateway.routing.tracing import Tracer
from gateway.telemetry.request_counters import ClientRetries, RequestCounters
from gateway.telemetry.request_log import RequestLog


class Services(msgspec.Struct, frozen=True):
    """The services that the endpoints of one replica share."""

    settings: Settings
    replica: str  # its name, as the header x-pllm-replica shows it
    reception: Reception
    dispatcher: Dispatcher
    in_flight: InFlight
    counters: RequestCounters
    client_retries: ClientRetries
    tracer: Tracer
    log: RequestLog
