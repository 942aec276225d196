"""The meaning of providers' answers, over the wire: the client's response, the next candidate, and the lesson for the
shared breaker. docs/judgement.md is the table; test_classify.py checks each of its rows.
"""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import ANSWER, DONE_EVENT, RawProvider, body_of, chunk_event, plain, stream
from tests.support.recorded_streams import HELLO, MESSAGE_END, MESSAGE_STOP, ROLE, START, TEXT_BLOCK, data, delta, event
from tests.support.wire import Answer

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def chatgpt(gateway_cluster: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway_cluster.replicas[0].url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(gateway_cluster: Cluster) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway_cluster.replicas[0].url, api_key="any", max_retries=0) as client:
        yield client


def refusal(status: int, error: Any) -> bytes:
    return plain(json.dumps(error).encode(), f"{status} Refused")


def messages(replica: ReplicaProcess, model: str, **fields: Any) -> Answer:
    body = {"model": model, "max_tokens": 9, "messages": HI, **fields}
    return replica.request("POST", "/v1/messages", json.dumps(body).encode())


def failures(cluster: Cluster, deployment: str) -> str:
    """In the window, once everything is settled."""
    cluster.wait_until_idle()
    assert cluster.state(deployment) == "closed"
    return cluster.deployment(deployment).get("failures", "0")


def is_cooling(cluster: Cluster, deployment: str) -> bool:
    cluster.wait_until_idle()
    return float(cluster.deployment(deployment).get("cool_until_ms", 0)) > 0


# -- errors within a 200 ----------------------------------------------------------------------------------------

FORMS = ["plain", "first event", "after a preamble", "event by name"]


def within_a_200(form: str, error: dict[str, Any]) -> bytes:
    match form:
        case "plain":
            return plain(body_of(error=error))
        case "first event":
            return stream(data({"error": error}), DONE_EVENT)
        case "after a preamble":
            return stream(b": PROCESSING\n\n", ROLE, data({"error": error}))
        case _:
            return stream(b"event: error\n" + data({"error": error}))


WRONG = {"message": "temperature must be at most 2", "type": "invalid_request_error", "param": "temperature"}
TOO_LONG = {"message": "This model's maximum context length is 4096 tokens.", "type": "BadRequestError", "code": 400}
FLAGGED = {"message": "Refused by the content policy.", "code": "content_filter"}
LIMITED = {"message": "Rate limit reached. Please try again in 20s.", "code": "rate_limit_exceeded"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("error", [WRONG, TOO_LONG, FLAGGED], ids=["mistake", "too long", "flagged"])
def test_mistake_of_the_client_within_a_200_is_its_400_in_the_providers_words(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, form: str, error: dict[str, Any]
) -> None:
    raw_provider.answer = within_a_200(form, error)
    answer = replica.chat("raw-saved", stream=form != "plain")

    assert (answer.status, answer.error["message"]) == (400, error["message"])
    assert answer.error["param"] == error.get("param")
    assert failures(cluster, "raw-saved") == "0"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("error", "served_by"), [(TOO_LONG, "spare"), (FLAGGED, "claude")], ids=["too long", "flagged"]
)
def test_refusal_within_a_200_goes_to_the_chain_for_it(
    cluster: Cluster,
    replica: ReplicaProcess,
    raw_provider: RawProvider,
    form: str,
    error: dict[str, Any],
    served_by: str,
) -> None:
    raw_provider.answer = within_a_200(form, error)
    answer = replica.chat("raw-chained", stream=form != "plain")

    assert (answer.status, answer.headers["x-pllm-deployment"]) == (200, served_by)
    assert failures(cluster, "raw-chained") == "0"


