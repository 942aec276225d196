"""Every field of the behaviour, as a client sees it on the wire."""

import http.client
import json
import time
from typing import Any

import pytest

from tests.loadtest.process import CHAT, ProviderProcess, chat_body


def elapsed_ms(since_s: float) -> float:
    return 1000 * (time.monotonic() - since_s)


def test_latency_delays_the_first_byte(provider: ProviderProcess) -> None:
    provider.behave(latency_ms=60)
    began_s = time.monotonic()

    assert provider.chat().status == 200
    assert elapsed_ms(began_s) >= 60


def test_latency_delays_errors_too(provider: ProviderProcess) -> None:
    provider.behave(latency_ms=60, error_rate=1)
    began_s = time.monotonic()

    assert provider.chat().status == 500
    assert elapsed_ms(began_s) >= 60


@pytest.mark.parametrize("distribution", ["fixed", "uniform", "exponential", "lognormal"])
def test_every_distribution_without_spread_is_the_mean(provider: ProviderProcess, distribution: str) -> None:
    provider.behave(latency_ms=30, latency_distribution=distribution, latency_spread=0)
    began_s = time.monotonic()

    assert provider.chat().status == 200
    assert elapsed_ms(began_s) >= 30


def test_chunk_gap_spaces_the_chunks_of_a_stream(provider: ProviderProcess) -> None:
    provider.behave(chunk_gap_ms=20, chunks=4)
    began_s = time.monotonic()

    assert provider.chat(stream=True).body.endswith(b"data: [DONE]\n\n")
    assert elapsed_ms(began_s) >= 60


def test_chunks_are_content_events_and_tokens(provider: ProviderProcess) -> None:
    provider.behave(chunks=3)

    stream = provider.chat(stream=True).body.decode()
    assert stream.count('"delta":{"content":') == 3
    assert provider.chat().json()["usage"]["completion_tokens"] == 3


def test_error_rate_repeats_after_the_same_seed(provider: ProviderProcess) -> None:
    def run(seed: int) -> list[int]:
        provider.behave(error_rate=0.5, seed=seed)
        return [provider.chat().status for _ in range(40)]

    first = run(7)

    assert run(7) == first
    assert run(8) != first
    assert set(first) == {200, 500}


