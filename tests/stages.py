"""`make stages`: what each stage of a request's way costs, in microseconds of one core: a report, not a test.

The stages that compute are called alone, over and over, the best of several rounds; what waits for sockets is not
here. The parts of a whole request follow with their budgets: 35 µs of a plain request are for the wire, of which
providers have 15, 25 for the store client, of which its connection has 10, 60 for the decision and the bookkeeping, 10
for log and metrics.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import uvloop

from gateway.configuration.settings import parse as settings_of
from gateway.endpoints.reception import authenticate, deadline_of, priority_of
from gateway.http.asgi_messages import Header
from gateway.request.auth import Authenticator
from gateway.request.calls import Kind, parse, tokens_of
from gateway.routing.answer import Answer
from gateway.routing.catalog import Catalog
from gateway.routing.tracing import Tracer
from gateway.telemetry.logs import Lines
from gateway.telemetry.request_counters import RequestCounters
from gateway.telemetry.request_log import RequestLine, RequestLog
from gateway.upstream.stream_progress import Progress
from shared_state.calls import replies
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.batcher import SCRIPT_S
from shared_state.connection.call import Call
from shared_state.histogram import Histogram
from shared_state.keys import Keys
from shared_state.policies import TenantLimits
from shared_state.records import Ask, Ending, Outcome, Permit, TokenCounts
from shared_state.scripts import assemble_all
from tests.stage_path import endpoint, fixed, path_us

ROUNDS, CALLS = 7, 5_000
SERVED_US = 200  # about what `make bench ARGS="--only rejections"` says of a whole request, for the shares
CONFIG = """
auth: {keys: [{name: team-a, key: key-a, rpm: 100000}]}
model_list: [{id: gpt-4-a, model_name: gpt-4}, {id: gpt-4-b, model_name: gpt-4}]
"""
BODY = b'{"model":"gpt-4","messages":[{"role":"user","content":"hi"}],"stream":false}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer key-a\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
REPLY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"gpt-4","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hello! How can I help you today?"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)
CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4","choices":[{"index":0,"delta":'
    b'{"content":" day"},"finish_reason":null}]}\n\n'
)


class NoLines(Lines):
    """Nobody writes them: the thread that does is another core's."""

    def __init__(self) -> None:
        self.is_plain = False

    def put(self, line: bytes) -> None:
        pass


