"""The endpoints that return a model's answers. Plain ASGI callables: each holds the permit until the last byte is sent
and notices in every phase that the client disconnects.
"""

import asyncio
import contextlib
import logging
import time
from functools import partial

from starlette.types import Receive, Scope, Send

from gateway.configuration.store_policies import has_affinity
from gateway.endpoints.chunk_clock import ChunkClock
from gateway.endpoints.error_forms import error_event, error_status
from gateway.endpoints.http_exchange import HttpExchange
from gateway.endpoints.pings import MESSAGE_PING, NO_PINGS, PING, Pings
from gateway.endpoints.reception import ParsedRequest
from gateway.endpoints.services import Services
from gateway.errors import (
    GatewayError,
    RequestTimedOut,
    StateLost,
    UpstreamFailed,
    without_frames,
)
from gateway.http.asgi_messages import NO_STORE, ON_LEFT, WHOLE_BODY, ClientGone, Header, find, read_body, send_whole
from gateway.json.bounds import LARGE
from gateway.request.auth import Tenant
from gateway.request.calls import Kind
from gateway.request.decoded_body import accepted_coding, decoded
from gateway.request.interrupt import Cause, Interrupt
from gateway.routing.answer import Answer
from gateway.routing.client_request import ClientRequest
from gateway.routing.deadline import Deadline
from gateway.routing.final_errors import refused
from gateway.routing.rate_limit_headers import rate_headers
from gateway.telemetry.request_log import GONE, RequestLine
from shared_state.records import NO_TOKENS

_log = logging.getLogger("pllm.inference")

STREAM_HEADERS = [(b"x-accel-buffering", b"no")]
TAKE_MOST_S = 60.0  # for a client to take a plain answer
THINKING_PING_S = 15.0  # half of the shortest idle timeout that load balancers have by default


