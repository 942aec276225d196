"""Traces as a collector gets them: whole trees, decoded from OTLP over HTTP."""

import itertools
from collections.abc import Iterator

import msgspec
import pytest

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import ConfigurationError
from gateway.request.calls import Kind
from gateway.routing.tracing import ENDPOINTS, NO_TRACE, Tracer, is_wanted
from gateway.telemetry.otlp import tracer
from loadtest.provider.behaviour import Behaviour
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.collector import Collector, SpanSeen, running_collector, tree
from tests.support.raw_provider import RawProvider
from tests.support.wire import Call, chat_bytes

CALLER_SPAN = "00f067aa0ba902b7"
SERVER = "POST /v1/chat/completions"
PLAIN = [[SERVER, ["gateway.route", ["chat gpt-4", "state.settle"]]]]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced_cluster(
    store: EmbeddedStore,
    provider_processes: list[ProviderProcess],
    raw_provider_thread: RawProvider,
    collector: Collector,
) -> Iterator[Cluster]:
    first, second = provider_processes
    models = [
        deployment("primary", first, "gpt-4"),
        deployment("saved-primary", first, "saved", provider_fields={"model": "gpt-4"}),
        deployment("spare", second, "spare", provider_fields={"model": "gpt-4"}),
        deployment("trusted", raw_provider_thread.url, "trusted", provider_fields={"trace_context": True}),
        deployment("stranger", raw_provider_thread.url, "stranger"),
        deployment("hasty", first, "hasty", timeout="300ms"),
    ]
    with running_cluster(
        store,
        provider_processes,
        models,
        domain="traced",
        replicas=2,
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"},
        router={
            "fallbacks": {"saved": ["spare"]},
            "latency_threshold": "8s",
            "load_shedding": {"max_active_requests": 5},
            "queue": {"max_waiting": 0},
        },
        auth={"admin": "local", "keys": [{"name": "team-a", "key": "key-a"}]},
    ) as running:
        yield running


@pytest.fixture
def traced(traced_cluster: Cluster) -> Iterator[Cluster]:
    for each in traced_cluster.providers:
        each.behave(**msgspec.structs.asdict(Behaviour()))
        each.request("POST", "/control/reset")
    traced_cluster.forget()
    yield traced_cluster
    traced_cluster.check()


@pytest.fixture
def replica(traced: Cluster) -> ReplicaProcess:
    return traced.replicas[0]


def caller(flags: str = "01") -> tuple[str, dict[str, str]]:
    """A trace that a caller has begun: its id, and the headers that tell of it."""
    trace_id = f"{next(_numbers):032x}"
    return trace_id, {"traceparent": f"00-{trace_id}-{CALLER_SPAN}-{flags}", "authorization": "Bearer key-a"}


def named(spans: list[SpanSeen], name: str) -> SpanSeen:
    (found,) = [span for span in spans if span.name == name]
    return found


def test_plain_answer_is_one_tree_below_its_caller(replica: ReplicaProcess, collector: Collector) -> None:
    trace_id, headers = caller()
    answer = replica.chat(headers=headers)
    spans = collector.trace(trace_id, 4)

    assert answer.status == 200
    assert tree(spans) == PLAIN
    server, route, call, settle = spans
    assert (server.parent_id, server.kind, server.status) == (CALLER_SPAN, "server", "")
    assert (
        server.attributes.items()
        >= {
            "http.request.method": "POST",
            "http.route": "/v1/chat/completions",
            "http.response.status_code": 200,
            "gen_ai.request.model": "gpt-4",
            "pllm.tenant": "team-a",
            "pllm.request_id": answer.headers["x-request-id"],
        }.items()
    )
    assert (call.kind, call.status) == ("client", "")
    assert (
        call.attributes.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4",
            "server.address": "127.0.0.1",
            "http.response.status_code": 200,
            "pllm.deployment": "primary",
            "pllm.outcome": "success",
        }.items()
    )
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    assert server.begin_ns <= route.begin_ns <= call.begin_ns <= call.end_ns <= settle.end_ns
    assert server.resource.items() >= {"service.name": "pllm-gateway", "service.instance.id": replica.name}.items()


def test_route_span_explains_the_chosen_deployment(replica: ReplicaProcess, collector: Collector) -> None:
    trace_id, headers = caller()
    replica.force("saved-primary", "open")
    replica.chat("saved", headers=headers)
    route = named(collector.trace(trace_id, 4), "gateway.route")

    assert route.attributes["pllm.strategy"] == "adaptive"
    assert route.attributes["pllm.deployment"] == "spare"
    assert route.attributes["pllm.candidates"] == ["saved-primary", "spare"]
    assert route.attributes["pllm.candidate.verdicts"] == ["forced_open", "eligible"]
    assert len(route.attributes["pllm.candidate.scores"]) == 2