@pytest.mark.parametrize("form", FORMS)
def test_rate_limit_within_a_200_cools_the_deployment_for_the_time_in_its_words(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, form: str
) -> None:
    raw_provider.answer = within_a_200(form, LIMITED)
    first = replica.chat("raw", stream=form != "plain")
    cluster.wait_until_idle()
    second = replica.chat("raw", stream=form != "plain")

    assert (first.status, first.error["code"], first.headers["retry-after"]) == (429, "rate_limit_exceeded", "20")
    assert (second.status, len(raw_provider.requests)) == (429, 1)
    assert 15 <= int(second.headers["retry-after"]) <= 20
    assert failures(cluster, "raw") == "0"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ({"message": "Overloaded", "type": "overloaded_error"}, "overloaded"),
        ({"message": "Upstream error", "code": 502}, "failure"),
        ({"message": "no words that anybody knows", "code": "E1234"}, "failure"),
        ({"message": "Incorrect API key provided.", "code": "invalid_api_key"}, "failure"),
    ],
    ids=["overloaded", "502", "unknown", "key"],
)
def test_failure_within_a_200_is_hidden_behind_the_next_candidate(
    cluster: Cluster,
    replica: ReplicaProcess,
    raw_provider: RawProvider,
    spare: ProviderProcess,
    form: str,
    error: dict[str, Any],
    outcome: str,
) -> None:
    raw_provider.answer = within_a_200(form, error)
    served = replica.chat("raw-saved", stream=form != "plain")
    assert (served.status, served.headers["x-pllm-fallback"]) == (200, "raw-saved>spare")
    assert failures(cluster, "raw-saved") == "1"

    spare.behave(error_rate=1)
    attempt = replica.chat("raw-saved", stream=form != "plain").error["attempts"][0]
    assert attempt["outcome"] == outcome
    assert attempt["reason"].startswith("error ")
    assert attempt["reason"].endswith(f" within a 200: {error['message']}")


@pytest.mark.parametrize("answer", [
    plain(body_of(choices=[{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "error"}])),
    plain(body_of(choices=[{"message": {"content": "a"}, "error": {"code": 502, "message": "Bad gateway"}}])),
    plain(b"<!DOCTYPE html><title>Welcome to nginx!</title>", content_type="text/html"),
    plain(body_of(detail="Internal failure")),
    plain(body_of(object="error", message="CUDA out of memory", code=500)),
], ids=["finish reason", "error of a choice", "page", "detail", "object"])  # fmt: skip
def test_answer_that_is_an_error_in_disguise_is_hidden_behind_the_next_candidate(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, answer: bytes
) -> None:
    raw_provider.answer = answer

    assert replica.chat("raw-saved").headers.get("x-pllm-fallback") == "raw-saved>spare"
    assert failures(cluster, "raw-saved") == "1"