def best_us(stage: Callable[[], Any]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(CALLS):
            stage()
        rounds.append((time.thread_time() - started) / CALLS * 1e6)
    return min(rounds)


def answer_of(catalog: Catalog) -> Answer:
    route = catalog.resolve("gpt-4")
    assert route is not None
    exchange = SimpleNamespace(counts=TokenCounts(9, 9), latency_ms=100)
    made = SimpleNamespace(
        candidate=route.candidates[0],
        exchange=exchange,
        outcome=Outcome.SUCCESS,
        attempts=1,
        decision_s=0.0005,
        state="shared",
        tried=(),
        cost=0,
    )
    return cast(Answer, made)


def line_of() -> RequestLine:
    return RequestLine(
        method="POST", path="/v1/chat/completions", request_id="req_1", tenant="team-a", model="gpt-4", priority=50
    )


def stages() -> dict[str, Callable[[], Any]]:
    settings = settings_of(CONFIG, {})
    authenticator, catalog = Authenticator(settings.auth), Catalog(settings)
    headers: list[Header] = [
        (b"host", b"x"),
        (b"authorization", b"Bearer key-a"),
        (b"content-type", b"application/json"),
    ]
    tenant, answer = authenticate(authenticator, headers), answer_of(catalog)
    scripts = assemble_all()
    calls = ScriptCalls(scripts, Keys("default"))
    plan = calls.plan([("gpt-4-a", 0), ("gpt-4-b", 0)], "adaptive")
    ask = Ask(50, False, 1, 10, TenantLimits(name="team-a", rpm=100_000))
    granted: list[object] = [b"granted", 1, 1, 0, 1, b"e", 1, 0, 0]
    permit = replies.acquired(granted, "t", ask, plan.ids)
    assert isinstance(permit, Permit)
    ending = Ending(Outcome.SUCCESS, 100, 9, tokens=18)
    counters, tracer, log = RequestCounters(), Tracer(), RequestLog(NoLines())

    by_function = {script.function.encode(): Histogram(SCRIPT_S) for script in scripts.values()}
    packed = calls.acquire(plan, "r.plain.1", ask)
    call = Call(packed, packed, None, None, True, True, asyncio.get_running_loop().create_future())

    streamed = line_of()
    streamed.stream = True

    def logged() -> None:
        line = line_of()
        line.status = 200
        line.served(answer)
        log.write(line, 0.0)

    def untraced() -> None:
        trace = tracer.begin(Kind.CHAT, headers, b"req_1")
        trace.begin_route("adaptive")
        trace.decided(permit, (), 1)
        attempt = trace.attempt(answer.candidate, parse(Kind.CHAT, BODY) if trace.is_recording else cast(Any, None))
        attempt.end(Outcome.SUCCESS)
        trace.end_route()
        trace.end(200)

    return {
        "auth, deadline, priority": lambda: (
            authenticate(authenticator, headers),
            deadline_of(headers, 0.0, 1000),
            priority_of(headers, tenant),
        ),
        "parse": lambda: parse(Kind.CHAT, BODY),
        "acquire: packed": lambda: calls.acquire(plan, "r.plain.1", ask),
        "acquire: reply read": lambda: replies.acquired(granted, "t", ask, plan.ids),
        "settle: packed": lambda: calls.settle(permit, ending),
        "a plain reply's tokens": lambda: tokens_of(Kind.CHAT, REPLY),
        "a stream's chunk": lambda: Progress(Kind.CHAT).see(CHUNK),
        "metrics": lambda: counters.served(answer, streamed, 0.2, 0.0005),
        "metrics, with a trace": lambda: counters.served(answer, streamed, 0.2, 0.0005, "ab" * 16),
        "metrics, a script's time": lambda: by_function[call.function].observe(0.0005),
        "metrics, a stream's chunk": lambda: counters.gap("gpt-4-a").observe(0.02),
        "log line": logged,
        "traces, switched off": untraced,
    }


async def budgets(spent_us: dict[str, float]) -> None:
    """Prints the parts of a plain request with their budgets. ``spent_us``: by stage."""
    server_us = await path_us(fixed(REPLY), lambda *_: None, REQUEST)
    app, refuse = endpoint(settings_of(CONFIG, {}), RequestLog(NoLines()), REPLY)
    whole_us = await path_us(app, refuse, REQUEST)
    recorded_us = spent_us["log line"] + spent_us["metrics"]
    store = ("acquire: packed", "acquire: reply read", "settle: packed", "metrics, a script's time")
    parts = {
        "wire to the client": (server_us, 20),
        "store client, without its connection": (sum(spent_us[name] for name in store), 15),
        "decision and bookkeeping": (whole_us - server_us - recorded_us, 60),
        "log and metrics": (recorded_us, 10),
    }
    print("\n| part of a plain request, without sockets | µs | budget |  |\n|---|---|---|---|")
    for name, (us, most) in parts.items():
        print(f"| {name} | {us:.1f} | {most} | {'over' if us > most else ''} |", flush=True)


async def main() -> None:
    gc.collect()
    gc.freeze()  # as a replica does
    print("| stage | µs | share of a request |\n|---|---|---|")
    spent_us: dict[str, float] = {}
    for name, stage in stages().items():
        spent_us[name] = best_us(stage)
        print(f"| {name} | {spent_us[name]:.2f} | {100 * spent_us[name] / SERVED_US:.1f} % |", flush=True)
    await budgets(spent_us)


if __name__ == "__main__":
    uvloop.run(main())
