"""Large requests and answers on their way to a provider and back: they arrive whole, and cost the event loop little."""

import asyncio
import json
import threading
import time

import pytest

from gateway.configuration.provider import ProviderSettings, ProviderType
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.value_types import Secret
from gateway.request.calls import Kind, parse
from gateway.request.off_loop import LARGE
from gateway.upstream.client import UpstreamClient
from gateway.upstream.exchange import Exchange, StreamBroken
from shared_state.records import Outcome
from tests.support.raw_provider import RawProvider, plain, stream
from tests.support.recorded_streams import DONE, ROLE, START, TEXT_BLOCK, delta

# The transport takes the bytes as they are and sends what the socket has room for: that locks nothing.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

CONTENT = 'words, "quotes" and {braces}\n' * 100_000
MESSAGES = [{"role": "user", "content": CONTENT}]
USAGE = {"prompt_tokens": 8, "completion_tokens": 10}
ANSWERS: dict[ProviderType, dict[str, object]] = {
    "openai": {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": CONTENT}, "finish_reason": "stop"}],
        "usage": USAGE,
    },
    "anthropic": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": CONTENT}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 8, "output_tokens": 10},
    },
}
# CPU time of the loop's thread between two turns; a request of 3 MB took it for 30 ms, an answer for 60.
TURN_MOST_S = 0.02


class Turns:
    """The longest turn of an event loop."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._last_s = time.thread_time()

    def begin(self) -> None:
        now_s = time.thread_time()
        self.longest_s, self._last_s = max(self.longest_s, now_s - self._last_s), now_s
        asyncio.get_running_loop().call_later(0.001, self.begin)


def exchanged(url: str, kind: Kind, type_: ProviderType, is_stream: bool = False) -> tuple[Exchange, bytes, float]:
    """Returns the exchange of a large request, all that the client gets of it, and the loop's longest turn."""

    async def call() -> tuple[Exchange, bytes, float]:
        provider = ProviderSettings(type=type_, base_url=f"{url}/v1", api_key=Secret("key"), model="other")
        upstream = UpstreamClient([DeploymentSettings(id="d", model_name="m", provider=provider)])
        body = {"model": "m", "max_tokens": 9, "messages": MESSAGES, "stream": is_stream}
        request = parse(kind, json.dumps(body).encode())
        turns = Turns()
        turns.begin()
        try:
            exchange = await upstream.send("d", request)
            parts = [chunk async for chunk in exchange.chunks()] if is_stream and exchange.is_open else [exchange.body]
        finally:
            await upstream.close()
        return exchange, b"".join(parts), turns.longest_s

    return asyncio.run(call())


def text_of(answer: bytes) -> str:
    fields = json.loads(answer)
    text: str = fields["content"][0]["text"] if "content" in fields else fields["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("type_", ANSWERS)
@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.MESSAGE])
def test_large_call_comes_through_in_each_dialect(raw_provider: RawProvider, kind: Kind, type_: ProviderType) -> None:
    raw_provider.answer = plain(json.dumps(ANSWERS[type_]).encode())
    exchange, answer, longest_s = exchanged(raw_provider.url, kind, type_)

    sent = json.loads(raw_provider.last_body)
    assert (sent["model"], len(raw_provider.last_body) > LARGE) == ("other", True)
    assert CONTENT in json.dumps(sent["messages"], ensure_ascii=False).encode().decode("unicode_escape")
    assert (exchange.outcome, exchange.input_tokens, exchange.output_tokens) == (Outcome.SUCCESS, 8, 10)
    assert text_of(answer) == CONTENT
    assert longest_s < TURN_MOST_S


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.MESSAGE])
def test_large_event_comes_through_in_each_dialect(raw_provider: RawProvider, kind: Kind) -> None:
    raw_provider.answer = stream(ROLE, delta(content=CONTENT), delta(content="b", finish_reason="stop"), DONE)
    exchange, answer, longest_s = exchanged(raw_provider.url, kind, "openai", is_stream=True)

    assert exchange.outcome is Outcome.SUCCESS
    assert json.dumps(CONTENT, ensure_ascii=False).encode() in answer
    assert longest_s < TURN_MOST_S


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.MESSAGE])
def test_thousands_of_events_at_once_keep_their_order(raw_provider: RawProvider, kind: Kind) -> None:
    many = b"".join(delta(content=f" {number}") for number in range(5_000))
    raw_provider.answer = stream(ROLE, many, delta(content="end", finish_reason="stop"), DONE)
    _, answer, longest_s = exchanged(raw_provider.url, kind, "openai", is_stream=True)

    places = [answer.index(f'" {number}"'.encode()) for number in range(5_000)]
    assert places == sorted(places)
    assert longest_s < TURN_MOST_S


@pytest.mark.parametrize("event", [b": \n\n", b"data: {}\n\n", b"event: ping\n\n"])
@pytest.mark.parametrize("begin", [b"", START + TEXT_BLOCK])
def test_events_of_a_few_bytes_cannot_hold_the_loop(raw_provider: RawProvider, begin: bytes, event: bytes) -> None:
    raw_provider.answer = stream(begin + event * 50_000)
    try:
        longest_s = exchanged(raw_provider.url, Kind.MESSAGE, "anthropic", is_stream=True)[2]
    except StreamBroken:
        longest_s = 0.0

    assert longest_s < TURN_MOST_S


@pytest.fixture
def many_parts() -> bytes:
    return b"[" + b",".join([b"[]"] * 1_000_000) + b"]"


def test_answer_of_a_million_parts_is_passed_on_but_not_translated(
    raw_provider: RawProvider, many_parts: bytes
) -> None:
    raw_provider.answer = plain(b'{"choices":[{"message":{"x":%b}}],"usage":{"prompt_tokens":7}}' % many_parts)
    passed, _, longest_s = exchanged(raw_provider.url, Kind.CHAT, "openai")
    translated = exchanged(raw_provider.url, Kind.MESSAGE, "openai")[0]

    assert (passed.outcome, passed.input_tokens, translated.outcome) == (Outcome.SUCCESS, 7, Outcome.FAILURE)
    assert longest_s < TURN_MOST_S


def test_error_of_a_million_parts_has_no_known_shape(raw_provider: RawProvider, many_parts: bytes) -> None:
    raw_provider.answer = plain(b'{"error":{"message":"no","x":%b}}' % many_parts, "400 Bad Request")
    exchange = exchanged(raw_provider.url, Kind.CHAT, "openai")[0]

    assert (exchange.status, exchange.error) == (400, None)


def test_error_that_names_a_thousand_things_is_judged_off_the_loop(raw_provider: RawProvider) -> None:
    names = " ".join(f"a-{number}" for number in range(10_000, 10_250))
    raw_provider.answer = plain(json.dumps({"error": {"message": names}}).encode(), "404 Not Found")
    longest_s = exchanged(raw_provider.url, Kind.CHAT, "openai")[2]

    assert longest_s < TURN_MOST_S


def test_one_thread_takes_all_large_bodies(raw_provider: RawProvider) -> None:
    raw_provider.answer = plain(json.dumps(ANSWERS["openai"]).encode())
    exchanged(raw_provider.url, Kind.CHAT, "openai")

    assert sum(thread.name.startswith("pllm-bodies") for thread in threading.enumerate()) == 1
