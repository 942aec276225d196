"""Each replica logs each transition of a breaker once, with what the call that opened it said."""

import logging

import pytest

from shared_state.breaker_log import BreakerLog
from shared_state.embedded import EmbeddedStore
from shared_state.records import Breaker, Ending, Outcome
from tests.shared_state.test_failover import hasty as hasty
from tests.shared_state.test_failover import opened
from tests.support.stores import eventually, on_loop, unreachable

WHY = "401 invalid_api_key: ***"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> BreakerLog:
    """It has had its first look."""
    caplog.set_level(logging.INFO, "pllm.state")
    log = BreakerLog()
    log.see("e1", {})
    return log


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "pllm.state"]
    return [(level, text) for level, text in found if text.startswith("breaker ")]


def opened_with(generation: int, error: str = WHY, state: str = "open") -> dict[str, Breaker]:
    return {"a": Breaker(state, generation, reason="consecutive_failures", error=error)}


CLOSED = Breaker("closed", 3)


def test_opened_breaker_is_a_warning_with_the_reason_and_the_error(
    log: BreakerLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.see("e1", opened_with(1))

    assert lines(caplog) == [
        ("WARNING", f"breaker opened deployment=a reason=consecutive_failures error={WHY}"),
    ]


def test_without_words_of_an_error_there_are_none(log: BreakerLog, caplog: pytest.LogCaptureFixture) -> None:
    log.see("e1", opened_with(1, error=""))

    assert lines(caplog) == [("WARNING", "breaker opened deployment=a reason=consecutive_failures")]


def test_closed_breaker_is_logged_too(log: BreakerLog, caplog: pytest.LogCaptureFixture) -> None:
    log.see("e1", opened_with(1))
    log.see("e1", {"a": CLOSED})

    assert lines(caplog)[1:] == [("INFO", "breaker closed deployment=a")]


def test_nothing_is_logged_twice(log: BreakerLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        log.see("e1", opened_with(1, error="another"))
    for _ in range(3):
        log.see("e1", {"a": CLOSED})

    assert len(lines(caplog)) == 2


def test_breaker_that_opens_again_after_a_probe_is_a_transition(
    log: BreakerLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.see("e1", opened_with(1))
    log.see("e1", {"a": Breaker("half_open", 2)})
    log.see("e1", opened_with(3))
    log.see("e1", opened_with(5))

    assert [text.split()[1] for _, text in lines(caplog)] == ["opened"] * 3


@pytest.mark.parametrize("state", ["forced_open", "disabled"])
def test_operator_is_named(log: BreakerLog, caplog: pytest.LogCaptureFixture, state: str) -> None:
    log.see("e1", {"a": Breaker(state, 1, reason="open by ann")})

    verb = "opened" if state == "forced_open" else "disabled"
    assert lines(caplog) == [("WARNING", f"breaker {verb} deployment=a reason=open by ann")]


def test_what_was_open_before_the_first_look_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pllm.state")
    log = BreakerLog()
    log.see("e1", opened_with(4))
    log.see("e1", opened_with(4))

    assert lines(caplog) == []


def test_limited_deployment_whose_breaker_never_moved_is_no_transition(
    log: BreakerLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.see("e1", {"a": Breaker("closed", 0, cools_s=5.0)})

    assert lines(caplog) == []


def test_same_state_in_another_store_is_no_transition(log: BreakerLog, caplog: pytest.LogCaptureFixture) -> None:
    log.see("e1", opened_with(1))
    log.see("e2", opened_with(7))
    log.see("e1", opened_with(1))

    assert len(lines(caplog)) == 1


@on_loop
async def test_every_replica_logs_a_transition_once_whichever_store_decides(
    own_server: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pllm.state")
    async with opened(own_server, "r1") as one, opened(own_server, "r2"):
        for _ in range(5):
            await one.failover.settle(await one.granted(), Ending(Outcome.FAILURE, reason=WHY))
        await eventually(lambda: len(lines(caplog)) == 2)
        with unreachable(own_server):
            await one.acquire()
            await eventually(lambda: one.failover.state == "standby")
        await one.comes_back()

    assert lines(caplog) == 2 * [
        ("WARNING", f"breaker opened deployment=a reason=consecutive_failures error={WHY}"),
    ]
