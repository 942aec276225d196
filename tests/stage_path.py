"""The path of one plain request through this process, without sockets, for `make stages`: bytes of a client in, bytes
of the answer out. The store grants at once and the provider answers at once, so what is left is the gateway's own work.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.configuration.settings import Settings
from gateway.endpoints.early_refusal import EarlyRefusal
from gateway.endpoints.inference import Inference
from gateway.endpoints.reception import Reception
from gateway.endpoints.services import Services
from gateway.endpoints.visitors import Visitors
from gateway.http.client_clock import Timeouts
from gateway.http.client_connections import ClientConnections
from gateway.http.http1 import Http1
from gateway.http.http_text import Refuse
from gateway.request.auth import Authenticator
from gateway.request.body_memory import BodyMemory
from gateway.request.calls import Call, Kind
from gateway.request.in_flight import InFlight
from gateway.request.wrong_keys import WrongKeys
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.dispatch import Dispatcher
from gateway.routing.tracing import Tracer
from gateway.telemetry.request_counters import ClientRetries, RequestCounters
from gateway.telemetry.request_log import RequestLog
from gateway.upstream.classify import SUCCESS
from gateway.upstream.exchange import Exchange
from shared_state.calls.script_calls import ScriptCalls
from shared_state.keys import Keys
from shared_state.records import Ask, Permit, Plan, TokenCounts
from shared_state.scripts import assemble_all
from shared_state.usage import Usage

ROUNDS, CALLS, CONNECTIONS = 7, 3_200, 32
MEMORY = 1 << 30  # bytes for request bodies


class Client(asyncio.Transport):
    """A client that reads at once. ``answered``: the responses of all clients."""

    answered = 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 50_000) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None:
        Client.answered += 1


class GrantingStore:
    """A store that grants every permit."""

    state = "shared"

    def __init__(self) -> None:
        self._settled = asyncio.get_running_loop().create_future()
        self._settled.set_result(None)
        self.usage = Usage(cast(Any, self), ScriptCalls(assemble_all(), Keys("default")), "r0")

    def call(self, _packed: bytes) -> Any:
        """Takes counts at once."""
        return self._settled

    def on_overdue(self, _call: object) -> None:
        pass

    def state_of(self, _deployment_id: str) -> str:
        return self.state

    def plan(self, candidates: list[tuple[str, int]], strategy: str, _has_more: bool = False) -> Plan:
        return Plan(tuple(id_ for id_, _ in candidates), tuple(tier for _, tier in candidates), strategy, b"")

    async def acquire(self, plan: Plan, ask: Ask) -> Permit:
        return Permit("t", 0, plan.ids[0], 1, False, ask, 1)

    def settle(self, *_ending: object) -> Any:
        return self._settled


class InstantUpstream:
    """Providers that answer every call at once with the same reply."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    def serves(self, _deployment_id: str, _kind: Kind) -> bool:
        return True

    async def send(self, _id: str, _call: Call, _context: object, on_activity: Callable[[], None]) -> Exchange:
        on_activity()
        exchange = Exchange(SUCCESS, status=200, body=self._reply)
        exchange.counts = TokenCounts(9, 9)
        return exchange


def endpoint(settings: Settings, log: RequestLog, reply: bytes) -> tuple[Inference, Refuse]:
    """Returns the endpoint of chat completions, and what may refuse its requests from their bytes."""
    authenticator, store = Authenticator(settings.auth), cast(Any, GrantingStore())
    admission = Admission(store, settings.router, authenticator.is_welcome)
    upstream = cast(Any, InstantUpstream(reply))
    dispatcher = Dispatcher(store, admission, upstream, Catalog(settings), settings.router)
    reception = Reception(
        dispatcher,
        authenticator,
        settings.router.request_timeout_ms,
        BodyMemory(MEMORY, authenticator.is_shared),
        Visitors((), WrongKeys()),
    )
    services = Services(
        settings, "r0", reception, dispatcher, InFlight(), RequestCounters(), ClientRetries(), Tracer(), log
    )
    now = asyncio.get_running_loop().time
    return Inference(Kind.CHAT, services), EarlyRefusal(services, admission.recent_shedding, now)


def fixed(reply: bytes) -> ASGIApp:
    """Returns an application that gives every request the same answer: the server has to do no less for it."""
    names = (b"content-type", b"x-request-id", b"x-pllm-replica", b"cache-control", b"x-pllm-model", b"x-pllm-state")
    headers = [*((name, b"application/json") for name in names), (b"content-length", b"%d" % len(reply))]

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    return app


async def path_us(app: Callable[[Scope, Receive, Send], Awaitable[None]], refuse: Refuse, request: bytes) -> float:
    """Returns the µs of CPU from a request's bytes to its answer's, the best of several rounds."""
    connections, rounds = ClientConnections(CONNECTIONS), []
    clients = [Http1(app, refuse, Timeouts(), connections, lambda _closed: None) for _ in range(CONNECTIONS)]
    for each in clients:
        each.connection_made(Client())
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(CALLS // CONNECTIONS):
            awaited = Client.answered + CONNECTIONS
            for each in clients:
                each.data_received(request)
            while Client.answered < awaited:
                await asyncio.sleep(0)
        rounds.append((time.thread_time() - started) / CALLS * 1e6)
    for each in clients:
        each.connection_lost(None)
    return min(rounds)