def test_page_at_the_wrong_address_is_named_as_the_reason(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(b"<html>Welcome to nginx!</html>", content_type="text/html")
    reasons = [replica.chat("raw", stream=each).error["attempts"][0]["reason"] for each in (False, True)]

    assert set(reasons) == {"the answer is an HTML page (is base_url right?)"}


# -- statuses and words -----------------------------------------------------------------------------------------


def test_402_for_the_size_of_a_request_takes_nothing_from_smaller_ones(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    words = "This request requires more credits, or fewer max_tokens. You can only afford 4000."
    raw_provider.answer = refusal(402, {"error": {"message": words, "code": 402}})
    large = replica.chat("raw", max_tokens=60_000)
    saved = replica.chat("raw-saved", max_tokens=60_000)
    assert not is_cooling(cluster, "raw")
    raw_provider.answer = plain(ANSWER)

    assert (large.status, large.error["message"], saved.headers["x-pllm-fallback"]) == (402, words, "raw-saved>spare")
    assert replica.chat("raw", max_tokens=9).status == 200
    assert failures(cluster, "raw") == "0"


def test_402_without_such_words_is_a_quota_that_is_used_up(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = refusal(402, {"error": {"message": "Insufficient credits", "code": 402}})
    answer = replica.chat("raw")

    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert is_cooling(cluster, "raw")


def test_403_for_a_flagged_prompt_takes_its_chain_and_opens_no_breaker(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    error = {"code": 403, "message": "Your chosen model requires moderation and your input was flagged"}
    raw_provider.answer = refusal(403, {"error": {**error, "metadata": {"reasons": ["violence"]}}})
    for _ in range(6):
        assert replica.chat("raw-chained").headers["x-pllm-deployment"] == "claude"
    alone = replica.chat("raw")

    assert (alone.status, alone.json()["error"]["metadata"]) == (403, {"reasons": ["violence"]})
    assert (failures(cluster, "raw-chained"), failures(cluster, "raw")) == ("0", "0")


BAD_KEY = {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, [{"error": BAD_KEY}]),
        (400, {"error": BAD_KEY}),
        (400, {"error": {"type": "invalid_request_error", "message": "This organization has been disabled."}}),
        (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}),
        (403, {"message": "The security token included in the request is invalid."}),
        (409, {"error": {"message": "Conflict"}}),
        (421, {}),
        (424, {"error": "Request failed during generation", "error_type": "generation"}),
        (425, {}),
        (498, {"error": {"message": "Flex tier capacity exceeded", "code": "capacity_exceeded"}}),
        (499, {"error": {"message": "Client specified request cancelled", "status": "CANCELLED", "code": 499}}),
        (504, {"error": {"message": "Deadline expired", "status": "DEADLINE_EXCEEDED", "code": 504}}),
    ],
)  # fmt: skip
def test_fault_between_gateway_and_provider_goes_to_the_next_candidate(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, status: int, error: Any
) -> None:
    raw_provider.answer = refusal(status, error)
    answer = replica.chat("raw-saved")

    assert (answer.status, answer.headers.get("x-pllm-fallback")) == (200, "raw-saved>spare")
    assert failures(cluster, "raw-saved") == "1"


GROQ = "on tokens per minute (TPM): Limit 6000, {}Requested {}, please try again in 7.66s."


def test_413_of_a_rate_limit_is_one_where_the_request_would_fit(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    error = {"message": GROQ.format("Used 5000, ", 4000), "type": "tokens", "code": "rate_limit_exceeded"}
    raw_provider.answer = refusal(413, {"error": error})
    answer = replica.chat("raw-chained")

    assert (answer.status, answer.headers["retry-after-ms"]) == (429, "7660")
    assert is_cooling(cluster, "raw-chained")


@pytest.mark.parametrize(
    "error", [{"message": GROQ.format("", 14_368), "code": "rate_limit_exceeded"}, {"type": "request_too_large"}]
)
def test_413_of_a_request_that_never_fits_takes_the_chain(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, error: dict[str, Any]
) -> None:
    raw_provider.answer = refusal(413, {"error": error})

    assert replica.chat("raw-chained").headers["x-pllm-deployment"] == "spare"
    assert not is_cooling(cluster, "raw-chained")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, {"detail": "Not Found"}),
        (405, {"detail": "Method Not Allowed"}),
        (501, {"error": {"message": "This server does not support embeddings.", "type": "not_supported_error"}}),
        (400, {"error": {"message": "The model does not support Embeddings API", "code": 400}}),
        (400, {"error": {"code": "OperationNotSupported", "message": "It does not work with the specified model"}}),
    ],
)  # fmt: skip
def test_missing_endpoint_is_called_once_and_chat_continues(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, status: int, error: Any
) -> None:
    def embed() -> Answer:
        return replica.request("POST", "/v1/embeddings", body_of(model="raw", input="a"))

    raw_provider.answer = refusal(status, error)
    first = embed()
    cluster.wait_until_idle()
    later = [embed() for _ in range(5)]
    asked = len(raw_provider.requests)
    raw_provider.answer = plain(ANSWER)

    assert (first.status, asked) == (status, 1)
    assert {(each.status, each.error["code"]) for each in later} == {(404, "endpoint_not_supported")}
    assert replica.chat("raw").status == 200
    assert failures(cluster, "raw") == "0"


