"""What a replica knows of its own permits."""

import time

from shared_state.memory import Memory
from shared_state.records import Ask, Permit


def permit(memory: Memory, deployment_id: str) -> Permit:
    return Permit(memory.token(False), 0, deployment_id, 1, False, Ask(0), 1)


def test_permits_are_found_by_their_deployment() -> None:
    memory = Memory("r1")
    first, second = permit(memory, "a"), permit(memory, "b")
    memory.grant(first, is_shared=True)
    memory.grant(second, is_shared=True)

    assert [live.permit for live in memory.of("b")] == [second]
    assert memory.of("c") == []


def test_age_of_a_reserved_permit_begins_when_it_may_last_be_handed_out() -> None:
    memory = Memory("r1")
    before_s = time.monotonic()
    memory.reserve(reserved := permit(memory, "a"), 5.0, is_shared=True)
    memory.grant(granted := permit(memory, "a"), is_shared=True)

    assert memory.live[reserved.token].granted_s >= before_s + 5
    assert memory.live[granted.token].granted_s <= time.monotonic()
