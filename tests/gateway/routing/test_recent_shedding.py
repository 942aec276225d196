"""What was just shed is shed again without asking, for a moment and for nobody of a higher priority."""

import pytest

from gateway.routing.recent_shedding import REMEMBERED_S, ShedMemory
from shared_state.records import Rejection


def memory_of(code: str, reason: str) -> ShedMemory:
    memory = ShedMemory()
    memory.note(Rejection(code, reason, 1000, 1, ()), 50, 10.0)
    return memory


@pytest.mark.parametrize(("priority", "is_told"), [(0, False), (25, False), (50, True), (100, True)])
def test_same_and_lower_priorities_are_told(priority: int, is_told: bool) -> None:
    assert (memory_of("shed", "priority").told(priority, 10.0) is not None) is is_told


def test_only_for_a_moment() -> None:
    memory = memory_of("shed", "active_requests")

    assert memory.told(50, 10.0 + REMEMBERED_S / 2) is not None
    assert memory.told(50, 10.0 + REMEMBERED_S) is None


@pytest.mark.parametrize(("code", "reason"), [("shed", "failure_rate"), ("none", "none"), ("limited", "requests")])
def test_what_is_drawn_by_lot_or_is_not_shedding_is_asked_each_time(code: str, reason: str) -> None:
    assert memory_of(code, reason).told(100, 10.0) is None


@pytest.mark.parametrize(("priority", "reason"), [(0, None), (1, "event_loop"), (100, "event_loop")])
def test_saturated_replica_sheds_without_asking_all_but_critical_requests(priority: int, reason: str | None) -> None:
    memory = ShedMemory(lambda: True)
    told, saturated = memory.told(priority, 10.0), memory.saturated(priority)

    assert memory.is_shedding(10.0)
    assert told == saturated
    assert (told.reason if told else None) == reason
