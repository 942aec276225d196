"""Wrong keys from one address: twenty a minute get the usual error, further ones a 429. Addresses count separately."""

import gc
import sys

import pytest

from gateway.request.wrong_keys import BURST, KNOWN_MOST, WrongKeys


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def waits(keys: WrongKeys, address: str, count: int) -> list[int]:
    return [keys.note(address) for _ in range(count)]


def test_twenty_are_answered_and_the_next_waits(clock: Clock) -> None:
    assert waits(WrongKeys(clock), "203.0.113.9", BURST + 2) == [0] * BURST + [3000, 3000]


def test_one_more_is_answered_every_three_seconds(clock: Clock) -> None:
    keys = WrongKeys(clock)
    waits(keys, "203.0.113.9", 100)
    clock.now_s += 3.0
    after = waits(keys, "203.0.113.9", 2)
    clock.now_s += 60.0

    assert after == [0, 3000]
    assert waits(keys, "203.0.113.9", BURST + 1) == [0] * BURST + [3000]


def test_addresses_do_not_know_of_each_other(clock: Clock) -> None:
    keys = WrongKeys(clock)
    waits(keys, "203.0.113.9", 100)

    assert keys.note("203.0.113.8") == 0


def test_addresses_of_one_ipv6_subscriber_are_one(clock: Clock) -> None:
    keys = WrongKeys(clock)
    found = [keys.note(f"2001:db8:1:2::{number:x}") for number in range(BURST + 1)]

    assert found == [0] * BURST + [3000]
    assert keys.note("2001:db8:1:3::1") == 0


def test_table_is_bounded_and_keeps_the_most_recent_networks(clock: Clock) -> None:
    keys = WrongKeys(clock)
    waits(keys, "203.0.113.9", 100)
    for number in range(3 * KNOWN_MOST):
        keys.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        if number % 1000 == 0:
            keys.note("203.0.113.9")
    [table] = [value for value in gc.get_referents(keys.__dict__) if isinstance(value, dict)]

    assert len(table) == KNOWN_MOST
    assert sys.getsizeof(table) < 2_000_000
    assert keys.note("203.0.113.9") > 0
    assert waits(keys, "198.51.100.1", BURST + 1)[-1] > 0
