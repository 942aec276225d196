"""Chat completions and models over real sockets, with OpenAI's own client and by hand."""

import json
from collections.abc import Iterator

import openai
import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider, chunk_event, plain, stream
from tests.support.wire import DONE, Call

ROUTE_HEADERS = {
    "x-request-id",
    "x-pllm-replica",
    "x-pllm-model",
    "x-pllm-deployment",
    "x-pllm-attempts",
    "x-pllm-overhead-ms",
    "x-pllm-state",
}


@pytest.fixture
def client(replica: ReplicaProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key="any", max_retries=0) as running:
        yield running


def test_openai_client_gets_an_answer(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "hi"}])

    assert (completion.choices[0].message.content or "").startswith("Hello from provider-0.")
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 8


def test_openai_client_gets_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        stream_options={"include_usage": True},
    ) as chunks:
        received = list(chunks)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in received if chunk.choices)
    assert text == "Hello from provider-0." + " word" * 7
    assert received[-1].usage is not None
    assert received[-1].usage.completion_tokens == 8


def test_openai_client_lists_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]

    assert names[:2] == ["gpt-4", "saved"]
    assert names[-1] == "best"


def test_openai_client_understands_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hi"}])

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_openai_client_sees_a_broken_stream_as_an_error(client: openai.OpenAI, provider: ProviderProcess) -> None:
    provider.behave(cut_after_chunks=2)
    with (
        client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": "hi"}], stream=True
        ) as chunks,
        pytest.raises(openai.APIError, match="broke off"),
    ):
        list(chunks)


def test_openai_client_sees_an_event_cut_in_half_as_an_error(client: openai.OpenAI, raw_provider: RawProvider) -> None:
    raw_provider.answer = stream(chunk_event("whole"), chunk_event("half")[:20])
    with (
        client.chat.completions.create(
            model="raw", messages=[{"role": "user", "content": "hi"}], stream=True
        ) as chunks,
        pytest.raises(openai.APIError, match="broke off"),
    ):
        list(chunks)


@pytest.mark.parametrize("is_stream", [False, True])
def test_response_names_the_deployment_that_served_it(replica: ReplicaProcess, is_stream: bool) -> None:
    headers = replica.chat(stream=is_stream).headers

    assert headers.keys() >= ROUTE_HEADERS
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-pllm-replica"] == "r0"
    assert (headers["x-pllm-model"], headers["x-pllm-deployment"]) == ("gpt-4", "primary")
    assert (headers["x-pllm-attempts"], headers["x-pllm-state"]) == ("1", "shared")
    assert 0 < float(headers["x-pllm-overhead-ms"]) < 1000
    assert "x-pllm-fallback" not in headers