@pytest.mark.parametrize(
    ("path", "model", "fields", "error"),
    [
        (
            "/v1/messages",
            "raw-claude",
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"file_id": "file_gone1"}}]}]},
            {"type": "error", "error": {"type": "not_found_error", "message": "File not found: file_gone1"}},
        ),
        (
            "/v1/responses",
            "raw",
            {"input": "a", "tools": [{"type": "file_search", "vector_store_ids": ["vs_gone1"]}]},
            {"error": {"message": "Vector store with id ['vs_gone1'] not found.", "type": "invalid_request_error"}},
        ),
        (
            "/v1/responses",
            "raw",
            {"input": "a", "previous_response_id": "resp_judged"},
            {"error": {"message": "Not found: 'resp_judged'.", "code": "previous_response_not_found"}},
        ),
    ],
    ids=["file", "vector store", "response"],
)  # fmt: skip
def test_404_of_a_thing_that_the_request_names_is_the_clients(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, path: str, model: str, fields: Any, error: Any
) -> None:
    raw_provider.answer = refusal(404, error)
    body = json.dumps({"model": model, "max_tokens": 9, **fields}).encode()
    answers = [replica.request("POST", path, body) for _ in range(6)]

    assert {(each.status, each.json()["error"]["message"]) for each in answers} == {(404, error["error"]["message"])}
    assert len(raw_provider.requests) == 6
    assert failures(cluster, model) == "0"


def test_image_that_a_model_cannot_take_takes_nothing_from_requests_without(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    words = "No endpoints found that support image input"
    raw_provider.answer = refusal(404, {"error": {"message": words, "code": 404}})
    saved, alone = replica.chat("raw-saved"), replica.chat("raw")
    cluster.wait_until_idle()
    raw_provider.answer = plain(ANSWER)

    assert saved.headers["x-pllm-fallback"] == "raw-saved>spare"
    assert (alone.status, alone.error["message"]) == (404, words)
    assert replica.chat("raw").status == 200


def test_model_that_was_retired_goes_to_the_next_candidate_and_is_named(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    words = "The model `raw` has been decommissioned and is no longer supported."
    raw_provider.answer = refusal(400, {"error": {"message": words, "code": "model_decommissioned"}})

    assert replica.chat("raw-saved").headers["x-pllm-fallback"] == "raw-saved>spare"
    assert replica.chat("raw").error["message"] == words
    assert failures(cluster, "raw-saved") == "0"


# -- cooling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        "retry-after: 20",
        "retry-after-ms: 20000",
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 20s",
        "x-ratelimit-reset-tokens: 20",
        "anthropic-ratelimit-requests-remaining: 0\r\nanthropic-ratelimit-requests-reset: 2020-11-25T12:00:20Z",
        "x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 1606305620",
        "x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 1606305620000",
    ],
)
def test_429_cools_for_the_time_that_its_headers_name_at_every_replica(
    cluster: Cluster, raw_provider: RawProvider, headers: str
) -> None:
    extra = f"date: Wed, 25 Nov 2020 12:00:00 GMT\r\n{headers}\r\n"
    raw_provider.answer = plain(b"{}", "429 Too Many", extra=extra)
    first = cluster.replicas[0].chat("raw")
    cluster.wait_until_idle()
    later = [cluster.replicas[number % 2].chat("raw") for number in range(4)]

    assert (first.status, first.headers["retry-after"]) == (429, "20")
    assert {each.status for each in later} == {429}
    assert all(15 <= int(each.headers["retry-after"]) <= 20 for each in later)
    assert len(raw_provider.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        "x-ratelimit-remaining-tokens: 0",
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 0s",
        "x-ratelimit-remaining-requests: -1\r\nx-ratelimit-reset-requests: 60",
        "x-ratelimit-limit-tokens: 0\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 0",
    ],
)
def test_served_call_whose_headers_name_no_reset_cools_no_deployment(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, headers: str
) -> None:
    raw_provider.answer = plain(ANSWER, extra=f"{headers}\r\n")

    assert [replica.chat("raw").status for _ in range(3)] == [200] * 3
    assert not is_cooling(cluster, "raw")


# -- words, and what else of an error reaches a client ------------------------------------------------------------