@pytest.mark.parametrize(
    ("status", "openai_type", "anthropic_type"),
    [
        (401, "invalid_request_error", "authentication_error"),
        (429, "requests", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (503, "server_error", "api_error"),
        (529, "server_error", "overloaded_error"),
    ],
)
def test_error_status_speaks_both_dialects(
    provider: ProviderProcess, status: int, openai_type: str, anthropic_type: str
) -> None:
    provider.behave(error_rate=1, error_status=status)

    chat, message = provider.chat(), provider.message(stream=True)
    assert (chat.status, chat.json()["error"]["type"]) == (status, openai_type)
    assert (message.status, message.json()["error"]["type"]) == (status, anthropic_type)


def test_retry_after_is_sent_with_errors_only(provider: ProviderProcess) -> None:
    provider.behave(fail_first=1, error_status=429, retry_after_s=2.5)

    assert provider.chat().headers["retry-after"] == "2.5"
    assert "retry-after" not in provider.chat().headers


@pytest.mark.parametrize(
    ("error_body", "content_type"),
    [("<h1>Bad Gateway</h1>", "text/html"), ("not json", "application/json"), ("", "application/json")],
)
def test_error_body_is_sent_as_it_is(provider: ProviderProcess, error_body: str, content_type: str) -> None:
    provider.behave(error_rate=1, error_body=error_body)

    reply = provider.chat()
    assert reply.body.decode() == error_body
    assert reply.headers["content-type"] == content_type


def test_fail_first_fails_so_many_calls_and_counts_down(provider: ProviderProcess) -> None:
    provider.behave(fail_first=2, error_status=503)

    assert [provider.chat().status for _ in range(3)] == [503, 503, 200]
    assert provider.request("GET", "/control").json()["behaviour"]["fail_first"] == 0


def test_calls_beyond_the_slots_wait_for_their_turn(provider: ProviderProcess) -> None:
    provider.behave(slots=1, stall_after_chunks=1)
    with provider.call(stream=True) as first:
        first.read_until(b"Hello")
        provider.behave(stall_after_chunks=None)
        with provider.call(stream=True) as second, provider.call(stream=True) as third:
            provider.wait_for(in_flight=3)
            assert not second.has_data()
            second.leave()
            provider.wait_for(in_flight=2, aborted=1)
            first.leave()

            assert third.read_until(b"[DONE]")


def test_close_first_closes_so_many_connections_without_an_answer(provider: ProviderProcess) -> None:
    provider.behave(close_first=1)

    with pytest.raises(http.client.RemoteDisconnected):
        provider.chat()
    assert provider.chat().status == 200
    assert provider.wait_for(in_flight=0, cut=1, succeeded=1)["by_status"] == {"200": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_connections_end_with_their_answer_without_keep_alive(provider: ProviderProcess, stream: bool) -> None:
    provider.behave(keep_alive=False)

    assert provider.chat(stream=stream).headers["connection"] == "close"


def test_stall_rate_sends_nothing(provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)

    with provider.call() as caller:
        provider.wait_for(in_flight=1)
        assert not caller.has_data()
        assert provider.counts()["by_status"] == {}


def test_stall_after_no_chunk_sends_only_the_headers(provider: ProviderProcess) -> None:
    provider.behave(stall_after_chunks=0)

    with provider.call(stream=True) as caller:
        head = caller.read_until(b"\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert not caller.has_data()


def test_stall_after_chunks_leaves_the_stream_open(provider: ProviderProcess) -> None:
    provider.behave(stall_after_chunks=2)

    with provider.call(stream=True) as caller:
        data = caller.read_until(b"word")
        provider.wait_for(in_flight=1)
        assert data.count(b'"delta":{"content":') == 2
        assert not caller.has_data()


@pytest.mark.parametrize("chunks", [0, 3])
def test_cut_stream_ends_without_its_last_chunk(provider: ProviderProcess, chunks: int) -> None:
    provider.behave(cut_after_chunks=chunks)

    with pytest.raises(http.client.IncompleteRead) as caught:
        provider.chat(stream=True)
    assert caught.value.partial.count(b'"delta":{"content":') == chunks
    assert provider.counts()["cut"] == 1


def test_cut_plain_answer_ends_after_half_of_the_body(provider: ProviderProcess) -> None:
    provider.behave(cut_after_chunks=5)

    with pytest.raises(http.client.IncompleteRead) as caught:
        provider.chat()
    assert caught.value.expected is not None
    assert abs(len(caught.value.partial) - caught.value.expected) <= 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("malformed", "content_type", "start"),
    [("html", "text/html", b"<html>"), ("half_json", None, None), ("empty", None, b"")],
)
def test_malformed_answer_is_a_200_that_no_client_can_parse(
    provider: ProviderProcess, malformed: str, content_type: str | None, start: bytes | None, stream: bool
) -> None:
    provider.behave(malformed=malformed)

    reply = provider.chat(stream=stream)
    expected_type = content_type or ("text/event-stream" if stream else "application/json")
    assert (reply.status, reply.headers["content-type"]) == (200, expected_type)
    assert reply.body.startswith(start or b"")
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body.removeprefix(b"data: "))


def test_running_call_keeps_the_behaviour_it_started_with(provider: ProviderProcess) -> None:
    provider.behave(chunks=2, chunk_gap_ms=100)

    with provider.call(stream=True) as caller:
        caller.read_until(b"Hello")
        provider.behave(cut_after_chunks=0)
        assert caller.read_until(b"[DONE]")


ALL_FIELDS: dict[str, Any] = {
    "latency_ms": 1.0,
    "latency_distribution": "uniform",
    "latency_spread": 0.1,
    "chunk_gap_ms": 1.0,
    "chunks": 2,
    "tool_calls": 1,
    "prompt_cache": 9,
    "slots": 2,
    "error_rate": 0.0,
    "error_status": 503,
    "retry_after_s": 1.0,
    "error_body": "x",
    "fail_first": 1,
    "close_first": 1,
    "keep_alive": False,
    "stall_rate": 0.0,
    "stall_after_chunks": 9,
    "cut_after_chunks": 9,
    "malformed": "empty",
    "keeps_state": True,
    "seed": 3,
}


def test_every_field_can_be_set_and_read_back(provider: ProviderProcess) -> None:
    assert provider.behave(**ALL_FIELDS) == ALL_FIELDS


def test_calls_share_one_connection(provider: ProviderProcess) -> None:
    connection = http.client.HTTPConnection(*provider.address, timeout=10)
    for _ in range(3):
        connection.request("POST", CHAT, json.dumps(chat_body()))
        assert connection.getresponse().read()
    connection.close()

    assert provider.counts()["succeeded"] == 3
