"""/v1/responses at providers that have chat completions or messages only, over real sockets."""

import json
from typing import Any

import pytest

from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider, chunk_event, plain, stream
from tests.support.wire import Answer

START = {
    "type": "message_start",
    "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": {}},
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
HELLO = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}


def respond(replica: ReplicaProcess, model: str, **fields: Any) -> Answer:
    body = {"model": model, "input": "hi", **fields}
    return replica.request("POST", "/v1/responses", json.dumps(body).encode(), {"content-type": "application/json"})


def events_of(answer: Answer) -> list[Any]:
    return [json.loads(each) for each in answer.events]


def message_event(fields: dict[str, Any]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


PART = {"type": "output_text", "text": "hello", "annotations": []}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "codex",
    "status": "completed",
    "error": None,
    "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [PART]}],
    "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
}
CREATED = {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "output": [], "usage": None}}
DELTA = {"type": "response.output_text.delta", "sequence_number": 1, "output_index": 0, "delta": "hello"}
COMPLETED = {"type": "response.completed", "sequence_number": 2, "response": RESPONSE}
FAULT = {"code": "server_error", "message": "it broke"}
FAILED = {"type": "response.failed", "sequence_number": 2, "response": {**RESPONSE, "status": "failed", "error": FAULT}}


def owners(cluster: Cluster) -> Any:
    return cluster.redis.hget(cluster.key("owners"), "count")


def call(replica: ReplicaProcess, path: str, **fields: Any) -> Answer:
    body = {"model": "raw-only-responses", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, **fields}
    return replica.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})


