"""The failures of a deployment that are logged."""

import logging
from collections.abc import Iterator

import pytest

from gateway.routing.failure_log import AGAIN_S, LINES_MOST, MINUTE_S, REASONS_MOST, FailureLog
from shared_state.records import Outcome


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[FailureLog]:
    with caplog.at_level(logging.WARNING, "pllm.attempts"):
        yield FailureLog(clock)


def test_same_reason_is_one_line_however_many_requests(log: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(50):
        log.note("a", Outcome.FAILURE, f"500 server_error: request {number}")

    assert caplog.messages == ["deployment a: failure: 500 server_error: request 0"]


def test_another_reason_and_another_deployment_are_lines_of_their_own(
    log: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.note("a", Outcome.FAILURE, "connection refused")
    log.note("a", Outcome.TIMEOUT, "timed out: silent for 3 s")
    log.note("b", Outcome.FAILURE, "connection refused")

    assert len(caplog.messages) == 3


def test_reasons_that_alternate_are_logged_once_a_minute(
    log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        log.note("a", Outcome.FAILURE, "500 x: y")
        log.note("a", Outcome.THROTTLED, "429 x: y")
        log.note("a", Outcome.SUCCESS, "")
    assert len(caplog.messages) == 2

    clock.now_s += AGAIN_S
    log.note("a", Outcome.FAILURE, "500 x: y")
    assert len(caplog.messages) == 3


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.CLIENT_ERROR, Outcome.CANCELLED])
def test_outcome_that_is_no_failure_of_the_deployment_is_not_logged(
    log: FailureLog, caplog: pytest.LogCaptureFixture, outcome: Outcome
) -> None:
    log.note("a", outcome, "400 bad: words")

    assert caplog.messages == []


def test_reasons_that_never_repeat_are_a_few_lines_a_minute(
    log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(100):
        log.note("a", Outcome.FAILURE, f"500 error-{number}: words")
    log.note("b", Outcome.FAILURE, "500 error: words")

    assert len(caplog.messages) == LINES_MOST + 2
    assert caplog.messages[LINES_MOST:] == [
        "deployment a: further failures are not logged for the rest of the minute",
        "deployment b: failure: 500 error: words",
    ]

    clock.now_s += MINUTE_S
    log.note("a", Outcome.FAILURE, "500 error-99: words")
    assert caplog.messages[-1] == "deployment a: failure: 500 error-99: words"


def test_memory_of_reasons_is_bounded(log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3 * REASONS_MOST):
        clock.now_s += MINUTE_S / LINES_MOST
        log.note("a", Outcome.FAILURE, f"reason {number}")

    assert len(caplog.messages) == 3 * REASONS_MOST
    assert all(len(kinds) <= REASONS_MOST for kinds in log._logged_s.values())
