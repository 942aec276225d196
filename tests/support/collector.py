"""A collector of traces: takes OTLP over HTTP and decodes it. It can be told to take its time for ever."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.loadtest.process import wait_until

KINDS = {trace_pb2.Span.SPAN_KIND_SERVER: "server", trace_pb2.Span.SPAN_KIND_CLIENT: "client"}
STATUSES = {trace_pb2.Status.STATUS_CODE_ERROR: "error", trace_pb2.Status.STATUS_CODE_UNSET: ""}


class Event(msgspec.Struct, frozen=True):
    name: str
    attributes: dict[str, Any]


class SpanSeen(msgspec.Struct, frozen=True):
    """``kind``: server, client or empty; ``status``: error or empty; times in nanoseconds."""

    trace_id: str
    id: str
    parent_id: str
    name: str
    kind: str
    status: str
    begin_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: tuple[Event, ...]
    resource: dict[str, Any]


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


class Collector:
    def __init__(self) -> None:
        self.spans: list[SpanSeen] = []
        self.requests = 0
        self.hangs = False
        self._over = threading.Event()
        collector = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, self.headers["content-type"], body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, content_type: str, body: bytes) -> None:
        self.requests += 1
        if self.hangs:
            self._over.wait()
            return
        assert (path, content_type) == ("/v1/traces", "application/x-protobuf")
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(self._seen(span, _attributes(resource.resource.attributes)))

    def _seen(self, span: trace_pb2.Span, resource: dict[str, Any]) -> SpanSeen:
        return SpanSeen(
            trace_id=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            name=span.name,
            kind=KINDS.get(span.kind, ""),
            status=STATUSES[span.status.code],
            begin_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            events=tuple(Event(event.name, _attributes(event.attributes)) for event in span.events),
            resource=resource,
        )

    def trace(self, trace_id: str, count: int) -> list[SpanSeen]:
        """All spans of a trace once there are so many, by their beginnings."""
        wait_until(lambda: len(self._of(trace_id)) >= count, lambda: str(self._of(trace_id)))
        return sorted(self._of(trace_id), key=lambda span: span.begin_ns)

    def span(self, attribute: str, value: str) -> SpanSeen:
        """The one that has this, once it is here."""
        wait_until(lambda: any(span.attributes.get(attribute) == value for span in self.spans))
        return next(span for span in self.spans if span.attributes.get(attribute) == value)

    def names_below(self, root: SpanSeen) -> set[str]:
        found, ids = set(), {root.id}
        for span in sorted(self._of(root.trace_id), key=lambda span: span.begin_ns):
            if span.parent_id in ids:
                ids.add(span.id)
                found.add(span.name)
        return found

    def _of(self, trace_id: str) -> list[SpanSeen]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def running_collector() -> Iterator[Collector]:
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()


def tree(spans: list[SpanSeen]) -> list[Any]:
    """Names with their children, as nested lists, from the spans whose parents are elsewhere."""
    ids = {span.id for span in spans}

    def below(parent_id: str) -> list[Any]:
        return [
            [span.name, *below(span.id)] if below(span.id) else span.name
            for span in spans
            if span.parent_id == parent_id
        ]

    roots = [span for span in spans if span.parent_id not in ids]
    return [[span.name, *below(span.id)] if below(span.id) else span.name for span in roots]