def test_fallback_is_named_from_and_to(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(error_rate=1)
    headers = replica.chat("saved").headers

    assert headers["x-pllm-fallback"] == "saved>spare"
    assert (headers["x-pllm-model"], headers["x-pllm-deployment"]) == ("spare", "spare")
    assert headers["x-pllm-attempts"] == "2"


def test_every_request_has_an_id_of_its_own(cluster: Cluster) -> None:
    answers = [replica.chat() for replica in cluster.replicas for _ in range(5)]
    answers += [replica.chat("unknown") for replica in cluster.replicas]

    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_answer_of_an_alias_names_the_model_behind_it(replica: ReplicaProcess) -> None:
    assert replica.chat("best").headers["x-pllm-model"] == "gpt-4"


def test_plain_answer_is_passed_on_byte_for_byte(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    body = b'{ "choices" : [ {"message": {"content": "\\u00e9 \xc3\xa9"}} ],\n "extra": 1e2 }'
    raw_provider.answer = plain(body)
    answer = replica.chat("raw")

    assert answer.body == body


def test_stream_is_passed_on_byte_for_byte(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    events = [b": ping\n\n", chunk_event("a"), b"event: x\r\ndata: {}\r\n\r\n", chunk_event("b"), b"data: [DONE]\n\n"]
    raw_provider.answer = stream(*events)
    answer = replica.chat("raw", stream=True)

    assert answer.body == b"".join(events)


def test_events_split_between_packets_arrive_whole(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    text = chunk_event("a") + chunk_event("b") + b"data: [DONE]\n\n"
    raw_provider.answer = stream(*[bytes([byte]) for byte in text])
    answer = replica.chat("raw", stream=True)

    assert answer.body == text


def test_stream_is_sent_as_it_comes(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(stall_after_chunks=1)
    with replica.begin_chat(stream=True) as call:
        first = call.read_until(b"Hello from")

    assert b"content-type: text/event-stream" in first.lower()
    assert DONE.encode() not in first


def test_stream_forbids_caches_and_buffers(replica: ReplicaProcess) -> None:
    headers = replica.chat(stream=True).headers

    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


def test_answer_without_a_content_type_gets_one(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"choices":[]}'

    assert replica.chat("raw").headers["content-type"] == "application/json"


def test_content_type_outside_latin_1_does_no_harm(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(b'{"choices":[]}', content_type="application/json; x=\u20ac")
    answer = replica.chat("raw")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")


def test_other_headers_of_a_provider_are_not_passed_on(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(b'{"choices":[]}', extra="set-cookie: a=b\r\nserver: upstream\r\nx-secret: s\r\n")
    headers = replica.chat("raw").headers

    assert not headers.keys() & {"set-cookie", "server", "x-secret"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-pllm-priority", "urgent"),
        ("x-pllm-priority", "CRITICAL"),
        ("x-pllm-timeout", "soon"),
        ("x-pllm-timeout", "-1s"),
        ("x-pllm-timeout", "1e9"),
        ("x-pllm-timeout", "\u00b2s"),
    ],
)
def test_header_with_a_wrong_value_is_refused_by_name(
    replica: ReplicaProcess, provider: ProviderProcess, name: str, value: str
) -> None:
    answer = replica.chat(headers={name: value})

    assert (answer.status, answer.error["param"]) == (400, name)
    assert provider.counts()["requests"] == 0


def test_many_calls_in_turn_on_one_connection(replica: ReplicaProcess) -> None:
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key="any", max_retries=0) as client:
        answers = [
            client.chat.completions.with_raw_response.create(
                model="gpt-4", messages=[{"role": "user", "content": "hi"}]
            )
            for _ in range(20)
        ]

    assert [answer.status_code for answer in answers] == [200] * 20


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_every_answered_call_counts_as_a_success(
    cluster: Cluster, replica: ReplicaProcess, is_stream: bool, connection: str
) -> None:
    for _ in range(20):
        assert replica.chat(stream=is_stream, headers={"connection": connection}).status == 200
    cluster.wait_until_idle()

    deployment = replica.stats()["load_balancer"]["gpt-4"]["deployments"]["primary"]
    assert (deployment["requests"], deployment["failures"]) == (20, 0)


def test_models_have_the_shape_of_openai(replica: ReplicaProcess) -> None:
    listing = replica.get("/v1/models").json()

    assert listing.keys() == {"object", "data"}
    assert listing["object"] == "list"
    assert [(type(model["created"]), model["object"], model["owned_by"]) for model in listing["data"]] == [
        (int, "model", "pllm")
    ] * len(listing["data"])


@pytest.mark.parametrize("name", ["gpt-4", "best", "org/nested"])
def test_one_model_is_shown_by_name(replica: ReplicaProcess, name: str) -> None:
    answer = replica.get(f"/v1/models/{name}")

    assert (answer.status, answer.json()["id"]) == (200, name)


@pytest.mark.parametrize("name", ["gpt-5", "%ff%00", "gpt-4/x"])
def test_unknown_model_is_not_found(replica: ReplicaProcess, name: str) -> None:
    answer = replica.get(f"/v1/models/{name}")

    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_body_may_come_byte_by_byte(replica: ReplicaProcess) -> None:
    body = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    with Call(replica.address, head.encode()) as call:
        for byte in body:
            call.send(bytes([byte]))
        assert call.answer().status == 200
