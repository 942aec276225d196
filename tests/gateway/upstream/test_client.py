"""Faults of providers: before the first byte the next candidate hides them, after it the client gets them, and the
breaker learns only from those that the provider caused.
"""

import gzip
import json
from typing import Any

import pytest

from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import ANSWER, RawProvider, chunk_event, plain, stream
from tests.support.recorded_streams import ROLE
from tests.support.wire import DONE

DEEP = b"[" * 50_000 + b"]" * 50_000
DONE_EVENT = b"data: [DONE]\n\n"

FAILURES: dict[str, dict[str, Any]] = {
    "HTML": {"malformed": "html"},
    "half a JSON": {"malformed": "half_json"},
    "nothing": {"malformed": "empty"},
    "500": {"error_rate": 1, "error_status": 500},
    "500 with HTML": {"error_rate": 1, "error_body": "<html>broken</html>"},
    "502": {"error_rate": 1, "error_status": 502},
    "401": {"error_rate": 1, "error_status": 401},
    "403": {"error_rate": 1, "error_status": 403},
}
OVERLOADS: dict[str, dict[str, Any]] = {
    "503": {"error_rate": 1, "error_status": 503},
    "529": {"error_rate": 1, "error_status": 529},
}


def outcomes(cluster: Cluster, deployment: str) -> tuple[str, str]:
    """Consecutive failures and failures in the window, once everything is settled."""
    cluster.wait_until_idle()
    fields = cluster.deployment(deployment)
    return fields.get("consecutive_failures", "0"), fields.get("failures", "0")


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("behaviour", (FAILURES | OVERLOADS).values(), ids=FAILURES | OVERLOADS)
def test_failure_before_the_first_byte_is_saved_by_the_fallback(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, behaviour: dict[str, Any], is_stream: bool
) -> None:
    provider.behave(**behaviour)
    answer = replica.chat("saved", stream=is_stream)

    assert (answer.status, answer.headers["x-pllm-attempts"]) == (200, "2")
    assert answer.content.startswith("Hello from provider-1.")
    assert outcomes(cluster, "saved-primary") == ("1", "1")


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("behaviour", FAILURES.values(), ids=FAILURES)
def test_failure_without_a_fallback_is_one_clean_error(
    replica: ReplicaProcess, provider: ProviderProcess, behaviour: dict[str, Any], is_stream: bool
) -> None:
    provider.behave(**behaviour)
    answer = replica.chat(stream=is_stream)

    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    status = behaviour.get("error_status", 500 if "error_rate" in behaviour else 200)
    is_lasting = status in (200, 401, 403) and not (is_stream and behaviour == {"malformed": "empty"})
    assert len(answer.error["attempts"]) == (1 if is_lasting else 2)
    for attempt in answer.error["attempts"]:
        assert attempt.pop("reason")
        assert attempt == {"deployment": "primary", "outcome": "failure", "status": status}
    assert answer.headers.get("x-should-retry") == ("false" if is_lasting else None)
    assert "html" not in answer.text
    assert "Scripted" not in answer.error["message"]


def test_cut_plain_body_is_saved_by_the_fallback(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(cut_after_chunks=2)
    answer = replica.chat("saved")

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "saved>spare")
    assert outcomes(cluster, "saved-primary") == ("1", "1")


def test_refused_connection_is_saved_by_the_fallback(cluster: Cluster, replica: ReplicaProcess) -> None:
    answer = replica.chat("refusing")

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "refusing>spare")
    assert outcomes(cluster, "refusing") == ("1", "1")


def test_refused_connection_without_a_fallback_is_a_502(replica: ReplicaProcess) -> None:
    answer = replica.chat("refusing-alone")

    assert (answer.status, answer.error["code"]) == (502, "upstream_error")


@pytest.mark.parametrize(
    "behaviour", [{"stall_rate": 1}, {"stall_after_chunks": 0}], ids=["no headers", "headers only"]
)
def test_stall_before_the_first_byte_ends_at_the_deployments_timeout_and_is_saved(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, behaviour: dict[str, Any]
) -> None:
    provider.behave(**behaviour)
    answer = replica.chat("hasty", stream=True)

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "hasty>spare")
    assert outcomes(cluster, "hasty-primary") == ("1", "1")
    provider.wait_for(aborted=1, in_flight=0)