def test_deployment_without_the_endpoint_gets_a_chat_completion(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    answer = respond(replica, "raw-chat", instructions="Be brief.")

    assert raw_provider.requests[-1][0].startswith(b"POST /v1/chat/completions ")
    assert [each["role"] for each in json.loads(raw_provider.last_body)["messages"]] == ["system", "user"]
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    response = answer.json()
    assert (response["object"], response["status"], response["instructions"]) == ("response", "completed", "Be brief.")
    assert response["output"][0]["content"][0]["text"] == "raw"


def test_deployment_with_the_endpoint_gets_the_clients_bytes(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = plain(b'{"object": "response", "id": "r",  "output": [ ]}')

    answer = respond(replica, "raw-responses", unknown=[1.0])

    assert raw_provider.last_body == b'{"model": "raw-responses", "input": "hi", "unknown": [1.0]}'
    assert answer.body == b'{"object": "response", "id": "r",  "output": [ ]}'


def test_request_that_a_chat_provider_cannot_express_goes_to_one_with_the_endpoint(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = plain(b'{"object": "response", "id": "r", "output": []}')

    answer = respond(replica, "raw-chat", tools=[{"type": "file_search", "vector_store_ids": []}])

    assert (answer.status, answer.headers["x-pllm-deployment"]) == (200, "raw-responses")
    assert [head.split()[1] for head, _ in raw_provider.requests] == [b"/v1/responses"]
    cluster.wait_until_idle()


@pytest.mark.parametrize("model", ["chat-only", "claude"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_unknown"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"tools": [{"type": "mcp", "server_label": "a"}]}, "tools[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, None),
    ],
)
def test_request_that_no_provider_can_express_is_refused_with_its_place(
    replica: ReplicaProcess, model: str, fields: dict[str, Any], param: str | None
) -> None:
    answer = respond(replica, model, **fields)

    assert answer.status == 400
    assert answer.json()["error"]["param"] == (param or "input[0].content[0].image_url")


def test_place_that_anthropic_cannot_express_is_one_of_the_clients_request(replica: ReplicaProcess) -> None:
    shown = {"type": "input_image", "image_url": "data:image/tiff;base64,AAAA"}
    items = [{"role": "developer", "content": "a"}, {"role": "user", "content": [shown]}]

    error = respond(replica, "claude", input=items, instructions="b").json()["error"]
    assert (error["param"], error["code"]) == ("input[1]", "unsupported_value")


@pytest.mark.parametrize(
    ("model", "events"),
    [
        ("raw-chat", [chunk_event("hello")]),
        ("raw-claude", [message_event(each) for each in (START, BLOCK, HELLO)]),
    ],
)
def test_stream_that_breaks_ends_in_an_error_event_with_the_next_number(
    replica: ReplicaProcess, raw_provider: RawProvider, model: str, events: list[bytes]
) -> None:
    raw_provider.answer = stream(*events)

    sent = events_of(respond(replica, model, stream=True))

    assert [each["type"] for each in sent][-2:] == ["response.output_text.delta", "error"]
    assert [each["sequence_number"] for each in sent] == list(range(len(sent)))


def test_error_within_a_stream_keeps_the_providers_words(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    error = {"error": {"message": "too busy", "type": "server_error", "code": "overloaded"}}
    raw_provider.answer = stream(chunk_event("hello"), f"data: {json.dumps(error)}\n\n".encode())

    last = events_of(respond(replica, "raw-chat", stream=True))[-1]

    assert (last["type"], last["code"], last["message"]) == ("error", "overloaded", "too busy")


def test_stream_whose_provider_leaves_out_its_end_is_completed(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    raw_provider.answer = stream(chunk_event("hello"), f"data: {json.dumps(end)}\n\n".encode())

    assert events_of(respond(replica, "raw-chat", stream=True))[-1]["type"] == "response.completed"


def test_plain_answer_to_a_streaming_request_is_a_stream(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    sent = events_of(respond(replica, "raw-chat", stream=True))

    assert sent[0]["type"] == "response.created"
    assert sent[-1]["response"]["output"][0]["content"][0]["text"] == "raw"


def test_fault_before_the_first_content_is_hidden_by_the_next_provider(
    cluster: Cluster, replica: ReplicaProcess
) -> None:
    cluster.providers[0].behave(error_rate=1)

    answer = respond(replica, "chat-switch", stream=True)

    assert answer.headers["x-pllm-fallback"] == "chat-switch>claude"
    sent = events_of(answer)
    assert [each["sequence_number"] for each in sent] == list(range(len(sent)))
    assert sent[-1]["response"]["output"][0]["content"][0]["text"].startswith("Hello from provider-1.")


@pytest.mark.parametrize(("tag", "status"), [("responses", 200), ("chat", 400)])
def test_only_providers_with_the_endpoint_are_candidates_for_a_stored_response(
    replica: ReplicaProcess, raw_provider: RawProvider, tag: str, status: int
) -> None:
    raw_provider.answer = plain(b'{"object": "response", "id": "resp_read", "output": []}')

    answer = replica.request("GET", "/v1/responses/resp_read", headers={"x-pllm-tags": tag})

    assert (answer.status, len(raw_provider.requests)) == (status, 1 if status == 200 else 0)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_deployment_with_responses_only_serves_clients_of_other_dialects(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, path: str, is_stream: bool
) -> None:
    events = [message_event(each) for each in (CREATED, DELTA, COMPLETED)]
    raw_provider.answer = stream(*events) if is_stream else plain(json.dumps(RESPONSE).encode())
    before = owners(cluster)

    answer = call(replica, path, stream=is_stream)

    assert raw_provider.requests[-1][0].startswith(b"POST /v1/responses ")
    assert json.loads(raw_provider.last_body)["input"] == [{"type": "message", "role": "user", "content": "hi"}]
    assert (answer.status, answer.text.count("hello")) == (200, 1)
    assert ("[DONE]" in answer.text or "message_stop" in answer.text) == is_stream
    cluster.wait_until_idle()
    assert owners(cluster) == before  # its client never sees the ids that the provider made


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_stream_of_responses_that_failed_ends_in_an_error_of_the_clients_dialect(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str
) -> None:
    raw_provider.answer = stream(*(message_event(each) for each in (CREATED, DELTA, FAILED)))

    events = events_of(call(replica, path, stream=True))

    assert any("hello" in json.dumps(each) for each in events)
    assert events[-1]["error"]["message"] == "it broke"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_response_that_failed_before_its_content_is_an_error_of_the_clients_dialect(
    replica: ReplicaProcess, raw_provider: RawProvider, path: str, is_stream: bool
) -> None:
    failed = json.dumps({**RESPONSE, "status": "failed", "error": FAULT, "output": []}).encode()
    raw_provider.answer = stream(message_event(CREATED), message_event(FAILED)) if is_stream else plain(failed)

    answer = call(replica, path, stream=is_stream)

    assert answer.status == 502
    assert "it broke" in answer.json()["error"]["attempts"][-1]["reason"]