WORDS = "Unknown field: frobnicate"
SHAPES: dict[str, Any] = {
    "object": {"error": {"message": WORDS, "type": "invalid_request_error", "code": None}},
    "list": [{"error": {"code": 400, "message": WORDS, "status": "INVALID_ARGUMENT"}}],
    "detail": {"detail": WORDS},
    "details": {"detail": [{"loc": ["body"], "msg": WORDS, "type": "extra"}]},
    "message": {"message": WORDS},
    "error as text": {"error": WORDS},
    "error code": {"error_code": "BAD_REQUEST", "message": WORDS},
    "message as object": {"error": {"message": {"detail": WORDS}}},
    "message as list": {"error": {"message": [WORDS]}},
    "object error": {"object": "error", "message": WORDS, "code": 400},
    "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": WORDS}},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("model", ["raw", "raw-claude"])
def test_words_of_each_shape_reach_both_clients_without_keys(
    chatgpt: openai.OpenAI, claude: anthropic.Anthropic, raw_provider: RawProvider, model: str, shape: Any
) -> None:
    body = json.dumps(shape).replace(WORDS, WORDS + " (provider-secret)").encode()
    raw_provider.answer = plain(body, "400 Bad Request")
    with pytest.raises(openai.BadRequestError) as chat_error:
        chatgpt.chat.completions.create(model=model, messages=HI)
    with pytest.raises(anthropic.BadRequestError) as messages_error:
        claude.messages.create(model=model, max_tokens=9, messages=HI)

    for error_text in (str(chat_error.value), str(messages_error.value)):
        assert f"{WORDS} (***)" in error_text
        assert "provider-secret" not in error_text


def test_details_and_request_id_of_anthropic_reach_its_client_as_they_are(
    claude: anthropic.Anthropic, raw_provider: RawProvider
) -> None:
    details = {"error_visibility": "user_facing"}
    error = {"type": "invalid_request_error", "message": "no", "details": details}
    body = json.dumps({"type": "error", "error": error, "request_id": "req_theirs"}).encode()
    raw_provider.answer = plain(body, "400 Bad Request", extra="request-id: req_theirs\r\n")
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model="raw-claude", max_tokens=9, messages=HI)

    assert caught.value.body == {"type": "error", "error": error, "request_id": "req_theirs"}
    assert caught.value.response.headers["x-pllm-provider-request-id"] == "req_theirs"


def test_attempts_name_each_candidate_with_its_reason_without_keys(
    replica: ReplicaProcess, raw_provider: RawProvider, spare: ProviderProcess
) -> None:
    spare.behave(error_rate=1, error_status=529)
    error = {"message": "Incorrect API key provided: provider-secret", "code": "invalid_api_key"}
    raw_provider.answer = refusal(401, {"error": error})
    answer = replica.chat("raw-saved")

    assert (answer.status, answer.headers["x-pllm-attempts"]) == (502, "3")
    first, second, again = answer.error["attempts"]
    assert first == {
        "deployment": "raw-saved",
        "outcome": "failure",
        "status": 401,
        "reason": "401 invalid_api_key: Incorrect API key provided: ***",
    }
    assert (second["deployment"], second["outcome"], second["status"]) == ("spare", "overloaded", 529)
    assert second["reason"].startswith("529")
    assert again == second


def test_connection_that_fails_has_its_reason_in_attempts_of_both_dialects(replica: ReplicaProcess) -> None:
    chat, message = replica.chat("refusing-alone").error, messages(replica, "refusing-alone").json()["error"]

    assert chat["attempts"] == message["attempts"]
    one = {"deployment": "refusing-alone", "outcome": "failure", "reason": "connection refused"}
    assert chat["attempts"] == [one, one]


STREAMS = {
    "raw": stream(chunk_event("hello"), DONE_EVENT),
    "raw-claude": stream(START, TEXT_BLOCK, HELLO, MESSAGE_END, MESSAGE_STOP),
}


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "apim-request-id", "x-amzn-RequestId"])
def test_request_id_of_the_provider_comes_back(replica: ReplicaProcess, raw_provider: RawProvider, name: str) -> None:
    extra = f"{name}: theirs-1\r\n"
    raw_provider.answer = plain(ANSWER, extra=extra)
    served = replica.chat("raw")
    raw_provider.answer = STREAMS["raw"].replace(b"\r\n\r\n", f"\r\n{extra}\r\n".encode(), 1)
    streamed = replica.chat("raw", stream=True)
    raw_provider.answer = plain(b"{}", "400 Bad Request", extra=extra)
    refused = replica.chat("raw")

    for answer in (served, streamed, refused):
        assert answer.headers["x-pllm-provider-request-id"] == "theirs-1"
        assert answer.headers["x-request-id"] != "theirs-1"


