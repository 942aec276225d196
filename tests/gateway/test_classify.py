"""What an answer means, and how long a provider asks to be left alone."""

import email.utils
import time

import aiohttp
import httpx
import pytest

from gateway.classify import classify_fault, classify_status, retry_after_ms
from shared_state.records import Outcome


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 204, 299), Outcome.SUCCESS),
        ((101, 301, 302, 304, 500, 501, 502, 504, 599, 999), Outcome.FAILURE),
        ((401, 403, 404), Outcome.FAILURE),
        ((400, 402, 405, 409, 413, 415, 418, 422, 451, 499), Outcome.CLIENT_ERROR),
        ((408,), Outcome.TIMEOUT),
        ((429,), Outcome.THROTTLED),
        ((503, 529), Outcome.OVERLOADED),
    ],
)
def test_status_means_one_outcome(statuses: tuple[int, ...], outcome: Outcome) -> None:
    assert {classify_status(status) for status in statuses} == {outcome}


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        (TimeoutError(), Outcome.TIMEOUT),
        (aiohttp.SocketTimeoutError(), Outcome.TIMEOUT),
        (aiohttp.ConnectionTimeoutError(), Outcome.TIMEOUT),
        (aiohttp.ServerDisconnectedError(), Outcome.FAILURE),
        (aiohttp.ClientPayloadError(), Outcome.FAILURE),
        (ConnectionResetError(), Outcome.FAILURE),
    ],
)
def test_fault_is_judged_by_its_cause(cause: Exception, outcome: Outcome) -> None:
    mapped = httpx.ReadError("as httpx puts it")
    mapped.__cause__ = cause

    assert classify_fault(mapped) is classify_fault(cause) is outcome


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (None, 0), ("", 0), ("soon", 0), ("-1", 0), ("nan", 0), ("0", 0), ("1", 1000), ("0.25", 250), (" 2 ", 2000),
        ("86400", 86_400_000), ("1e300", 86_400_000), ("inf", 86_400_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400_000), ("Fri, 99 Foo", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_and_bounded_by_a_day(value: str | None, milliseconds: int) -> None:
    assert retry_after_ms(value) == milliseconds


def test_retry_after_may_be_a_date() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)

    assert 97_000 <= retry_after_ms(date) <= 100_000
