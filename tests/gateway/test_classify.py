"""What an answer means, and how long a provider asks to be left alone."""

import datetime
import email.utils
import time

import aiohttp
import pytest

from gateway.calls import UpstreamError
from gateway.classify import (
    Refusal,
    classify_fault,
    classify_refusal,
    classify_status,
    is_quota_exhausted,
    retry_after_ms,
    used_up_ms,
)
from shared_state.records import Outcome


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 299), Outcome.SUCCESS),
        ((204, 205, 206), Outcome.FAILURE),
        ((101, 301, 302, 304, 500, 501, 502, 504, 599, 999), Outcome.FAILURE),
        ((401, 403, 404, 405, 407, 409, 410), Outcome.FAILURE),
        ((400, 406, 413, 415, 418, 422, 451, 499), Outcome.CLIENT_ERROR),
        ((408,), Outcome.TIMEOUT),
        ((402, 429), Outcome.THROTTLED),
        ((503, 529), Outcome.OVERLOADED),
    ],
)
def test_status_means_one_outcome(statuses: tuple[int, ...], outcome: Outcome) -> None:
    assert {classify_status(status) for status in statuses} == {outcome}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (TimeoutError(), Outcome.TIMEOUT),
        (aiohttp.SocketTimeoutError(), Outcome.TIMEOUT),
        (aiohttp.ConnectionTimeoutError(), Outcome.TIMEOUT),
        (aiohttp.ServerDisconnectedError(), Outcome.FAILURE),
        (aiohttp.ClientPayloadError(), Outcome.FAILURE),
        (ConnectionResetError(), Outcome.FAILURE),
    ],
)
def test_fault_is_a_time_out_or_a_failure(fault: Exception, outcome: Outcome) -> None:
    assert classify_fault(fault) is outcome


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (None, 0), ("", 0), ("soon", 0), ("-1", 0), ("nan", 0), ("0", 0), ("1", 1000), ("0.25", 250), (" 2 ", 2000),
        ("86400", 86_400_000), ("1e300", 86_400_000), ("inf", 86_400_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400_000), ("Fri, 99 Foo", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_and_bounded_by_a_day(value: str | None, milliseconds: int) -> None:
    assert retry_after_ms(value, {}) == milliseconds


def test_retry_after_may_be_a_date() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)

    assert 97_000 <= retry_after_ms(date, {}) <= 100_000


@pytest.mark.parametrize("off_s", [-3600, 0, 3600])
def test_dates_of_an_answer_are_read_by_the_clock_of_whoever_answered(off_s: int) -> None:
    """Either clock may be an hour off; one that tells no time, or none that can be read, is taken to be right."""
    now_s = int(time.time()) + off_s
    dated = {"date": email.utils.formatdate(now_s, usegmt=True)}
    reset = datetime.datetime.fromtimestamp(now_s + 20, datetime.UTC).isoformat().encode()
    limits = {f"{AT}tokens-remaining".encode(): b"0", f"{AT}tokens-reset".encode(): reset}

    assert retry_after_ms(email.utils.formatdate(now_s + 100, usegmt=True), dated) == 100_000
    assert used_up_ms(limits, dated) == 20_000
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    for unreadable in ("", "yesterday", "Fri, 99 Foo"):
        assert 97_000 <= retry_after_ms(soon, {"date": unreadable}) <= 100_000


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (UpstreamError(code="context_length_exceeded"), Refusal.CONTEXT_WINDOW),
        (UpstreamError("prompt is too long: 210000 tokens > 200000 maximum"), Refusal.CONTEXT_WINDOW),
        (UpstreamError("This model's maximum context length is 4096 tokens."), Refusal.CONTEXT_WINDOW),
        (UpstreamError("input length and `max_tokens` exceed context limit: 9 + 9 > 10"), Refusal.CONTEXT_WINDOW),
        (UpstreamError("the request exceeds the available context size"), Refusal.CONTEXT_WINDOW),
        (UpstreamError("Input is too long for requested model."), Refusal.CONTEXT_WINDOW),
        (UpstreamError("The input token count exceeds the maximum number of tokens allowed 9"), Refusal.CONTEXT_WINDOW),
        (UpstreamError(code="content_filter"), Refusal.CONTENT_POLICY),
        (UpstreamError(code="content_policy_violation"), Refusal.CONTENT_POLICY),
        (UpstreamError("temperature must be at most 2", code=400), None),
    ],
)
def test_refusal_says_whether_another_model_may_take_the_request(error: UpstreamError, refusal: Refusal | None) -> None:
    assert classify_refusal(error) is refusal


@pytest.mark.parametrize(
    ("status", "error", "is_exhausted"),
    [
        (429, UpstreamError(type="insufficient_quota", code="insufficient_quota"), True),
        (429, UpstreamError(code="rate_limit_exceeded"), False),
        (429, UpstreamError(), False),
        (429, None, False),
        (402, None, True),
        (402, UpstreamError(type="billing_error"), True),
        (400, UpstreamError("Your credit balance is too low to access the Anthropic API."), True),
        (400, UpstreamError("temperature must be at most 2"), False),
        (500, UpstreamError(code="insufficient_quota"), False),
    ],
)
def test_used_up_quota_is_told_from_a_rate_limit(status: int, error: UpstreamError | None, is_exhausted: bool) -> None:
    assert is_quota_exhausted(status, error) is is_exhausted


AT = "anthropic-ratelimit-"


@pytest.mark.parametrize(
    ("headers", "ms"),
    [
        ({}, 0),
        ({b"x-ratelimit-remaining-requests": b"1", b"x-ratelimit-reset-requests": b"6s"}, 0),
        ({b"x-ratelimit-remaining-requests": b"0", b"x-ratelimit-reset-requests": b"6s"}, 6000),
        ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"1m0.5s"}, 60_000),
        ({b"x-ratelimit-remaining-tokens": b" 0 ", b"x-ratelimit-reset-tokens": b"120ms"}, 120),
        ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"2.5"}, 2500),
        ({b"x-ratelimit-remaining-tokens": b"0"}, 1000),
        ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"soon"}, 1000),
        ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"\xff9999999999999h"}, 1000),
        ({f"{AT}tokens-remaining".encode(): b"0", f"{AT}tokens-reset".encode(): b"2001-01-01T00:00:00Z"}, 1),
        ({f"{AT}requests-remaining".encode(): b"0", f"{AT}requests-reset".encode(): b"2999-01-01T00:00:00Z"}, 60_000),
    ],
)  # fmt: skip
def test_limit_that_is_used_up_is_learned_from_the_answer(headers: dict[bytes, bytes], ms: int) -> None:
    assert used_up_ms(headers, {}) == ms
