"""Sheds a request before it costs a task, a stream or a call of the store: from its bytes alone, while it is known that
load of its priority is shed. Everything unusual about a request is left to the way that all requests take.
"""

import time
from collections.abc import Callable

import httptools
import msgspec

from gateway.configuration.settings import Settings
from gateway.endpoints.error_forms import error_body
from gateway.endpoints.reception import Reception
from gateway.errors import GatewayError
from gateway.http.asgi_messages import NO_STORE, Header, find
from gateway.http.byte_bounds import HEAD_MOST
from gateway.http.error_bodies import headers_of
from gateway.http.http_text import Address, date_line, status_line
from gateway.http.request_head import InvalidHead, checked_head
from gateway.request.calls import Kind
from gateway.routing.dispatch import Dispatcher
from gateway.routing.final_errors import rejected
from gateway.routing.recent_shedding import ShedMemory
from gateway.routing.tracing import Tracer
from gateway.telemetry.request_counters import ClientRetries, RequestCounters
from gateway.telemetry.request_log import RequestLine, RequestLog
from shared_state.records import Rejection

_KINDS = {f"/v1{kind.value}".encode(): kind for kind in Kind}
_UNUSUAL = frozenset({b"expect", b"upgrade"})
NAMED = b"request-id: %b\r\n"  # where Anthropic's clients look for it


class _Template(msgspec.Struct, frozen=True):
    """The answer to an error, but for id and date."""

    text: bytes
    error: GatewayError


class _Collector:
    """The one request in some bytes."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.url, self.body = b"", b""
        self.begun = self.ended = 0
        self.headers: list[Header] = []
        self.is_head_read = False
        self.is_unusual = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        self.is_head_read = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_head_read:
            return  # a trailer is no header
        name = name.lower()
        if name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
            self.is_unusual = True
        self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.ended += 1


class EarlyRefusal:
    """Called with what a connection received between two requests; the answer is complete, None when it has none."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        reception: Reception,
        shed: ShedMemory,
        settings: Settings,
        replica: str,
        measures: RequestCounters,
        retries: ClientRetries,
        tracer: Tracer,
        log: RequestLog,
        now: Callable[[], float],
    ) -> None:
        self._tracer = tracer
        self._log = log
        self._dispatcher = dispatcher
        self._shed = shed
        self._reception = reception
        self._max_body = settings.server.max_body_bytes
        self._replica = replica.encode()
        self._measures = measures
        self._retries = retries
        self._now = now
        self._collector = _Collector()
        self._parser = httptools.HttpRequestParser(self._collector)
        self._templates: dict[Kind, _Template] = {}
        self._templates_of: tuple[Rejection, str] | None = None

    def __call__(self, data: bytes, client: Address) -> bytes | None:
        if not self._shed.is_shedding(self._now()):
            return None
        started = time.perf_counter()
        if not self._is_whole(data):
            return None
        kind = _KINDS.get(self._collector.url)
        if kind is None:
            return None
        try:
            checked_head("POST", self._collector.url, "1.1", self._collector.headers)
            return self._refusal(kind, started, client)
        except (GatewayError, InvalidHead):
            return None

    def _is_whole(self, data: bytes) -> bool:
        """One POST of the usual form and no byte more."""
        collector, parser = self._collector, self._parser
        collector.begin()
        try:
            parser.feed_data(data)
            if collector.begun == collector.ended == 1:
                is_usual = parser.get_method() == b"POST" and parser.get_http_version() == "1.1"
                if is_usual and not collector.is_unusual:
                    size = len(collector.body)
                    return size <= self._max_body and len(data) - size <= HEAD_MOST
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            pass
        self._parser = httptools.HttpRequestParser(collector)
        return False

    def _refusal(self, kind: Kind, started: float, client: Address) -> bytes | None:
        """Raises GatewayError for what is refused on other grounds."""
        now, headers = self._now(), self._collector.headers
        tenant = self._reception.known(headers)
        self._reception.deadline(headers, now)
        asked = self._reception.asked(kind, headers, self._collector.body, tenant)
        call, route, priority = asked.call, asked.route, asked.priority
        rejection = self._shed.told(priority, now)
        if rejection is None or (route.queue and not self._shed.saturated(priority)):
            return None
        self._retries.see(find(headers, b"x-stainless-retry-count"))
        template, request_id = self._template(kind, rejection), self._reception.request_id()
        self._measures.failed(template.error, priority)
        trace = self._tracer.begin(kind, headers, request_id)
        line = RequestLine(
            method="POST",
            path=f"/v1{kind.value}",
            request_id=request_id.decode(),
            trace_id=trace.id,
            client=self._reception.visitors.address({"client": client, "headers": headers}),
            tenant=tenant.name,
            priority=priority,
            model=route.model,
            stream=call.is_stream,
        )
        line.failed(template.error)
        trace.asked(call, tenant, priority)
        trace.begin_route(self._dispatcher.strategy)
        trace.decided(rejection, (), 1)
        trace.end_route(line.error or "")
        trace.end(line.status, line.error or "")
        self._log.write(line, started)
        named = NAMED % request_id if kind is Kind.MESSAGE else b""
        return template.text % (request_id, named, date_line(int(time.time())))

    def _template(self, kind: Kind, rejection: Rejection) -> _Template:
        drawn = (rejection, self._dispatcher.state)
        if self._templates_of != drawn:
            self._templates, self._templates_of = {}, drawn
        template = self._templates.get(kind)
        if template is None:
            template = self._templates[kind] = self._rendered(kind, rejected(rejection, (), ()))
        return template

    def _rendered(self, kind: Kind, error: GatewayError) -> _Template:
        body = error_body(kind, error)
        headers = [(b"x-pllm-replica", self._replica), (b"x-pllm-state", self._dispatcher.state.encode()), NO_STORE]
        headers += [*headers_of(error), (b"content-length", b"%d" % len(body))]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        head = status_line(error.status) + b"x-request-id: %b\r\n%b" + lines.replace(b"%", b"%%")
        return _Template(head + b"%b\r\n" + body.replace(b"%", b"%%"), error)
