"""A request that is shed from its bytes alone gets the answer that it would have got on the long way; whatever is not
certain to be shed, or would be refused for another reason first, is left to that way.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.configuration.settings import parse
from gateway.endpoints.early_refusal import EarlyRefusal
from gateway.endpoints.reception import Reception
from gateway.endpoints.services import Services
from gateway.endpoints.visitors import Visitors
from gateway.request.auth import Authenticator
from gateway.request.body_memory import BodyMemory
from gateway.request.in_flight import InFlight
from gateway.request.wrong_keys import WrongKeys
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.dispatch import Dispatcher
from gateway.routing.tracing import Tracer
from gateway.telemetry.request_counters import ClientRetries, RequestCounters
from gateway.telemetry.request_log import RequestLog
from gateway.upstream.client import UpstreamClient
from shared_state.failover import Failover
from shared_state.records import Plan, Rejection
from tests.loadtest.process import CHAT, chat_body
from tests.support.wire import chat_bytes, request_bytes

CONFIG = """
server: {max_body: 2KiB}
auth: {keys: [{name: vital, key: key-critical, priority: critical}, {name: team, key: key-normal, models: [m]}]}
model_list: [{id: m-1, model_name: m}, {id: other-1, model_name: other}]
"""
NORMAL = {"authorization": "Bearer key-normal"}
BODY = json.dumps(chat_body(model="m")).encode()
SHED = Rejection("shed", "active_requests", 1500, 1, ())


class NoStore:
    """A store that must not be called. ``ended``: the requests that would be sent to it later as usage."""

    state = "shared"

    def __init__(self) -> None:
        self.ended: list[tuple[str, str, bool]] = []
        self.usage = SimpleNamespace(ended=lambda *request: self.ended.append(request))

    def plan(self, _candidates: object, _strategy: object, _has_more: bool) -> Plan | None:
        return None

    def on_overdue(self, _heard: object) -> None:
        """No breaker ever opens here."""


class Rig:
    def __init__(self, config: str = CONFIG) -> None:
        settings = parse(config, {})
        self.no_store = NoStore()
        store = cast(Failover, self.no_store)
        self.admission = Admission(store, settings.router)
        self.admission.recent_shedding.note(SHED, 50, 0.0)
        self.now = 0.0
        self.upstream = UpstreamClient(settings.model_list)
        catalog = Catalog(settings)
        memory = BodyMemory(1 << 20, lambda: False)
        self.dispatcher = Dispatcher(store, self.admission, self.upstream, catalog, settings.router)
        self.counters, self.client_retries = RequestCounters(), ClientRetries()
        visitors = Visitors((), WrongKeys(lambda: 0.0))
        reception = Reception(
            self.dispatcher, Authenticator(settings.auth), settings.router.request_timeout_ms, memory, visitors
        )
        services = Services(
            settings=settings,
            replica="r1",
            reception=reception,
            dispatcher=self.dispatcher,
            in_flight=InFlight(),
            counters=self.counters,
            client_retries=self.client_retries,
            tracer=Tracer(),
            log=RequestLog(None),
        )
        self._refusal = EarlyRefusal(services, self.admission.recent_shedding, lambda: self.now)

    def refuse(self, data: bytes) -> bytes | None:
        return self._refusal(data, ("203.0.113.9", 4711))


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Everything between the bytes and a store that has just shed load."""

    async def make() -> Rig:
        return Rig()

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        made = loop.run_until_complete(make())
        yield made
        loop.run_until_complete(made.upstream.close())


@pytest.fixture
def open_rig() -> Iterator[Rig]:
    """As `rig`, without keys."""

    async def make() -> Rig:
        return Rig(CONFIG.replace("auth:", "#"))

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        made = loop.run_until_complete(make())
        yield made
        loop.run_until_complete(made.upstream.close())


def call(headers: dict[str, str] | None = None, **fields: Any) -> bytes:
    return chat_bytes(headers=NORMAL | (headers or {}), **({"model": "m"} | fields))


def test_answer_is_a_whole_one(rig: Rig) -> None:
    answer = rig.refuse(call())

    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert status == b"HTTP/1.1 503 Service Unavailable"
    assert re.fullmatch(rb"req_[0-9a-f]{32}", headers.pop(b"x-request-id"))
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers.pop(b"date"))
    assert headers == {
        b"x-pllm-replica": b"r1",
        b"x-pllm-state": b"shared",
        b"cache-control": b"no-store",
        b"content-type": b"application/json",
        b"retry-after": b"2",
        b"retry-after-ms": b"1500",
        b"content-length": b"%d" % len(body),
    }
    assert json.loads(body)["error"]["code"] == "server_is_overloaded"


def test_page_of_another_site_gets_nothing_from_a_gateway_without_keys(open_rig: Rig) -> None:
    answers = [open_rig.refuse(call(headers)) for headers in ({}, {"host": "evil.example"}, {"origin": "http://a"})]

    assert [answer is None for answer in answers] == [False, True, True]