def test_stall_without_a_fallback_is_a_504(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)
    answer = replica.chat("hasty-alone")

    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    reason = "timed out: no answer within 0.3 s (timeout)"
    assert answer.error["attempts"] == [{"deployment": "hasty-alone", "outcome": "timeout", "reason": reason}]
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("status", [400, 413, 415, 422, 451])
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_fault_of_the_request_is_passed_on_and_tried_nowhere_else(
    cluster: Cluster,
    replica: ReplicaProcess,
    provider: ProviderProcess,
    spare: ProviderProcess,
    status: int,
    is_stream: bool,
) -> None:
    provider.behave(error_rate=1, error_status=status)
    answer = replica.chat("saved", stream=is_stream)

    assert (answer.status, answer.error["message"]) == (status, "Scripted error of provider-0")
    assert spare.counts()["requests"] == 0
    assert outcomes(cluster, "saved-primary") == ("0", "0")


def test_fault_of_the_request_keeps_the_providers_words(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    body = b'{"error": {"message": "too long", "type": "limits", "param": "messages", "code": 7}, "debug": "secret"}'
    raw_provider.answer = plain(body, "400 Bad Request")
    error = replica.chat("raw").error

    assert error == {"message": "too long", "type": "limits", "param": "messages", "code": "7"}


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"error": 7}', b'{"error": {"message": null}}', b'{"error": {"message": "\xff"}}',
     b'{"error": {"message": "m", "x": ' + DEEP + b"}}"],
    ids=["empty", "HTML", "array", "number", "null", "UTF-8", "deep"],
)  # fmt: skip
def test_fault_of_the_request_in_unknown_words_is_still_an_error_object(
    replica: ReplicaProcess, raw_provider: RawProvider, body: bytes
) -> None:
    raw_provider.answer = plain(body, "422 Unprocessable")
    answer = replica.chat("raw")

    assert (answer.status, answer.error["message"]) == (422, "The provider refused the request.")


def test_429_cools_the_deployment_for_its_retry_after(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, spare: ProviderProcess
) -> None:
    provider.behave(error_rate=1, error_status=429, retry_after_s=60)
    first = replica.chat("saved")
    second = replica.chat("saved")
    verdicts = [c["verdict"] for c in replica.get("/v1/admin/explain?model=saved").json()["candidates"]]

    assert (first.headers["x-pllm-attempts"], second.headers["x-pllm-attempts"]) == ("2", "1")
    assert verdicts == ["cooling", "eligible"]
    assert (provider.counts()["requests"], spare.counts()["requests"]) == (1, 2)
    assert outcomes(cluster, "saved-primary") == ("0", "0")


