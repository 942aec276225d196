"""Sheds a request before it costs a task, a stream or a call of the store: from its bytes alone, while requests of its
priority are known to be shed. Any unusual request takes the ordinary path.
"""

import time
from collections.abc import Callable

import httptools
import msgspec

from gateway.endpoints.error_forms import error_body
from gateway.endpoints.services import Services
from gateway.errors import GatewayError
from gateway.http.asgi_messages import NO_STORE, Header, find
from gateway.http.byte_bounds import HEAD_MOST
from gateway.http.error_bodies import headers_of
from gateway.http.http_text import Address, date_line, status_line
from gateway.http.request_head import InvalidHead, checked_head
from gateway.request.calls import Kind
from gateway.routing.final_errors import rejected
from gateway.routing.recent_shedding import RecentShedding
from gateway.telemetry.request_log import RequestLine
from shared_state.records import Rejection

_KINDS = {f"/v1{kind.value}".encode(): kind for kind in Kind}
_UNUSUAL = frozenset({b"expect", b"upgrade", b"content-encoding", b"origin"})
REQUEST_ID = b"request-id: %b\r\n"  # where Anthropic's clients expect it


class _Template(msgspec.Struct, frozen=True):
    """The whole response to an error, except its request id and date."""

    text: bytes
    error: GatewayError


class _Collector:
    """Collects the parts of the single request in some bytes."""

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
            return  # a trailer is not a header
        name = name.lower()
        if name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
            self.is_unusual = True
        self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.ended += 1


class EarlyRefusal:
    """Sheds requests from their bytes. Called with the bytes that a connection received between two requests; returns
    the whole response, or None for a request that has to take the ordinary path.
    """

    def __init__(
        self,
        services: Services,
        recent_shedding: RecentShedding,
        now: Callable[[], float],
    ) -> None:
        self._tracer = services.tracer
        self._log = services.log
        self._dispatcher = services.dispatcher
        self._shedding = recent_shedding
        self._reception = services.reception
        self._max_body = services.settings.server.max_body_bytes
        self._replica = services.replica.encode()
        self._counters = services.counters
        self._client_retries = services.client_retries
        self._now = now
        self._collector = _Collector()
        self._parser = httptools.HttpRequestParser(self._collector)
        self._templates: dict[Kind, _Template] = {}
        self._templates_of: tuple[Rejection, str] | None = None

    def __call__(self, data: bytes, client: Address) -> bytes | None:
        if not self._shedding.is_shedding(self._now()):
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
        """Returns whether the bytes are one POST of the usual form, and no byte more."""
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
        """Returns the whole response to a shed request, None for any other. Raises GatewayError for a request that is
        refused for another reason.
        """
        now, headers = self._now(), self._collector.headers
        tenant = self._reception.known(headers)
        self._reception.deadline(headers, now)
        parsed = self._reception.parse_inline(kind, headers, self._collector.body, tenant)
        call, route, priority = parsed.call, parsed.route, parsed.priority
        rejection = self._shedding.rejection(priority, now)
        if rejection is None or (route.queue and not self._shedding.saturated(priority)):
            return None
        self._client_retries.see(find(headers, b"x-stainless-retry-count"))
        template, request_id = self._template(kind, rejection), self._reception.request_id()
        self._counters.failed(template.error, priority)
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
        self._dispatcher.ended(tenant.name, route.model, True)
        trace.parsed(call, tenant, priority)
        trace.begin_route(self._dispatcher.strategy_of(route.model))
        trace.decided(rejection, (), 1)
        trace.end_route(line.error or "")
        trace.end(line.status, line.error or "")
        self._log.write(line, started)
        repeated_id = REQUEST_ID % request_id if kind is Kind.MESSAGE else b""
        return template.text % (request_id, repeated_id, date_line(int(time.time())))

    def _template(self, kind: Kind, rejection: Rejection) -> _Template:
        source = (rejection, self._dispatcher.state)
        if self._templates_of != source:
            self._templates, self._templates_of = {}, source
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
