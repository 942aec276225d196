"""The endpoints that are asked for answers. Plain ASGI callables: each owns the permit until the last byte is sent and
sees the client leave in every phase.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial

from starlette.types import Receive, Scope, Send

from gateway.configuration.settings import Settings
from gateway.endpoints.error_forms import error_body, error_event, error_status
from gateway.endpoints.pings import MESSAGE_PING, PING, Pings
from gateway.endpoints.reception import Reception
from gateway.errors import (
    GatewayError,
    RequestTimedOut,
    StateLost,
    UpstreamFailed,
    without_frames,
)
from gateway.http.asgi_messages import NO_STORE, ClientGone, Header, find, read_body, send_error, send_whole
from gateway.request.auth import Tenant
from gateway.request.body_memory import HeldBody
from gateway.request.calls import Call, Kind
from gateway.request.in_flight import Flight
from gateway.request.interrupt import Cause, Interrupt
from gateway.routing.answer import Answer
from gateway.routing.deadline import Deadline
from gateway.routing.dispatch import Dispatcher
from gateway.routing.final_errors import refused
from gateway.routing.rate_limit_headers import rate_headers
from gateway.routing.tracing import Trace, Tracer
from gateway.telemetry.request_counters import ClientRetries, RequestCounters
from gateway.telemetry.request_log import GONE, RequestLine, RequestLog

_log = logging.getLogger("pllm.inference")

STREAM_HEADERS = [(b"x-accel-buffering", b"no")]
TAKE_MOST_S = 60.0  # for a client to take a plain answer
THINKING_PING_S = 15.0  # half of the shortest idle timeout that load balancers have by default


class Inference:
    """POST /v1/chat/completions, /v1/messages and their kin: one object for each kind of call."""

    def __init__(
        self,
        kind: Kind,
        dispatcher: Dispatcher,
        reception: Reception,
        settings: Settings,
        replica: str,
        flight: Flight,
        retries: ClientRetries,
        measures: RequestCounters,
        tracer: Tracer,
        log: RequestLog,
    ) -> None:
        self._kind = kind
        self._path = f"/v1{kind.value}"
        self._tracer = tracer
        self._log = log
        self._measures = measures
        self._retries = retries
        self._dispatcher = dispatcher
        self._reception = reception
        self._max_body = settings.server.max_body_bytes
        self._ping_s = (settings.server.ping_interval_ms or 0) / 1000
        self._thinking_ping_s = self._ping_s or THINKING_PING_S
        self._ping = MESSAGE_PING if kind is Kind.MESSAGE else PING
        self._replica: Header = (b"x-pllm-replica", replica.encode())
        self._flight = flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = self._reception.request_id()
        headers: list[Header] = [(b"x-request-id", request_id), self._replica, NO_STORE]
        if self._kind is Kind.MESSAGE:
            headers.append((b"request-id", request_id))  # where Anthropic's clients look for it
        interrupt = Interrupt()
        trace = self._tracer.begin(self._kind, scope["headers"], request_id)
        line = RequestLine(method="POST", path=self._path, request_id=request_id.decode(), trace_id=trace.id)
        line.client = self._reception.visitors.address(scope)
        held = self._reception.held_body()
        self._flight.begin()
        try:
            try:
                await self._serve(scope, receive, send, headers, interrupt, started, trace, line, held)
            except GatewayError as error:
                self._measures.failed(error, line.priority)
                line.failed(error)
                line.status = error_status(self._kind, error)
                await send_error(send, error, error_status(self._kind, error), error_body(self._kind, error), headers)
                without_frames(error)
        except ClientGone:
            self._left(line)
        except asyncio.CancelledError:
            self._left(line)
            if not any(interrupt.take(cause) for cause in Cause):
                raise
        except Exception:
            # Outermost: no framework stands above a hot endpoint to turn a defect into an answer.
            _log.exception("defect while serving a request")
            defect = GatewayError("An internal error occurred.")
            line.failed(defect)
            await send_error(send, defect, error_status(self._kind, defect), error_body(self._kind, defect), headers)
        finally:
            interrupt.close()
            held.release()
            self._flight.end()
            trace.end(line.status, line.error or "")
            self._log.write(line, started)

    def _left(self, line: RequestLine) -> None:
        line.error = GONE
        if line.model and not line.outcome and not line.status:
            self._measures.left(line.model, line.priority)

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: list[Header],
        interrupt: Interrupt,
        started: float,
        trace: Trace,
        line: RequestLine,
        held: HeldBody,
    ) -> None:
        told: list[Header] = scope["headers"]
        tenant = self._reception.tenant(scope)
        line.tenant = tenant.name
        deadline = self._reception.deadline(told, interrupt.time())
        body = await self._body(scope, receive, interrupt, deadline, partial(held.add, tenant.name))
        self._retries.see(find(told, b"x-stainless-retry-count"))
        request = await self._reception.read(self._kind, told, body, tenant)
        call, route, priority = request.call, request.route, request.priority
        line.model, line.stream, line.priority = route.model, call.is_stream, priority
        trace.asked(call, tenant, priority)
        interrupt.watch_disconnect(receive)
        pings = Pings(send, [*headers, *STREAM_HEADERS], self._ping_s if call.is_stream else 0)
        try:
            with pings:
                answer = await self._dispatcher.answer(call, route, tenant, priority, deadline, interrupt, trace)
        except GatewayError as error:
            await pings.ended()
            if not pings.has_begun:
                if not isinstance(error, StateLost):
                    headers.append((b"x-pllm-state", self._dispatcher.state.encode()))
                raise
            self._measures.failed(error, priority)
            line.failed(error)
            line.status = 200
            await send({"type": "http.response.body", "body": error_event(self._kind, error)})
            without_frames(error)
            return
        overhead_s = time.perf_counter() - started - answer.upstream_s
        try:
            line.overhead_ms = round(overhead_s * 1000, 2)
            await self._give(send, answer, call, line, tenant, headers, pings, interrupt, overhead_s)
        finally:
            line.served(answer)
            took_s = time.perf_counter() - started
            seen = trace.id if trace.is_recording else ""
            self._measures.served(answer, route.model, priority, call.is_stream, took_s, overhead_s, seen)

    async def _give(
        self,
        send: Send,
        answer: Answer,
        call: Call,
        line: RequestLine,
        tenant: Tenant,
        headers: list[Header],
        pings: Pings,
        interrupt: Interrupt,
        overhead_s: float,
    ) -> None:
        """The answer in hand to its client, whole or as a stream."""
        async with answer:
            await pings.ended()
            headers += _route_headers(answer, line.model, overhead_s) + rate_headers(tenant.limits, answer.used)
            if not answer.exchange.is_passed_on:
                fault = refused(answer.candidate, answer.exchange, answer.has_tried_all)
                line.failed(fault)
                if pings.has_begun:
                    await send({"type": "http.response.body", "body": error_event(self._kind, fault)})
                else:
                    await send_error(
                        send, fault, error_status(self._kind, fault), error_body(self._kind, fault), headers
                    )
            elif call.is_stream:
                if not pings.has_begun:
                    headers += [(b"content-type", answer.exchange.content_type), *STREAM_HEADERS]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                line.status = 200
                await self._send_stream(send, answer, interrupt, line)
            else:
                headers.append((b"content-type", answer.exchange.content_type))
                interrupt.set_deadline(interrupt.time() + TAKE_MOST_S)
                line.status = 200
                await send_whole(send, 200, headers, answer.exchange.body)

    async def _body(
        self, scope: Scope, receive: Receive, interrupt: Interrupt, deadline: Deadline, hold: Callable[[int], object]
    ) -> bytes:
        """A client that never finishes its body has the time of the whole request. Raises RequestTimedOut."""
        interrupt.set_deadline(deadline.at)
        try:
            return await read_body(scope, receive, self._max_body, hold)
        except asyncio.CancelledError:
            if not interrupt.take(Cause.DEADLINE):
                raise
            raise RequestTimedOut("The request body did not arrive in time.") from None
        finally:
            interrupt.clear_deadline()

    async def _send_stream(self, send: Send, answer: Answer, interrupt: Interrupt, line: RequestLine) -> None:
        """Chunk by chunk. What breaks after the first one ends in one error event without `[DONE]`."""
        try:
            gaps, before = self._measures.gap(answer.candidate.deployment.id), 0.0
            sent, is_translated = time.perf_counter(), answer.exchange.is_translated
            async with contextlib.aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    now = time.perf_counter()
                    if before:
                        gaps.observe(now - before)
                    before = now
                    # Half of the interval, or a provider's signs just before it would double the client's silence.
                    if not chunk and is_translated and now - sent >= self._thinking_ping_s / 2:
                        chunk = self._ping  # the model thinks, and the translation has no words for it
                    if chunk:
                        sent = now
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            last = b""
        except UpstreamFailed as error:
            line.error = error.code
            last = error_event(self._kind, error, answer.sequence_number)
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
                raise ClientGone from None  # it reads too slowly to be told
            last = error_event(self._kind, late, answer.sequence_number)
        except Exception:
            _log.exception("defect while sending a stream")
            line.error = "internal_error"
            answer.defect()
            last = error_event(self._kind, GatewayError("An internal error occurred."), answer.sequence_number)
        await send({"type": "http.response.body", "body": last})


def _route_headers(answer: Answer, model: str, overhead_s: float) -> list[Header]:
    deployment = answer.candidate.deployment
    headers = [
        (b"x-pllm-model", deployment.model_name.encode()),
        (b"x-pllm-deployment", deployment.id.encode()),
        (b"x-pllm-attempts", b"%d" % answer.attempts),
        (b"x-pllm-overhead-ms", b"%.2f" % (overhead_s * 1000)),
        (b"x-pllm-decision-ms", b"%.2f" % (answer.decision_s * 1000)),
        (b"x-pllm-state", answer.state.encode()),
    ]
    if answer.exchange.request_id:
        headers.append((b"x-pllm-provider-request-id", answer.exchange.request_id))
    if answer.is_last_resort:
        headers.append((b"x-pllm-last-resort", b"1"))
    if answer.candidate.tier:
        headers.append((b"x-pllm-fallback", f"{model}>{deployment.model_name}".encode()))
    return headers