def test_fallback_is_two_calls_of_which_the_first_failed(
    replica: ReplicaProcess, traced: Cluster, collector: Collector
) -> None:
    trace_id, headers = caller()
    traced.providers[0].behave(error_rate=1, error_status=500)
    answer = replica.chat("saved", headers=headers)
    spans = collector.trace(trace_id, 6)

    assert answer.status == 200
    call = ["chat gpt-4", "state.settle"]
    assert tree(spans) == [[SERVER, ["gateway.route", call, call]]]
    failed, served = [span for span in spans if span.kind == "client"]
    assert (failed.status, failed.attributes["error.type"], failed.attributes["pllm.outcome"]) == (
        "error",
        "500",
        "failure",
    )
    (why,) = failed.events
    assert (why.name, why.attributes["exception.type"]) == ("exception", "500")
    assert why.attributes["exception.message"].startswith("500 ")
    assert (served.status, served.attributes["pllm.deployment"], served.events) == ("", "spare", ())
    route = named(spans, "gateway.route")
    assert [event.attributes["pllm.deployment"] for event in route.events] == ["saved-primary", "spare"]
    assert (named(spans, SERVER).status, route.status) == ("", "")


def test_stream_ends_with_its_last_byte(replica: ReplicaProcess, traced: Cluster, collector: Collector) -> None:
    trace_id, headers = caller()
    traced.providers[0].behave(chunk_gap_ms=20)
    replica.chat(headers=headers, stream=True)
    spans = collector.trace(trace_id, 4)

    assert tree(spans) == PLAIN
    call, route = named(spans, "chat gpt-4"), named(spans, "gateway.route")
    assert call.attributes["gen_ai.request.stream"] is True
    assert 0 < call.attributes["gen_ai.response.time_to_first_chunk"] < (call.end_ns - call.begin_ns) / 1e9
    assert route.end_ns < call.end_ns  # it was decided with the first event


def test_stream_that_breaks_is_an_error_with_status_200(
    replica: ReplicaProcess, traced: Cluster, collector: Collector
) -> None:
    trace_id, headers = caller()
    traced.providers[0].behave(cut_after_chunks=1)
    answer = replica.chat(headers=headers, stream=True)
    spans = collector.trace(trace_id, 4)

    assert answer.status == 200
    server, call = named(spans, SERVER), named(spans, "chat gpt-4")
    assert (server.status, server.attributes["http.response.status_code"]) == ("error", 200)
    assert (call.status, call.attributes["pllm.outcome"]) == ("error", "failure")


def test_client_that_leaves_ends_every_span(replica: ReplicaProcess, traced: Cluster, collector: Collector) -> None:
    trace_id, headers = caller()
    traced.providers[0].behave(stall_rate=1)
    with Call(replica.address, chat_bytes(model="gpt-4", headers=headers)):
        traced.providers[0].wait_for(in_flight=1)
    spans = collector.trace(trace_id, 4)

    assert tree(spans) == PLAIN
    assert named(spans, SERVER).attributes["error.type"] == "client_disconnected"
    assert "http.response.status_code" not in named(spans, SERVER).attributes
    assert named(spans, "chat gpt-4").attributes["pllm.outcome"] == "cancelled"


def test_attempt_that_takes_too_long_is_a_timeout(
    replica: ReplicaProcess, traced: Cluster, collector: Collector
) -> None:
    trace_id, headers = caller()
    traced.providers[0].behave(stall_rate=1)
    answer = replica.chat("hasty", headers=headers)
    spans = collector.trace(trace_id, 4)

    assert answer.status == 504
    call = named(spans, "chat hasty")
    assert (call.status, call.attributes["error.type"]) == ("error", "timeout")
    assert (named(spans, SERVER).status, named(spans, "gateway.route").status) == ("error", "error")


def test_shed_request_has_a_route_without_a_call(
    replica: ReplicaProcess, traced: Cluster, collector: Collector
) -> None:
    traced.providers[0].behave(stall_rate=1)
    held = [replica.begin_chat(headers={"authorization": "Bearer key-a"}) for _ in range(4)]
    traced.providers[0].wait_for(in_flight=4)
    trace_ids = []
    for _ in range(20):  # the first is shed by the store, those that follow at once from memory
        trace_id, headers = caller()
        assert replica.chat(headers=headers).status == 503
        trace_ids.append(trace_id)
    for call in held:
        call.leave()

    for spans in [collector.trace(trace_id, 2) for trace_id in trace_ids]:
        server = named(spans, SERVER)
        assert (server.status, server.attributes["error.type"]) == ("error", "server_is_overloaded")
        assert tree(spans) == [[SERVER, "gateway.route"]]
        route = named(spans, "gateway.route")
        assert (route.status, route.attributes["error.type"]) == ("error", "server_is_overloaded")
        assert route.attributes["pllm.rejection.reason"] == "critical_reserve"