def test_request_id_is_that_of_the_provider_who_served(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(b"{}", "500 Oops", extra="x-request-id: failed-1\r\n")
    served = replica.chat("raw-saved")

    assert served.headers["x-pllm-deployment"] == "spare"
    assert served.headers.get("x-pllm-provider-request-id") != "failed-1"


OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded", "details": None})
GRAMMAR = data({"error": {"message": "grammar too large", "type": "server_error", "code": "grammar_too_large"}})
BROKEN = {
    "raw": (stream(ROLE, chunk_event("hel"), GRAMMAR), "hel", "server_error", "api_error", "grammar too large"),
    "raw-claude": (
        stream(START, TEXT_BLOCK, HELLO, OVERLOADED),
        "grüße 😀",
        "overloaded_error",
        "overloaded_error",
        "Overloaded",
    ),
}


@pytest.mark.parametrize("model", BROKEN)
def test_error_in_the_middle_of_a_stream_keeps_its_kind_and_words(
    chatgpt: openai.OpenAI, claude: anthropic.Anthropic, cluster: Cluster, raw_provider: RawProvider, model: str
) -> None:
    """Clients retry on `overloaded_error`."""
    raw_provider.answer, content, chat_type, message_type, words = BROKEN[model]
    chunks = chatgpt.chat.completions.create(model=model, messages=HI, stream=True)
    received: list[str] = []
    with pytest.raises(openai.APIError) as chat_error:
        received.extend(chunk.choices[0].delta.content or "" for chunk in chunks)
    events = claude.messages.create(model=model, max_tokens=9, messages=HI, stream=True)
    with pytest.raises(anthropic.APIStatusError) as messages_error:
        received.extend(each.delta.text for each in events if each.type == "content_block_delta")  # type: ignore[union-attr]

    assert [each for each in received if each] == [content, content]
    assert (chat_error.value.type, chat_error.value.message) == (chat_type, words)
    body: Any = messages_error.value.body
    assert (body["error"]["type"], body["error"]["message"]) == (message_type, words)
    cluster.wait_until_idle()
    assert cluster.deployment(model)["failures"] == "2"


# -- answers that are good ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage", ["[]", '"9"', '{"prompt_tokens": "3", "completion_tokens": "4"}', '{"prompt_tokens": 1e999}', "NaN"]
)
def test_usage_that_is_odd_fails_no_answer(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, usage: str
) -> None:
    raw_provider.answer = plain(ANSWER[:-1] + f', "usage": {usage}}}'.encode())
    chat, message = replica.chat("raw"), messages(replica, "raw")
    last = b'data: {"choices": [], "usage": %b}\n\n' % usage.encode()
    raw_provider.answer = stream(chunk_event("raw"), last, DONE_EVENT)
    streamed = replica.chat("raw", stream=True)

    assert (chat.status, chat.body) == (200, ANSWER[:-1] + f', "usage": {usage}}}'.encode())
    assert message.json()["content"] == [{"type": "text", "text": "raw"}]
    assert streamed.body.endswith(DONE_EVENT)
    assert failures(cluster, "raw") == "0"


def test_plain_response_that_failed_is_passed_on_and_judged_by_its_code(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    for code in ("context_length_exceeded", "server_error"):
        body = body_of(id="r", object="response", status="failed", error={"code": code, "message": "no"})
        raw_provider.answer = plain(body)
        answer = replica.request("POST", "/v1/responses", body_of(model="raw", input="hi"))

        assert (answer.status, answer.body) == (200, body)
    assert failures(cluster, "raw") == "1"


def test_finish_reason_error_is_no_answer_for_a_client_of_messages(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    """Its dialect has no word for it, and `end_turn` would be wrong."""
    message = {"role": "assistant", "content": "half"}
    raw_provider.answer = plain(body_of(choices=[{"index": 0, "message": message, "finish_reason": "error"}]))
    assert messages(replica, "raw-saved").headers["x-pllm-fallback"] == "raw-saved>spare"

    raw_provider.answer = stream(chunk_event("half"), delta("error"), DONE_EVENT)
    streamed = messages(replica, "raw", stream=True)
    assert b"half" in streamed.body
    assert b"event: error" in streamed.body
    assert b"end_turn" not in streamed.body


HALF = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "\\ud83d"}, "logprobs": NaN}]}'