def test_every_answer_has_an_id_of_its_own_and_is_counted(rig: Rig) -> None:
    answers = {rig.refuse(call({"x-stainless-retry-count": "1"})) for _ in range(3)}

    assert len(answers) == 3
    assert rig.counters.refused["503", "server_is_overloaded"] == 3
    assert rig.client_retries.count == 3


def test_refusal_is_an_error_of_its_tenant(rig: Rig) -> None:
    rig.refuse(call())

    assert rig.no_store.ended == [("team", "m", True)]


def test_anthropic_clients_get_their_own_form(rig: Rig) -> None:
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}).encode()
    answer = rig.refuse(request_bytes("POST", "/v1/messages", body, {"x-api-key": "key-normal"}))

    assert answer is not None
    head, _, shown = answer.partition(b"\r\n\r\n")
    assert json.loads(shown)["error"]["type"] == "overloaded_error"
    ids = re.findall(rb"\r\n(?:x-request-id|request-id): (\S+)", head)
    assert len(ids) == 2
    assert ids[0] == ids[1]


def test_response_names_the_store_in_use(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.refuse(call())
    monkeypatch.setattr(NoStore, "state", "standby")

    assert b"x-pllm-state: standby\r\n" in (rig.refuse(call()) or b"")


def chunked(trailer: bytes, key: bytes = b"key-normal") -> bytes:
    head = b"POST %b HTTP/1.1\r\nhost: test\r\nauthorization: Bearer %b\r\ntransfer-encoding: chunked\r\n\r\n"
    return head % (CHAT.encode(), key) + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(BODY), BODY, trailer)


USUAL = {
    "keep-alive": lambda: call({"connection": "keep-alive"}),
    "chunked body": lambda: chunked(b""),
    "close in a trailer": lambda: chunked(b"connection: close\r\n"),
    "lower priority": lambda: call({"x-pllm-priority": "bulk"}),
    "shorter time": lambda: call({"x-pllm-timeout": "5s"}),
}


@pytest.mark.parametrize("make", USUAL.values(), ids=USUAL)
def test_usual_request_is_shed(rig: Rig, make: Callable[[], bytes]) -> None:
    assert rig.refuse(make()) is not None


LEFT_ALONE = {
    "critical": lambda: chat_bytes(model="m", headers={"authorization": "Bearer key-critical"}),
    "priority in a trailer": lambda: chunked(b"x-pllm-priority: bulk\r\n", b"key-critical"),
    "key in a trailer": lambda: chunked(b"authorization: Bearer key-normal\r\n", b"wrong"),
    "wrong key": lambda: chat_bytes(model="m", headers={"authorization": "Bearer wrong"}),
    "no key": lambda: chat_bytes(model="m"),
    "unknown model": lambda: call(model="none"),
    "forbidden model": lambda: call(model="other"),
    "unknown priority": lambda: call({"x-pllm-priority": "most"}),
    "no duration": lambda: call({"x-pllm-timeout": "soon"}),
    "no messages": lambda: call(messages=[]),
    "bad JSON": lambda: request_bytes("POST", CHAT, b"{", NORMAL),
    "two models": lambda: request_bytes("POST", CHAT, BODY[:-1] + b', "model": "other"}', NORMAL),
    "model in other letters": lambda: request_bytes("POST", CHAT, BODY[:-1] + b', "mOdel": "other"}', NORMAL),
    "body too large": lambda: call(messages=[{"role": "user", "content": "x" * 3000}]),
    "not the whole body": lambda: call()[:-1],
    "not the whole head": lambda: call()[:30],
    "two requests": lambda: call() * 2,
    "one and a half": lambda: call() + call()[:10],
    "last request": lambda: call({"connection": "close"}),
    "change of protocol": lambda: call({"connection": "Upgrade", "upgrade": "h2c"}),
    "waits to send": lambda: call({"expect": "100-continue"}),
    "HTTP/1.0": lambda: call().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "GET": lambda: call().replace(b"POST", b"GET", 1),
    "query": lambda: call().replace(CHAT.encode(), CHAT.encode() + b"?a=b", 1),
    "other path": lambda: call().replace(CHAT.encode(), b"/v1/admin/tenants", 1),
    "head too large": lambda: call({"x-much": "x" * 70_000}),
    "no host": lambda: call().replace(b"host: localhost\r\n", b"", 1),
    "two hosts": lambda: call().replace(b"host: localhost\r\n", b"host: localhost\r\n" * 2, 1),
    "host with a path": lambda: call({"host": "localhost/v1"}),
    "no HTTP": lambda: b"\x16\x03\x01\r\n\r\n",
}


@pytest.mark.parametrize("make", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_unusual_request_takes_the_ordinary_path_and_leaves_no_trace(rig: Rig, make: Callable[[], bytes]) -> None:
    assert rig.refuse(make()) is None
    assert rig.refuse(call()) is not None


def test_nothing_is_refused_once_the_moment_is_over(rig: Rig) -> None:
    rig.now = 1.0

    assert rig.refuse(call()) is None


def test_request_that_could_queue_is_not_shed_early(rig: Rig) -> None:
    rig.admission.queues["m"].waiting = 1

    assert rig.refuse(call()) is None