class Inference:
    """POST /v1/chat/completions, /v1/messages and the like: one object for each kind of call."""

    adds_usage = True  # its requests count in the usage of their tenants

    def __init__(self, kind: Kind, services: Services) -> None:
        self._kind = kind
        self._path = f"/v1{kind.value}"
        self._tracer = services.tracer
        self._log = services.log
        self._counters = services.counters
        self._client_retries = services.client_retries
        self._dispatcher = services.dispatcher
        self._reception = services.reception
        self._in_flight = services.in_flight
        server = services.settings.server
        self._max_body = server.max_body_bytes
        self._has_affinity = has_affinity(services.settings.router)
        self._ping_s = (server.ping_interval_ms or 0) / 1000
        self._thinking_ping_s = self._ping_s or THINKING_PING_S
        self._ping = MESSAGE_PING if kind is Kind.MESSAGE else PING
        self._replica: Header = (b"x-pllm-replica", services.replica.encode())
        self._same_headers: dict[tuple[str, str], tuple[Header, Header]] = {}  # by model and deployment that answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = self._begin(scope, receive, send)
        interrupt, line = http.interrupt, http.line
        self._in_flight.begin()
        try:
            try:
                await self._serve(http)
            except GatewayError as error:
                self._counters.failed(error, line.priority)
                line.failed(error)
                line.status = error_status(self._kind, error)
                await http.send_error(error)
                without_frames(error)
        except ClientGone:
            self._note_disconnect(line)
        except asyncio.CancelledError:
            self._note_disconnect(line)
            if not any(interrupt.take(cause) for cause in Cause):
                raise
        except Exception:
            # Outermost: a hot endpoint has no framework above it that turns a defect into an answer.
            _log.exception("defect while serving a request")
            defect = GatewayError("An internal error occurred.")
            line.failed(defect)
            await http.send_error(defect)
        finally:
            interrupt.close()
            http.held_body.release()
            self._in_flight.end()
            http.trace.end(line.status, line.error or "")
            if line.model and self.adds_usage:  # other names are the client's own, and there is no end of them
                is_error = line.error is not None and line.error != GONE
                self._dispatcher.ended(line.tenant, line.fallback or line.model, is_error)
            self._log.write(line, http.started_s)

    def _begin(self, scope: Scope, receive: Receive, send: Send) -> HttpExchange:
        started_s = time.perf_counter()
        request_id = self._reception.request_id()
        headers: list[Header] = [(b"x-request-id", request_id), self._replica, NO_STORE]
        if self._kind is Kind.MESSAGE:
            headers.append((b"request-id", request_id))  # where Anthropic's clients expect it
        trace = self._tracer.begin(self._kind, scope["headers"], request_id)
        line = RequestLine(method="POST", path=self._path, request_id=request_id.decode(), trace_id=trace.id)
        line.client = self._reception.visitors.address(scope)
        held_body = self._reception.held_body()
        return HttpExchange(self._kind, scope, receive, send, headers, started_s, Interrupt(), trace, line, held_body)

    def _note_disconnect(self, line: RequestLine) -> None:
        line.error = GONE
        if line.model and not line.outcome and not line.status:
            self._counters.left(line)

    async def _serve(self, http: HttpExchange) -> None:
        interrupt, trace, line = http.interrupt, http.trace, http.line
        tenant = self._reception.tenant(http.scope)
        line.tenant = tenant.name
        deadline = self._deadline(http)
        parsed = await self._parsed(http, tenant, deadline)
        call, route, priority = parsed.call, parsed.route, parsed.priority
        line.model, line.stream, line.priority = route.model, call.is_stream, priority
        trace.parsed(call, tenant, priority)
        http.scope[ON_LEFT](interrupt.disconnected)
        pings = NO_PINGS
        if self._ping_s and call.is_stream:
            pings = Pings(http.send, [*http.headers, *STREAM_HEADERS], self._ping_s)
        request = ClientRequest(call, tenant, priority, deadline, interrupt, trace, parsed.wishes, parsed.only)
        try:
            with pings:
                answer = await self._dispatcher.answer(request, route)
        except GatewayError as error:
            await pings.ended()
            if not pings.has_begun:
                if not isinstance(error, StateLost):
                    http.headers.append((b"x-pllm-state", self._dispatcher.state.encode()))
                raise
            self._counters.failed(error, priority)
            line.failed(error)
            line.status = 200
            await http.end_with(error)
            without_frames(error)
            return
        overhead_s = time.perf_counter() - http.started_s - answer.upstream_s
        try:
            line.overhead_ms = round(overhead_s * 1000, 2)
            await self._send_answer(http, request, answer, pings, overhead_s)
        finally:
            if call.resource is not None:
                answer.exchange.counts = NO_TOKENS  # of the call that made what it reads, which has counted them
            line.served(answer)
            took_s = time.perf_counter() - http.started_s
            trace_id = trace.id if trace.is_recording else ""
            if call.resource is None:
                self._counters.served(answer, line, took_s, overhead_s, trace_id)

    def _deadline(self, http: HttpExchange) -> Deadline:
        """Raises InvalidRequest."""
        return self._reception.deadline(http.scope["headers"], http.interrupt.time())

    async def _parsed(self, http: HttpExchange, tenant: Tenant, deadline: Deadline) -> ParsedRequest:
        """Reads the request. Raises InvalidRequest, UnsupportedCoding, ModelNotFound, Forbidden, and as `_body`."""
        headers = http.scope["headers"]
        coding = accepted_coding(headers)
        body = await self._body(http, deadline, tenant.name)
        if coding:
            body = await decoded(coding, body, self._max_body, http.held_body, tenant.name)
        self._client_retries.see(find(headers, b"x-stainless-retry-count"))
        if len(body) <= LARGE:
            return self._reception.parse_inline(self._kind, headers, body, tenant)
        return await self._reception.parse(self._kind, headers, body, tenant)

    async def _send_answer(
        self, http: HttpExchange, request: ClientRequest, answer: Answer, pings: Pings, overhead_s: float
    ) -> None:
        """Sends the answer to its client, whole or as a stream."""
        send, headers, line = http.send, http.headers, http.line
        async with answer:
            if answer.remembering:
                await answer.remembered()
            if pings is not NO_PINGS:
                await pings.ended()
            headers += self._route_headers(answer, line.model, overhead_s)
            headers += rate_headers(request.tenant.limits, answer.used)
            if not answer.exchange.is_passed_on:
                fault = refused(answer.exchange, answer.has_tried_all)
                line.failed(fault)
                if pings.has_begun:
                    await http.end_with(fault)
                else:
                    await http.send_error(fault)
            elif request.call.is_stream:
                if not pings.has_begun:
                    headers += [(b"content-type", answer.exchange.content_type), *STREAM_HEADERS]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                line.status = 200
                await self._send_stream(http, answer)
            else:
                headers.append((b"content-type", answer.exchange.content_type))
                http.interrupt.set_deadline(http.interrupt.time() + TAKE_MOST_S)
                line.status = 200
                await send_whole(send, 200, headers, answer.exchange.body)

    async def _body(self, http: HttpExchange, deadline: Deadline, tenant: str) -> bytes:
        """Reads the body. A client that never finishes it has the time of the whole request. Raises RequestTimedOut,
        RequestTooLarge, ReplicaFault.
        """
        whole: bytes | None = http.scope.get(WHOLE_BODY)
        if whole is not None and len(whole) <= self._max_body:
            http.held_body.add(tenant, len(whole))
            return whole
        interrupt = http.interrupt
        interrupt.set_deadline(deadline.at)
        try:
            return await read_body(http.scope, http.receive, self._max_body, partial(http.held_body.add, tenant))
        except asyncio.CancelledError:
            if not interrupt.take(Cause.DEADLINE):
                raise
            raise RequestTimedOut("The request body did not arrive in time.") from None
        finally:
            interrupt.clear_deadline()

    async def _send_stream(self, http: HttpExchange, answer: Answer) -> None:
        """Sends the answer chunk by chunk. A failure after the first chunk ends in one error event without `[DONE]`."""
        send, interrupt, line = http.send, http.interrupt, http.line
        try:
            ping = self._ping if answer.exchange.is_translated else b""
            clock = ChunkClock(self._counters.gap(answer.candidate.deployment.id), ping, self._thinking_ping_s)
            outlet = clock.outlet(http.scope)
            async with contextlib.aclosing(answer.chunks(outlet)) as chunks:
                async for chunk in chunks:
                    chunk = clock.passed(chunk)
                    if chunk or outlet:  # without bytes this waits until the client has room for what the outlet took
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            last = b""
        except UpstreamFailed as error:
            line.error = error.code
            last = error_event(self._kind, error, answer.exchange.next_number)
            without_frames(error)
        except asyncio.CancelledError:
            if interrupt.take(Cause.SILENCE):
                late = answer.silent()
            elif interrupt.take(Cause.DEADLINE):
                late = answer.out_of_time()
            else:
                raise
            line.error = late.code
            if not interrupt.is_waiting:
                raise ClientGone from None  # it reads too slowly to get the error as well
            last = error_event(self._kind, late, answer.exchange.next_number)
        except Exception:
            _log.exception("defect while sending a stream")
            line.error = "internal_error"
            answer.defect()
            last = error_event(self._kind, GatewayError("An internal error occurred."), answer.exchange.next_number)
        await send({"type": "http.response.body", "body": last})

    def _route_headers(self, answer: Answer, model: str, overhead_s: float) -> list[Header]:
        deployment = answer.candidate.deployment
        named = (deployment.model_name, deployment.id)  # a reload may give a deployment to another model
        same = self._same_headers.get(named)
        if concrete := answer.candidate.model:  # clients choose the models of a pattern, so these are not kept
            same = (b"x-pllm-model", concrete.encode()), (b"x-pllm-deployment", deployment.id.encode())
        elif same is None:
            names = (b"x-pllm-model", deployment.model_name.encode()), (b"x-pllm-deployment", deployment.id.encode())
            same = self._same_headers[named] = names
        headers = [
            *same,
            (b"x-pllm-attempts", b"%d" % answer.attempts),
            (b"x-pllm-overhead-ms", b"%.2f" % (overhead_s * 1000)),
            (b"x-pllm-decision-ms", b"%.2f" % (answer.decision_s * 1000)),
            (b"x-pllm-state", answer.state.encode()),
        ]
        headers += answer.exchange.provider_headers
        if self._has_affinity:
            headers.append((b"x-pllm-affinity", answer.affinity.encode()))
        if answer.is_last_resort:
            headers.append((b"x-pllm-last-resort", b"1"))
        if answer.candidate.tier:
            headers.append((b"x-pllm-fallback", f"{model}>{concrete or deployment.model_name}".encode()))
        return headers
