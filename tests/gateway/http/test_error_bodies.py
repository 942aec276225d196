"""Errors as a client gets them."""

import json

import pytest

from gateway.errors import (
    Attempt,
    BudgetExceeded,
    GatewayError,
    NoHealthyDeployment,
    Overloaded,
    QueueFull,
    QuotaExhausted,
    RateLimited,
    StateLost,
    Unauthorized,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamTimedOut,
)
from gateway.http.error_bodies import body_of, headers_of


def test_body_is_one_error_object_of_openai() -> None:
    body = json.loads(body_of(GatewayError("What went wrong.", param="model")))

    assert body == {
        "error": {"message": "What went wrong.", "type": "api_error", "param": "model", "code": "internal_error"}
    }


def test_attempts_are_listed_next_to_the_message() -> None:
    body = json.loads(body_of(UpstreamFailed("No.", details=(Attempt("a", "timeout"), Attempt("b", "failure")))))

    assert body["error"]["attempts"] == [
        {"deployment": "a", "outcome": "timeout"},
        {"deployment": "b", "outcome": "failure"},
    ]


@pytest.mark.parametrize(
    ("wait_ms", "seconds"), [(1, b"1"), (1000, b"1"), (1001, b"2"), (0, b"1"), (86_400_000, b"86400")]
)
def test_retry_after_is_rounded_up_to_whole_seconds(wait_ms: int, seconds: bytes) -> None:
    headers = dict(headers_of(Overloaded("Later.", "full", retry_after_ms=wait_ms)))

    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (seconds, b"%d" % wait_ms)


def in_vain(error: GatewayError) -> GatewayError:
    error.is_in_vain = True
    return error


@pytest.mark.parametrize(
    ("error", "is_worth_it"),
    [
        (UpstreamFailed("No."), True),
        (UpstreamTimedOut("Late."), True),
        (UpstreamOverloaded("Full.", retry_after_ms=1000), True),
        (NoHealthyDeployment("None.", retry_after_ms=1000), True),
        (RateLimited("Later.", retry_after_ms=1000), True),
        (QueueFull("Full.", retry_after_ms=1000), True),
        (StateLost("Away.", retry_after_ms=1000), True),
        (in_vain(UpstreamFailed("A refused key.")), False),
        (Unauthorized("No key."), False),
        (QuotaExhausted("Paid out."), False),
        (BudgetExceeded("Too much."), False),
    ],
)
def test_client_may_retry_unless_it_is_in_vain(error: GatewayError, is_worth_it: bool) -> None:
    assert dict(headers_of(error)).get(b"x-should-retry") == (None if is_worth_it else b"false")


@pytest.mark.parametrize(("wait_ms", "is_worth_it"), [(60_000, True), (60_001, False)])
def test_long_wait_is_not_worth_a_retry(wait_ms: int, is_worth_it: bool) -> None:
    """Anthropic's client would sleep through all of it."""
    headers = dict(headers_of(RateLimited("Later.", retry_after_ms=wait_ms)))

    assert headers.get(b"x-should-retry") == (None if is_worth_it else b"false")


def test_shed_request_may_be_retried() -> None:
    assert b"x-should-retry" not in dict(headers_of(Overloaded("Later.", "full", retry_after_ms=1000)))
