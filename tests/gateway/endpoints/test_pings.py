"""Pings while a stream waits: the answer after them is the same, and a failure is an event of the stream."""

import json
from collections.abc import Iterator

import anthropic
import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.raw_provider import DONE_EVENT, RawProvider, chunk_event
from tests.support.recorded_streams import (
    BLOCK_STOP,
    HELLO,
    MESSAGE_END,
    MESSAGE_STOP,
    START,
    TEXT_BLOCK,
    THINKING_BLOCK,
    delta,
    event,
)

PING = b": ping\n\n"
MESSAGE_PING = b'event: ping\ndata: {"type": "ping"}\n\n'


@pytest.fixture(scope="module")
def pinging_cluster(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], raw_provider_thread: RawProvider
) -> Iterator[Cluster]:
    first, second = provider_processes
    raw = raw_provider_thread.url
    models = [
        deployment("first", first, timeout="1s"),
        deployment("second", second, "spare"),
        deployment("raw", raw, "raw"),
        deployment("raw-claude", raw, "raw-claude", provider_fields={"type": "anthropic"}),
    ]
    with running_cluster(
        store,
        provider_processes,
        models,
        domain="pinging",
        replicas=2,
        server={"ping_interval": "50ms"},
        router={"latency_threshold": "8s"},
    ) as cluster:
        yield cluster


@pytest.fixture
def pinging(pinging_cluster: Cluster, raw_provider_thread: RawProvider) -> Iterator[Cluster]:
    raw_provider_thread.forget()
    pinging_cluster.forget()
    first = pinging_cluster.providers[0]
    first.behave(latency_ms=300)
    yield pinging_cluster
    first.behave(latency_ms=0, stall_rate=0, error_rate=0, error_status=500)
    pinging_cluster.check()


def test_stream_begins_with_pings_while_it_waits(pinging: Cluster) -> None:
    answer = pinging.replicas[0].chat(stream=True)

    assert answer.status == 200
    assert answer.body.startswith(PING)
    assert answer.content == "Hello from provider-0." + " word" * 7
    assert answer.body.endswith(b"data: [DONE]\n\n")
    pinging.wait_until_idle()


@pytest.mark.parametrize("status", [500, 400])
def test_failure_behind_pings_is_an_error_in_the_stream(pinging: Cluster, status: int) -> None:
    pinging.providers[0].behave(error_rate=1, error_status=status)
    answer = pinging.replicas[0].chat(stream=True)

    assert answer.status == 200
    assert answer.body.startswith(PING)
    assert answer.body.count(b'data: {"error"') == 1
    assert b"[DONE]" not in answer.body


def test_plain_answer_has_no_pings(pinging: Cluster) -> None:
    replica: ReplicaProcess = pinging.replicas[0]

    assert replica.chat().json()["choices"]


def test_client_that_leaves_while_it_is_pinged_ends_the_call(pinging: Cluster) -> None:
    provider = pinging.providers[0]
    provider.behave(stall_rate=1)
    with pinging.replicas[0].begin_chat(stream=True) as call:
        call.read_until(PING)
    pinging.wait_until_idle()

    assert provider.wait_for(in_flight=0)["aborted"] >= 1


HI = [{"role": "user", "content": "hi"}]
CHAT_THOUGHTS = [delta(reasoning_content="hm")] * 8
THOUGHT = event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
MESSAGE_THOUGHTS = [START, THINKING_BLOCK, *[THOUGHT] * 8, BLOCK_STOP]
AUDIO = [delta(audio={"id": "a", "data": "AAAA"})] * 8
SEARCH_BLOCK = event(
    "content_block_start",
    index=0,
    content_block={"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
)
QUERY = event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": " "})
SEARCH = [START, SEARCH_BLOCK, *[QUERY] * 8, BLOCK_STOP]


def streamed(cluster: Cluster, path: str, model: str) -> bytes:
    body = json.dumps({"model": model, "stream": True, "max_tokens": 9, "messages": HI}).encode()
    answer = cluster.replicas[0].request("POST", path, body).body
    cluster.wait_until_idle()
    return answer


def test_client_of_another_dialect_is_pinged_while_the_provider_sends_nothing_for_it(
    pinging: Cluster, raw_provider_thread: RawProvider
) -> None:
    """Audio and searches at the provider: the client's dialect has no words for them."""
    raw_provider_thread.answer_in_drips(*AUDIO, chunk_event("done"), delta("stop"), DONE_EVENT)
    message = streamed(pinging, "/v1/messages", "raw")
    raw_provider_thread.answer_in_drips(*SEARCH, TEXT_BLOCK, HELLO, MESSAGE_END, MESSAGE_STOP)
    chat = streamed(pinging, "/v1/chat/completions", "raw-claude")

    assert message.count(MESSAGE_PING) >= 3
    assert message.index(MESSAGE_PING) < message.index(b"done")
    assert chat.count(PING) >= 3
    assert chat.endswith(DONE_EVENT)


def test_official_client_reads_over_the_pings(pinging: Cluster, raw_provider_thread: RawProvider) -> None:
    raw_provider_thread.answer_in_drips(*CHAT_THOUGHTS, chunk_event("done"), delta("stop"), DONE_EVENT)
    with (
        anthropic.Anthropic(base_url=pinging.replicas[0].url, api_key="any", max_retries=0) as claude,
        claude.messages.stream(model="raw", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as events,
    ):
        assert events.get_final_text() == "done"


def test_client_of_the_same_dialect_gets_the_thoughts_themselves(
    pinging: Cluster, raw_provider_thread: RawProvider
) -> None:
    raw_provider_thread.answer_in_drips(*CHAT_THOUGHTS, delta("stop"), DONE_EVENT)
    answer = streamed(pinging, "/v1/chat/completions", "raw")

    assert answer.endswith(b"".join([*CHAT_THOUGHTS, delta("stop"), DONE_EVENT]))
