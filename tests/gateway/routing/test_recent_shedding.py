"""A recent rejection sheds further requests without a call of the store: for a moment, and for no higher priority."""

import pytest

from gateway.routing.recent_shedding import REMEMBERED_S, RecentShedding
from shared_state.records import Rejection


def memory_of(code: str, reason: str) -> RecentShedding:
    memory = RecentShedding()
    memory.note(Rejection(code, reason, 1000, 1, ()), 50, 10.0)
    return memory


@pytest.mark.parametrize(("priority", "is_shed"), [(0, False), (25, False), (50, True), (100, True)])
def test_same_and_lower_priorities_are_shed_again(priority: int, is_shed: bool) -> None:
    assert (memory_of("shed", "priority").rejection(priority, 10.0) is not None) is is_shed


def test_only_for_a_moment() -> None:
    memory = memory_of("shed", "active_requests")

    assert memory.rejection(50, 10.0 + REMEMBERED_S / 2) is not None
    assert memory.rejection(50, 10.0 + REMEMBERED_S) is None


@pytest.mark.parametrize(("code", "reason"), [("shed", "failure_rate"), ("none", "none"), ("limited", "requests")])
def test_random_shedding_and_other_rejections_are_decided_by_the_store_each_time(code: str, reason: str) -> None:
    assert memory_of(code, reason).rejection(100, 10.0) is None


@pytest.mark.parametrize(("priority", "reason"), [(0, None), (1, "event_loop"), (100, "event_loop")])
def test_saturated_replica_sheds_without_asking_all_but_critical_requests(priority: int, reason: str | None) -> None:
    memory = RecentShedding(lambda: True)
    rejection, saturated = memory.rejection(priority, 10.0), memory.saturated(priority)

    assert memory.is_shedding(10.0)
    assert rejection == saturated
    assert (rejection.reason if rejection else None) == reason
