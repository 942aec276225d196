"""Messages that make no sense: ignored, counted by channel, and logged now and then."""

from typing import Any, cast

import pytest

from shared_state import subscription
from shared_state.connection.client import Client
from shared_state.subscription import LOG_EVERY_S, Subscription


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def received(listener: Subscription, channel: bytes, message: bytes) -> None:
    listener._on_reply([b"message", channel, message])


def test_message_that_makes_no_sense_is_counted_and_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    clock, before = Clock(), subscription.ignored.copy()

    def on_message(_channel: bytes, message: bytes) -> None:
        int(message)

    listener = Subscription(cast(Client, cast(Any, None)), (b"pllm:{d}:tenants",), on_message, clock)
    for at_s in (0.0, 1.0, LOG_EVERY_S - 1, LOG_EVERY_S):
        clock.now_s = at_s
        received(listener, b"pllm:{d}:tenants", b"\xff\nforged " + b"x" * 1000)
    received(listener, b"pllm:{d}:tenants", b"5")

    assert subscription.ignored["tenants"] - before["tenants"] == 4
    assert len(caplog.messages) == 2
    assert all(message.startswith(r"ignored b'\xff\nforged xxx") for message in caplog.messages)
    assert all(
        len(message) < 200 and record.exc_info is None
        for message, record in zip(caplog.messages, caplog.records, strict=True)
    )


def test_defect_is_not_taken_for_nonsense() -> None:
    def on_message(_channel: bytes, _message: bytes) -> None:
        raise KeyError

    listener = Subscription(cast(Client, cast(Any, None)), (b"c",), on_message)

    with pytest.raises(KeyError):
        received(listener, b"c", b"1")