def test_429_without_a_fallback_has_retry_after(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(error_rate=1, error_status=429, retry_after_s=42)
    first = replica.chat()
    cluster.wait_until_idle()
    second = replica.chat()

    assert (first.status, first.error["code"], first.headers["retry-after"]) == (429, "rate_limit_exceeded", "42")
    assert (second.status, second.error["code"]) == (429, "rate_limit_exceeded")
    assert 40 <= int(second.headers["retry-after"]) <= 42
    assert provider.counts()["requests"] == 1


def test_provider_whose_limit_is_used_up_is_spared(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, spare: ProviderProcess
) -> None:
    """Its last answer is good; the next call goes elsewhere, without its 429."""
    extra = "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 20s\r\n"
    raw_provider.answer = plain(ANSWER, extra=extra)
    first = replica.chat("raw-saved")
    cluster.wait_until_idle()
    second = replica.chat("raw-saved")

    assert (first.status, first.headers["x-pllm-deployment"]) == (200, "raw-saved")
    assert (second.headers["x-pllm-deployment"], second.headers["x-pllm-attempts"]) == ("spare", "1")
    assert len(raw_provider.requests) == 1
    assert spare.counts()["requests"] == 1


def test_client_gets_the_first_ones_429_when_the_next_one_fails_otherwise(
    replica: ReplicaProcess, provider: ProviderProcess, spare: ProviderProcess
) -> None:
    provider.behave(error_rate=1, error_status=429, retry_after_s=42)
    spare.behave(error_rate=1)
    answer = replica.chat("saved")

    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (429, "rate_limit_exceeded", "42")
    assert [each["outcome"] for each in answer.error["attempts"]] == ["throttled", "failure", "failure"]


def test_client_gets_the_first_ones_failure_when_the_next_one_is_throttled(
    replica: ReplicaProcess, provider: ProviderProcess, spare: ProviderProcess
) -> None:
    provider.behave(error_rate=1, error_status=529)
    spare.behave(error_rate=1, error_status=429, retry_after_s=42)
    answer = replica.chat("saved")

    assert (answer.status, answer.error["code"], "overloaded" in answer.error["message"]) == (
        503,
        "upstream_overloaded",
        True,
    )
    assert [each["status"] for each in answer.error["attempts"]] == [529, 429]


def test_retry_after_that_is_a_date_is_read_by_the_providers_clock(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    dates = "Date: Wed, 25 Nov 2020 12:00:00 GMT\r\nRetry-After: Wed, 25 Nov 2020 12:00:42 GMT\r\n"
    raw_provider.answer = plain(b"{}", "429 Too Many", extra=dates)
    answer = replica.chat("raw")

    assert (answer.status, answer.headers["retry-after"]) == (429, "42")


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT", ""])
def test_strange_retry_after_does_no_harm(replica: ReplicaProcess, raw_provider: RawProvider, value: str) -> None:
    raw_provider.answer = plain(b"{}", "429 Too Many", extra=f"retry-after: {value}\r\n")
    answer = replica.chat("raw")

    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x01\x02 garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        plain(ANSWER)[:-10],
        plain(b"", "302 Found", extra="location: http://127.0.0.1:1/\r\n"),
        plain(ANSWER, "999 Odd"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        plain(gzip.compress(ANSWER)[:-9], extra="content-encoding: gzip\r\n"),
        plain(b'{"error": {"message": "in disguise"}}'),
        plain(b'{"choices": null}'),
        plain(b'{"choices": ' + DEEP + b"}"),
        plain(b"[]"),
    ],
    ids=["closed", "garbage", "bad length", "bad chunk", "long header", "101", "cut", "redirect", "999", "204",
         "cut gzip", "error in a 200", "null choices", "deep", "array"],
)  # fmt: skip
def test_invalid_answer_is_saved_by_the_fallback(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, answer: bytes
) -> None:
    raw_provider.answer = answer
    reply = replica.chat("raw-saved")

    assert (reply.status, reply.headers.get("x-pllm-fallback")) == (200, "raw-saved>spare")
    assert outcomes(cluster, "raw-saved") == ("1", "1")


@pytest.mark.parametrize(
    "answer",
    [
        plain(b"<html>\n\n</html>", content_type="text/html"),
        stream(),
        stream(b": only a comment\n\n"),
        stream(DONE_EVENT),
        stream(b'data: {"error": {"message": "in disguise"}}\n\n', DONE_EVENT),
        stream(b'data: {"choices": [\n\n', DONE_EVENT),
        stream(b'data: {"choices": ["\xff"]}\n\n', DONE_EVENT),
        stream(b"data: " + DEEP + b"\n\n", DONE_EVENT),
        stream(b"data: []\n\n", DONE_EVENT),
        stream(b"hello\n\n", DONE_EVENT),
        stream(chunk_event("a"))[:-40],
    ],
    ids=["HTML", "nothing", "comment", "DONE at once", "error", "half JSON", "UTF-8", "deep", "array",
         "no event", "cut in the first event"],
)  # fmt: skip
def test_stream_that_begins_wrong_is_saved_by_the_fallback(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, answer: bytes
) -> None:
    raw_provider.answer = answer
    reply = replica.chat("raw-saved", stream=True)

    assert (reply.status, reply.headers.get("x-pllm-fallback")) == (200, "raw-saved>spare")
    assert reply.events[-1] == DONE
    assert outcomes(cluster, "raw-saved") == ("1", "1")


def test_cut_stream_ends_in_one_error_event_without_done_and_counts_as_a_failure(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, spare: ProviderProcess
) -> None:
    provider.behave(cut_after_chunks=3)
    answer = replica.chat("saved", stream=True)

    assert (answer.status, answer.is_whole, len(answer.events)) == (200, True, 5)
    assert '"error":{' in answer.events[-1]
    assert "upstream_error" in answer.events[-1]
    assert DONE not in answer.events
    assert outcomes(cluster, "saved-primary") == ("1", "1")
    assert spare.counts()["requests"] == 0


@pytest.mark.parametrize(
    "rest",
    [[], [chunk_event("b")], [chunk_event("b")[:30]]],
    ids=["no DONE", "more, no DONE", "half an event"],
)
def test_stream_that_is_cut_ends_in_exactly_one_error_event_of_ours(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, rest: list[bytes]
) -> None:
    raw_provider.answer_in_two(chunk_event("a"), *rest)
    with replica.begin_chat("raw", stream=True) as call:
        call.peek_until(chunk_event("a"))
        raw_provider.go.set()
        answer = call.answer()

    assert answer.body.startswith(chunk_event("a"))
    assert answer.body.endswith(b"\n\n")
    assert [("error" in event, "upstream_error" in event) for event in answer.events][-1] == (True, True)
    assert answer.text.count('"error"') == 1
    assert DONE not in answer.events
    assert outcomes(cluster, "raw") == ("1", "1")


@pytest.mark.parametrize(
    "rest",
    [
        [b'data: {"error": {"message": "upstream words, sk-abcdefgh12345"}}\n\n'],
        [b'data: {"error": {"message": "upstream words, sk-abcdefgh12345"}}\n\n', DONE_EVENT],
        [b'data: {"error": {"message": "upstream words, sk-abcdefgh12345"}}'],
        [b'data: {"choices": [], "error": {"message": "upstream words, sk-abcdefgh12345"}}\n\n', DONE_EVENT],
        [b'data: {"error": "upstream words, sk-abcdefgh12345"}\n\n', DONE_EVENT],
        [b'event: error\ndata: {"message": "upstream words, sk-abcdefgh12345"}\n\n', DONE_EVENT],
    ],
    ids=["error", "error and DONE", "error without its end", "error after another key", "error as text", "event"],
)
def test_stream_that_ends_in_an_error_keeps_the_providers_words_without_keys(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, rest: list[bytes]
) -> None:
    raw_provider.answer_in_two(chunk_event("a"), *rest)
    with replica.begin_chat("raw", stream=True) as call:
        call.peek_until(chunk_event("a"))
        raw_provider.go.set()
        answer = call.answer()

    assert answer.body.startswith(chunk_event("a"))
    assert json.loads(answer.events[-1])["error"]["message"] == "upstream words, ***"
    assert DONE not in answer.events
    assert outcomes(cluster, "raw") == ("1", "1")


def test_error_after_a_preamble_is_answered_by_another_candidate(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, spare: ProviderProcess
) -> None:
    raw_provider.answer = stream(ROLE + b'data: {"error": {"message": "upstream words"}}\n\n')
    answer = replica.chat("raw-saved", stream=True)

    assert (answer.status, answer.headers["x-pllm-attempts"]) == (200, "2")
    assert answer.content.startswith("Hello from provider-1.")
    assert outcomes(cluster, "raw-saved") == ("1", "1")


@pytest.mark.parametrize("is_holding", [False, True], ids=["cut", "held open"])
def test_stream_that_is_complete_needs_no_end_of_its_body(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, is_holding: bool
) -> None:
    raw_provider.answer = stream(chunk_event("a"), DONE_EVENT).removesuffix(b"0\r\n\r\n")
    raw_provider.is_holding = is_holding
    answer = replica.chat("raw", stream=True)

    assert answer.body == chunk_event("a") + DONE_EVENT
    assert outcomes(cluster, "raw") == ("0", "0")


def test_stream_cut_inside_an_event_passes_on_whole_events_only(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = stream(chunk_event("a"), chunk_event("b"))[:-30]
    answer = replica.chat("raw", stream=True)

    assert answer.body.startswith(chunk_event("a") + b'data: {"error":')


def test_stream_that_stalls_after_its_first_bytes_ends_in_an_error_at_its_timeout(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_after_chunks=2)
    answer = replica.chat("hasty", stream=True)

    assert (answer.status, len(answer.events)) == (200, 4)
    assert "upstream_timeout" in answer.events[-1]
    assert outcomes(cluster, "hasty-primary") == ("1", "1")
    provider.wait_for(aborted=1, in_flight=0)


@pytest.mark.parametrize("tokens", ["-5", "1e26", "9" * 26, "null", "8.0"])
def test_strange_token_counts_do_no_harm(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, tokens: str
) -> None:
    usage = f'{{"choices": [], "usage": {{"completion_tokens": {tokens}}}}}'.encode()
    raw_provider.answer = plain(usage)
    plain_answer = replica.chat("raw")
    raw_provider.answer = stream(chunk_event("a"), b"data: " + usage + b"\n\n", DONE_EVENT)
    streamed_answer = replica.chat("raw", stream=True)
    cluster.wait_until_idle()

    assert (plain_answer.status, streamed_answer.events[-1]) == (200, DONE)
    assert cluster.deployment("raw").get("failures", "0") == "0"


def test_token_count_without_end_does_not_break_a_stream(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    usage = b'data: {"choices": [], "usage": {"completion_tokens": ' + b"9" * 5000 + b"}}\n\n"
    raw_provider.answer = stream(chunk_event("a"), usage, DONE_EVENT)

    assert replica.chat("raw", stream=True).events[-1] == DONE


def test_text_that_talks_of_done_and_error_is_only_text(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    text = 'data: [DONE]\n\ndata: {"error": {"message": "x"}}'
    raw_provider.answer = stream(chunk_event(text), chunk_event("b"), DONE_EVENT)
    answer = replica.chat("raw", stream=True)

    assert answer.content == text + "b"
    assert outcomes(cluster, "raw") == ("0", "0")


def test_body_goes_to_the_provider_byte_for_byte(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    body = b' {"messages" :[ {"role":"user","content":"\\u00e9 \xc3\xa9"}],\n "model": "raw" , "x": 1e2, "y": 2 } '
    replica.request("POST", "/v1/chat/completions", body)

    assert raw_provider.last_body == body


def test_only_the_models_name_is_rewritten(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    body = (
        b'{"messages":[ {"role" : "user","content":"\\u00e9 \xc3\xa9"} ],"model":"renamed",'
        b'"temperature":1e-1,"big":123456789012345678901234567890,"nested":{"model" : "renamed"}}'
    )
    replica.request("POST", "/v1/chat/completions", body)

    assert raw_provider.last_body == body.replace(b'"model":"renamed"', b'"model":"upstream-name"', 1)


def test_provider_closing_idle_connections_costs_no_call(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    """The raw provider closes after every answer without saying so."""
    answers = [replica.chat("raw").status for _ in range(20)]

    assert answers == [200] * 20


WHOLE = {False: plain(ANSWER), True: stream(chunk_event("raw"), DONE_EVENT)}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"
each_form = pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])


@each_form
@pytest.mark.parametrize("is_resetting", [False, True], ids=["closed", "reset"])
def test_kept_connection_that_ends_unanswered_is_replaced_by_a_new_one(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, is_stream: bool, is_resetting: bool
) -> None:
    raw_provider.answer, raw_provider.then, raw_provider.keeps = WHOLE[is_stream], [b"", WHOLE[is_stream]], 1
    raw_provider.is_resetting = is_resetting
    answers = [replica.chat("raw-saved", stream=is_stream) for _ in range(2)]
    cluster.wait_until_idle()

    assert [(answer.status, answer.content, answer.headers["x-pllm-attempts"]) for answer in answers] == [
        (200, "raw", "1")
    ] * 2
    assert (len(raw_provider.requests), raw_provider.connections) == (3, 2)
    assert raw_provider.requests[2] == raw_provider.requests[1]
    assert cluster.deployment("raw-saved").get("failures", "0") == "0"


@each_form
@pytest.mark.parametrize(
    "begun",
    [b"H", b"HTTP/1.1 200 OK\r\n", HEAD, HEAD + b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n'],
    ids=["a byte", "a line", "the head", "a preamble"],
)
def test_request_is_not_sent_again_once_a_byte_of_its_answer_has_come(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, is_stream: bool, begun: bytes
) -> None:
    raw_provider.answer, raw_provider.then, raw_provider.keeps = WHOLE[is_stream], [begun], 1
    replica.chat("raw-saved", stream=is_stream)
    answer = replica.chat("raw-saved", stream=is_stream)
    cluster.wait_until_idle()

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-saved>spare")
    assert (len(raw_provider.requests), raw_provider.connections) == (2, 1)
    assert cluster.deployment("raw-saved")["failures"] == "1"


@each_form
def test_new_connection_that_ends_unanswered_is_a_failure(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, is_stream: bool
) -> None:
    raw_provider.answer, raw_provider.then, raw_provider.keeps = WHOLE[is_stream], [b"", b""], 1
    replica.chat("raw-saved", stream=is_stream)
    answer = replica.chat("raw-saved", stream=is_stream)
    cluster.wait_until_idle()

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-saved>spare")
    assert len(raw_provider.requests) == 3
    assert cluster.deployment("raw-saved")["failures"] == "1"


def test_cookies_of_a_provider_are_not_sent_back(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(ANSWER, extra="set-cookie: tenant=a\r\n")
    replica.chat("raw")
    replica.chat("raw")

    wait_until(lambda: len(raw_provider.requests) == 2)
    assert b"cookie" not in raw_provider.requests[-1][0].lower()
