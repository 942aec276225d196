"""Surges that recur, with and without the memory of last week: what `docs/autoscaling.md` promises of it."""

from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import Script
from tests.support.recurring import Outcome, Week, Weeks, policy
from tests.support.state import Cluster
from tests.support.stores import RedisQueue, running_server

pytestmark = pytest.mark.long

RECURS, MOVES = Week(climb_s=120), Week(climb_s=120, is_shuffled=True)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedStore]:
    """One kind of store: all compute alike, and weeks take their time."""
    yield from running_server("valkey")


def outcome(server: EmbeddedStore, scripts: dict[str, Script], week: Week, ahead_ms: int) -> Outcome:
    with RedisQueue(server.url) as queue:
        queue.load(scripts.values())
        return Weeks(Cluster(queue, scripts), policy(ahead_ms=ahead_ms), week, seed=1).run(weeks=3)


def test_known_surges_lose_less_than_half_for_three_percent(server: EmbeddedStore, scripts: dict[str, Script]) -> None:
    """Three weeks with a holiday and growth."""
    without, with_it = (outcome(server, scripts, RECURS, ahead_ms) for ahead_ms in (0, 60_000))

    assert with_it.known_shed * 2 <= without.known_shed > 0
    assert with_it.known_late * 2 <= without.known_late > 0
    assert with_it.replica_hours <= 1.03 * without.replica_hours


def test_memory_that_is_always_wrong_adds_as_little(server: EmbeddedStore, scripts: dict[str, Script]) -> None:
    without, with_it = (outcome(server, scripts, MOVES, ahead_ms) for ahead_ms in (0, 60_000))

    assert with_it.shed <= without.shed > 0
    assert with_it.replica_hours <= 1.03 * without.replica_hours