@pytest.mark.parametrize("error", [{}, {"message": "", "code": None}, {"message": "success", "code": 0}])
def test_blank_error_object_is_no_error(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, error: dict[str, Any]
) -> None:
    raw_provider.answer = plain(ANSWER[:-1] + b', "error": %b}' % json.dumps(error).encode())

    assert (replica.chat("raw").status, messages(replica, "raw").status) == (200, 200)
    assert failures(cluster, "raw") == "0"


@pytest.mark.parametrize("body", [HALF, b"\xef\xbb\xbf" + ANSWER, b'{"object": "chat.completion", "choices": null}'])
def test_answer_that_an_official_client_takes_passes_byte_for_byte(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, body: bytes
) -> None:
    raw_provider.answer = plain(body)

    assert replica.chat("raw").body == body
    assert failures(cluster, "raw") == "0"


def test_zero_tokens_may_be_requested_from_a_provider_that_allows_it(
    claude: anthropic.Anthropic, raw_provider: RawProvider
) -> None:
    """`max_tokens: 0` fills Anthropic's cache."""
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 4000, "output_tokens": 0}
    answer = body_of(
        id="m", type="message", role="assistant", model="c", content=[], stop_reason="max_tokens", usage=usage
    )
    raw_provider.answer = plain(answer)
    message = claude.messages.create(model="raw-claude", max_tokens=0, messages=HI)

    assert message.usage.cache_creation_input_tokens == 4000
    assert json.loads(raw_provider.last_body)["max_tokens"] == 0


def test_answer_that_ends_at_its_limit_inside_a_call_is_a_success(
    cluster: Cluster, claude: anthropic.Anthropic, raw_provider: RawProvider
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Os'}}
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
    raw_provider.answer = plain(body_of(choices=[{"index": 0, "message": message, "finish_reason": "length"}]))
    answer = claude.messages.create(model="raw", max_tokens=9, messages=HI)

    assert answer.stop_reason == "max_tokens"
    assert [block.type for block in answer.content] == ["text", "tool_use"]
    assert failures(cluster, "raw") == "0"


def test_answer_headers_of_64_kib_pass(cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(ANSWER, extra=f"content-security-policy: {'a' * 65_536}\r\n")

    assert replica.chat("raw").body == ANSWER


def test_answer_that_ends_in_an_error_is_better_than_none(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    """Direct, the client would have its words; with a fallback the next candidate answers instead."""
    body = b'{"choices": [{"message": {"content": "a"}, "error": {"code": 502, "message": "x"}}]}'
    raw_provider.answer = plain(body)
    answer = replica.chat("raw")

    assert (answer.status, answer.body) == (200, body)


REFUSED = plain(b'{"error": {"message": "too long", "code": "context_length_exceeded"}}', "400 Bad Request")


def test_chain_continues_where_one_of_its_models_also_refuses(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer, raw_provider.then = REFUSED, [REFUSED]
    answer = replica.chat("raw-twice")

    assert (answer.status, answer.headers["x-pllm-deployment"], answer.headers["x-pllm-attempts"]) == (
        200,
        "spare",
        "3",
    )


def test_retry_after_does_not_shorten_the_rest_of_a_used_up_quota(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    body = b'{"error": {"message": "pay", "code": "insufficient_quota"}}'
    raw_provider.answer = plain(body, "429 Too Many Requests", extra="retry-after: 1\r\n")
    replica.chat("raw")
    cluster.wait_until_idle()

    assert int(replica.chat("raw").headers["retry-after"]) > 60
