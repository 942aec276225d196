"""The counts: every call ends in exactly one of them, and a disconnect of a client is noticed at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from loadtest.provider.counts import Counts
from tests.loadtest.process import CHAT, ProviderProcess

ENDINGS = ("succeeded", "errors", "aborted", "cut")
# Longer than any test runs: only a noticed abort can end these waits.
FOREVER_MS = 60_000


def test_client_that_leaves_while_uploading_is_aborted(provider: ProviderProcess) -> None:
    caller = provider.call(sent=10)
    provider.wait_for(in_flight=1)
    caller.leave()

    provider.wait_for(in_flight=0, aborted=1)


@pytest.mark.parametrize(
    "behaviour", [{"latency_ms": FOREVER_MS}, {"stall_rate": 1}, {"fail_first": 1, "latency_ms": FOREVER_MS}]
)
@pytest.mark.parametrize("stream", [False, True])
def test_client_that_leaves_before_the_first_byte_is_aborted(
    provider: ProviderProcess, behaviour: dict[str, Any], stream: bool
) -> None:
    provider.behave(**behaviour)
    caller = provider.call(stream=stream)
    provider.wait_for(in_flight=1)
    caller.leave()

    provider.wait_for(in_flight=0, aborted=1, by_status={})


@pytest.mark.parametrize("behaviour", [{"chunk_gap_ms": FOREVER_MS}, {"stall_after_chunks": 1}])
def test_client_that_leaves_between_chunks_is_aborted(provider: ProviderProcess, behaviour: dict[str, Any]) -> None:
    provider.behave(**behaviour)
    caller = provider.call(stream=True)
    caller.read_until(b"Hello")
    caller.leave()

    provider.wait_for(in_flight=0, aborted=1, by_status={"200": 1})


def test_client_that_never_reads_and_leaves_is_aborted(provider: ProviderProcess) -> None:
    provider.behave(chunks=50_000)
    caller = provider.call(stream=True)
    provider.wait_for(in_flight=1, by_status={"200": 1})
    caller.leave()

    provider.wait_for(in_flight=0, aborted=1)


def test_many_callers_are_in_flight_together_and_all_leave(provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)
    with ExitStack() as callers:
        for _ in range(50):
            callers.enter_context(provider.call())
        provider.wait_for(in_flight=50)

    counts = provider.wait_for(in_flight=0)
    assert (counts["aborted"], counts["max_in_flight"], counts["requests"]) == (50, 50, 50)


def test_every_call_has_exactly_one_ending(provider: ProviderProcess) -> None:
    def call(number: int) -> None:
        if number % 5 == 0:
            provider.call().leave()
        else:
            provider.chat()

    provider.behave(error_rate=0.3, latency_ms=5, latency_distribution="exponential", latency_spread=1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(100)))

    counts = provider.wait_for(in_flight=0)
    assert sum(counts[ending] for ending in ENDINGS) == counts["requests"]
    assert counts["aborted"] + counts["succeeded"] + counts["errors"] == counts["requests"]
    assert counts["by_status"].keys() <= {"200", "500"}


def test_by_status_counts_answers_of_every_status(provider: ProviderProcess) -> None:
    provider.behave(fail_first=2, error_status=429)
    for _ in range(5):
        provider.chat()

    counts = provider.counts()
    assert counts["by_status"] == {"200": 3, "429": 2}
    assert (counts["succeeded"], counts["errors"]) == (3, 2)


def test_newest_call_is_kept_with_headers_and_body(provider: ProviderProcess) -> None:
    provider.chat(model="old")
    provider.request("POST", CHAT, {"model": "new", "messages": [1]}, {"Authorization": "Bearer s"})

    counts = provider.counts()
    assert counts["last_headers"]["authorization"] == "Bearer s"
    assert counts["last_body"] == {"model": "new", "messages": [1]}


def test_body_that_is_not_json_is_kept_as_text(provider: ProviderProcess) -> None:
    provider.request("POST", CHAT, b"{not json")

    assert provider.counts()["last_body"] == "{not json"


def test_reset_keeps_only_the_calls_in_flight() -> None:
    counts = Counts()
    counts.begin()
    counts.begin()
    counts.in_flight -= 1
    counts.answer(200)

    counts.reset()

    assert counts == Counts(requests=1, in_flight=1, max_in_flight=1)