def test_refused_request_is_no_error_of_the_server(replica: ReplicaProcess, collector: Collector) -> None:
    trace_id, headers = caller()
    replica.chat("no-such-model", headers=headers)
    (server,) = collector.trace(trace_id, 1)

    assert (server.status, server.attributes["http.response.status_code"]) == ("", 404)
    assert server.attributes["error.type"] == "model_not_found"


def test_trace_is_sent_to_trusted_providers_only(
    replica: ReplicaProcess, raw_provider_thread: RawProvider, collector: Collector
) -> None:
    raw_provider_thread.forget()
    trace_id, headers = caller()
    replica.chat("trusted", headers=headers)
    head = raw_provider_thread.requests[-1][0]
    replica.chat("stranger", headers=headers)

    call = next(span for span in collector.trace(trace_id, 4) if span.name == "chat trusted")
    assert f"traceparent: 00-{trace_id}-{call.id}-01\r\n".encode() in head
    assert b"traceparent" not in raw_provider_thread.requests[-1][0]


def test_caller_that_does_not_sample_is_not_traced(replica: ReplicaProcess, collector: Collector) -> None:
    unsampled, headers = caller(flags="00")
    replica.chat(headers=headers)
    sampled, headers = caller()
    replica.chat(headers=headers)
    collector.trace(sampled, 4)

    assert unsampled not in {span.trace_id for span in collector.spans}


HOSTILE = {
    "not hexadecimal": {"traceparent": "00-" + "z" * 32 + f"-{CALLER_SPAN}-01"},
    "zero": {"traceparent": f"00-{'0' * 32}-{CALLER_SPAN}-01"},
    "endless": {"traceparent": "00-" + "a" * 5000},
    "no text": {"traceparent": "\xff\xfe"},
    "endless state": {"traceparent": f"00-{'b' * 32}-{CALLER_SPAN}-01", "tracestate": "a=" + "b" * 5000},
    "broken state": {"traceparent": f"00-{'c' * 32}-{CALLER_SPAN}-01", "tracestate": ",=,=="},
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_hostile_trace_header_costs_nothing_but_itself(
    replica: ReplicaProcess, collector: Collector, hostile: dict[str, str]
) -> None:
    answer = replica.chat(headers={"authorization": "Bearer key-a"} | hostile)
    server = collector.span("pllm.request_id", answer.headers["x-request-id"])

    assert answer.status == 200
    wait_until(lambda: collector.names_below(server) == {"gateway.route", "chat gpt-4", "state.settle"})


def test_key_in_a_user_agent_is_masked(replica: ReplicaProcess, collector: Collector) -> None:
    agent = "curl/8 sk-pasted-into-the-agent key-a"
    answer = replica.chat(headers={"authorization": "Bearer key-a", "user-agent": agent})
    server = collector.span("pllm.request_id", answer.headers["x-request-id"])

    assert server.attributes["user_agent.original"] == "curl/8 *** ***"


@pytest.mark.parametrize("is_there", [True, False], ids=["hangs", "absent"])
def test_collector_that_hangs_or_is_not_there_delays_neither_requests_nor_the_end(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], is_there: bool
) -> None:
    with running_collector() as hanging:
        hanging.hangs = True
        with running_cluster(
            store,
            provider_processes,
            [deployment("primary", provider_processes[0], "gpt-4")],
            domain=f"untraceable-{is_there}",
            replicas=1,
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": hanging.url if is_there else "http://127.0.0.1:1",
                "OTEL_BSP_SCHEDULE_DELAY": "10",
                "OTEL_BSP_MAX_QUEUE_SIZE": "20",
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            },
        ) as cluster:
            replica = cluster.replicas[0]
            assert {replica.chat().status for _ in range(40)} == {200}
            if is_there:
                wait_until(lambda: hanging.requests > 0)
            assert replica.chat().status == 200
            assert replica.stop() == 0
            assert "Traceback" not in replica.said()


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://collector:4318", "http://"])
def test_invalid_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_ENDPOINT: must be an http or https URL"):
        tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, "r", "1", Redaction(()))


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_unless_requested(environment: dict[str, str]) -> None:
    assert not is_wanted(environment)
    assert Tracer().begin(Kind.CHAT, [], b"req_1") is NO_TRACE


@pytest.mark.parametrize("name", ENDPOINTS)
def test_endpoint_switches_traces_on(name: str) -> None:
    assert is_wanted({name: "http://c:4318"})
