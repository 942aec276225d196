"""How long a provider's headers tell callers to wait."""

import datetime
import email.utils
import time

import pytest

from gateway.upstream.retry_after import retry_after_ms, served_ms, throttled_ms


def after(value: str | None) -> dict[bytes, bytes]:
    return {} if value is None else {b"retry-after": value.encode()}


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (None, 0), ("", 0), ("soon", 0), ("-1", 0), ("nan", 0), ("0", 0), ("1", 1000), ("0.25", 250), (" 2 ", 2000),
        ("86400", 86_400_000), ("1e300", 86_400_000), ("inf", 86_400_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400_000), ("Fri, 99 Foo", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_and_bounded_by_a_day(value: str | None, milliseconds: int) -> None:
    assert retry_after_ms(after(value), {}) == milliseconds


def test_retry_after_may_be_the_time_since_1970() -> None:
    assert 17_000 <= retry_after_ms(after(str(int(time.time()) + 20)), {}) <= 20_000


def test_retry_after_in_milliseconds_is_more_exact() -> None:
    assert retry_after_ms({b"retry-after-ms": b"1500", b"retry-after": b"2"}, {}) == 1500
    assert retry_after_ms({b"retry-after-ms": b"soon", b"retry-after": b"2"}, {}) == 2000


def test_retry_after_may_be_a_date() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)

    assert 97_000 <= retry_after_ms(after(date), {}) <= 100_000


@pytest.mark.parametrize("off_s", [-3600, 0, 3600])
def test_dates_of_an_answer_are_read_by_the_clock_that_dated_it(off_s: int) -> None:
    """Either clock may be an hour off; an answer without a readable date is taken to be right."""
    now_s = int(time.time()) + off_s
    dated = {"date": email.utils.formatdate(now_s, usegmt=True)}
    reset = datetime.datetime.fromtimestamp(now_s + 20, datetime.UTC).isoformat().encode()
    limits = {f"{AT}tokens-remaining".encode(): b"0", f"{AT}tokens-reset".encode(): reset}

    assert retry_after_ms(after(email.utils.formatdate(now_s + 100, usegmt=True)), dated) == 100_000
    assert served_ms(limits, dated) == 20_000
    for epoch in (b"%d" % (now_s + 20), b"%d" % (1000 * (now_s + 20))):
        assert served_ms({b"x-ratelimit-remaining": b"0", b"x-ratelimit-reset": epoch}, dated) == 20_000
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    for unreadable in ("", "yesterday", "Fri, 99 Foo"):
        assert 97_000 <= retry_after_ms(after(soon), {"date": unreadable}) <= 100_000


AT = "anthropic-ratelimit-"
LEFT, RESET = b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"


@pytest.mark.parametrize(
    ("headers", "ms"),
    [
        ({}, 0),
        ({LEFT: b"1", RESET: b"6s"}, 0),
        ({LEFT: b"0", RESET: b"6s"}, 6000),
        ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"1m0.5s"}, 60_000),
        ({b"x-ratelimit-remaining-tokens": b" 0 ", b"x-ratelimit-reset-tokens": b"120ms"}, 120),
        ({LEFT: b"0", RESET: b"2.5"}, 2500),
        ({LEFT: b"0", RESET: b"0s"}, 0),
        ({LEFT: b"0", RESET: b"0"}, 0),
        ({LEFT: b"0", RESET: b"-1"}, 0),
        ({LEFT: b"-1", RESET: b"-1"}, 0),
        ({LEFT: b"0"}, 0),
        ({LEFT: b"0", RESET: b"soon"}, 0),
        ({LEFT: b"0", RESET: b"\xff9999999999999h"}, 0),
        ({f"{AT}tokens-remaining".encode(): b"0", f"{AT}tokens-reset".encode(): b"2001-01-01T00:00:00Z"}, 0),
        ({f"{AT}requests-remaining".encode(): b"0", f"{AT}requests-reset".encode(): b"2999-01-01T00:00:00Z"}, 60_000),
        ({b"x-ratelimit-remaining-images": b"0", b"x-ratelimit-reset-images": b"9s"}, 0),
        ({f"{AT}priority-input-tokens-remaining".encode(): b"0", f"{AT}priority-input-tokens-reset".encode(): b"9"}, 0),
        ({b"x-ratelimit-remaining-requests-day": b"0", b"x-ratelimit-reset-requests-day": b"3h"}, 60_000),
    ],
)  # fmt: skip
def test_served_answer_cools_only_until_a_reset_that_it_names(headers: dict[bytes, bytes], ms: int) -> None:
    assert served_ms(headers, {}) == ms


@pytest.mark.parametrize(
    ("headers", "ms"),
    [
        ({}, 0),
        ({LEFT: b"0", RESET: b"20s"}, 20_000),
        ({LEFT: b"0", RESET: b"3h"}, 10_800_000),
        ({RESET: b"20s"}, 20_000),
        ({LEFT: b"5", RESET: b"20s"}, 0),
        ({LEFT: b"5", RESET: b"20s", b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"7s"}, 7_000),
        ({LEFT: b"0", RESET: b"2s", b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"7s"}, 7_000),
        ({LEFT: b"-12", RESET: b"2s"}, 2_000),
        ({LEFT: b"0", RESET: b"999d"}, 86_400_000),
    ],
)
def test_throttled_answer_cools_until_the_limits_that_are_used_up_reset(headers: dict[bytes, bytes], ms: int) -> None:
    assert throttled_ms(headers, {}) == ms
