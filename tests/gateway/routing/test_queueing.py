"""The turns, refusals and drops of a queue. Time stands still unless a test moves it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import wraps

import pytest

from gateway.configuration.router import QueueSettings
from gateway.errors import Overloaded, QueueFull
from gateway.request.auth import Tenant
from gateway.routing.queueing import Queue, Waiter
from shared_state.policies import TenantLimits

FAR = 1e9
A, B = (Tenant(name=name, limits=TenantLimits(name=name)) for name in ("a", "b"))


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    return run


class Room:
    """A queue and those in it, by the names that the test gives them."""

    def __init__(self, max_waiting: int = 100, max_wait_ms: int = 10_000, target_ms: int = 1000) -> None:
        self.now = 0.0
        settings = QueueSettings(max_waiting=max_waiting, max_wait_ms=max_wait_ms, target_ms=target_ms)
        self.queue = Queue(settings, lambda: self.now)
        self.inside: dict[str, tuple[Waiter, contextlib.ExitStack]] = {}

    def enter(self, name: str, tenant: Tenant = A, priority: int = 50, until: float = FAR) -> None:
        stack = contextlib.ExitStack()
        self.inside[name] = (stack.enter_context(self.queue.enter(tenant, priority, until)), stack)

    def leave(self, name: str) -> None:
        self.inside.pop(name)[1].close()

    def asking(self) -> str | None:
        asking = [n for n, (waiter, _) in self.inside.items() if waiter.called.done() and not waiter.called.exception()]
        assert len(asking) <= 1, "more than one at a time"
        return asking[0] if asking else None

    def dropped(self) -> list[str]:
        return [
            n for n, (w, _) in self.inside.items() if w.called.done() and isinstance(w.called.exception(), Overloaded)
        ]

    def grant(self) -> str:
        """Something is free: who gets it?"""
        self.queue.wake()
        name = self.asking()
        assert name is not None
        self.queue.granted(self.inside[name][0])
        self.leave(name)
        return name

    def grant_all(self) -> list[str]:
        return [self.grant() for _ in range(len(self.inside))]


@on_loop
async def test_first_come_first_served() -> None:
    room = Room()
    for name in ("one", "two", "three"):
        room.enter(name)

    assert room.grant_all() == ["one", "two", "three"]


@on_loop
async def test_one_waiter_at_a_time_calls_the_store_after_a_permit_is_freed() -> None:
    room = Room()
    room.enter("one")
    room.enter("two")
    before = room.asking()
    room.queue.wake()
    room.queue.wake()

    assert (before, room.asking()) == (None, "one")


@on_loop
async def test_refused_waiter_returns_to_its_place() -> None:
    room = Room()
    room.enter("one")
    room.enter("two")
    room.queue.wake()
    room.inside["one"][0].refused()

    assert room.asking() is None
    assert room.grant_all() == ["one", "two"]


@on_loop
async def test_permit_freed_during_a_call_of_the_store_causes_another_call() -> None:
    room = Room()
    room.enter("one")
    room.queue.wake()
    room.queue.wake()
    room.inside["one"][0].refused()

    assert room.asking() == "one"


@on_loop
async def test_higher_priority_goes_first() -> None:
    room = Room()
    for name, priority in (("bulk", 100), ("normal", 50), ("critical", 0), ("high", 25)):
        room.enter(name, priority=priority)

    assert room.grant_all() == ["critical", "high", "normal", "bulk"]


@on_loop
async def test_flooding_tenant_takes_turns_with_the_others() -> None:
    room = Room()
    for number in range(10):
        room.enter(f"a{number}", A)
    for number in range(3):
        room.enter(f"b{number}", B)

    assert [name[0] for name in room.grant_all()][:6] == ["a", "b", "a", "b", "a", "b"]


@on_loop
async def test_weight_is_a_share_of_the_turns() -> None:
    room = Room()
    heavy = Tenant(name="heavy", limits=TenantLimits(name="heavy", weight=3.0))
    for number in range(12):
        room.enter(f"h{number}", heavy)
        room.enter(f"a{number}", A)

    first = [name[0] for name in (room.grant() for _ in range(12))]
    assert first.count("h") == 9


@on_loop
async def test_refusals_cost_a_tenant_nothing_of_its_share() -> None:
    room = Room()
    for number in range(4):
        room.enter(f"a{number}", A)
    room.enter("b0", B)
    first = room.grant()
    for _ in range(3):
        room.queue.wake()
        assert room.asking() == "b0"
        while (asking := room.asking()) is not None:
            room.inside[asking][0].refused()
    room.enter("b1", B)

    assert (first, [room.grant() for _ in range(3)]) == ("a0", ["b0", "a1", "b1"])


@on_loop
async def test_permit_for_a_tenant_with_a_smaller_share_is_requested_by_the_next_tenant() -> None:
    room = Room()
    room.enter("a0", A)
    room.enter("b0", B)
    room.queue.wake()
    room.inside["a0"][0].refused(is_behind=True)
    second = room.asking()
    room.inside["b0"][0].refused(is_behind=True)

    assert (second, room.asking()) == ("b0", None)
    assert room.grant() == "a0"


@on_loop
async def test_share_that_a_tenant_left_unused_is_lost() -> None:
    room = Room()
    for number in range(20):
        room.enter(f"a{number}", A)
    for _ in range(10):
        room.grant()
    for number in range(10):
        room.enter(f"b{number}", B)

    assert [room.grant()[0] for _ in range(6)].count("b") == 3


@on_loop
async def test_full_queue_refuses() -> None:
    room = Room(max_waiting=2)
    room.enter("one")
    room.enter("two")
    with pytest.raises(QueueFull) as caught:
        room.enter("three")

    assert (caught.value.status, caught.value.code) == (429, "queue_full")
    assert (caught.value.retry_after_ms or 0) >= 1000


@on_loop
async def test_full_queue_makes_room_for_a_higher_priority_only() -> None:
    room = Room(max_waiting=2)
    room.enter("first bulk", priority=100)
    room.enter("second bulk", priority=100)
    room.enter("critical", priority=0)

    assert room.dropped() == ["second bulk"]
    with pytest.raises(QueueFull):
        room.enter("another bulk", priority=100)


@on_loop
async def test_full_queue_makes_room_for_a_tenant_that_has_less() -> None:
    room = Room(max_waiting=4)
    for number in range(4):
        room.enter(f"a{number}", A)
    for number in range(2):
        room.enter(f"b{number}", B)
        room.leave(room.dropped()[0])

    assert set(room.inside) == {"a0", "a1", "b0", "b1"}
    for tenant in (A, B):
        with pytest.raises(QueueFull):
            room.enter("too many", tenant)


@on_loop
async def test_full_queue_makes_no_room_for_a_tenant_that_would_have_as_much() -> None:
    """Two would evict each other in turns."""
    room = Room(max_waiting=3)
    for number in range(2):
        room.enter(f"a{number}", A)
    room.enter("b0", B)
    with pytest.raises(QueueFull):
        room.enter("b1", B)

    assert room.dropped() == []


@on_loop
async def test_place_of_a_request_that_leaves_is_free_again() -> None:
    room = Room(max_waiting=1)
    room.enter("one")
    room.leave("one")
    room.enter("two")

    assert (room.queue.waiting, room.grant(), room.queue.waiting) == (1, "two", 0)


@on_loop
async def test_request_that_leaves_during_its_turn_passes_the_turn_on() -> None:
    room = Room()
    room.enter("one")
    room.enter("two")
    room.queue.wake()
    room.leave("one")

    assert room.asking() == "two"


@on_loop
async def test_turn_of_a_request_whose_client_just_left_goes_to_the_next() -> None:
    """Its wait has been cancelled, but it has not gone yet."""
    room = Room()
    for name in ("one", "two", "three"):
        room.enter(name)
    for name in ("one", "two"):
        room.inside[name][0].called.cancel()
    room.queue.wake()
    called = room.inside["three"][0].called

    assert called.done()
    for name in ("one", "two", "three"):
        room.leave(name)
    assert room.queue.waiting == 0


@on_loop
async def test_burst_is_served_in_order_and_no_request_is_dropped() -> None:
    """The waits of a burst are long, and short again before the interval is over."""
    room = Room()
    for number in range(20):
        room.enter(f"{number:02}")
    order = []
    for _ in range(20):
        room.now += 0.04
        order.append(room.grant())

    assert order == sorted(order)
    assert not room.queue.is_overloaded


@on_loop
async def test_long_wait_at_the_end_of_an_interval_that_had_a_short_one_is_no_overload() -> None:
    room = Room(target_ms=100)
    room.enter("one")
    room.now = 0.5
    room.grant()
    room.enter("two")
    room.now = 1.1
    room.enter("three")

    assert not room.queue.is_overloaded


def overload(room: Room, seconds: int) -> list[str]:
    """Ten come a second, five can be served."""
    served = []
    for tick in range(10 * seconds):
        room.now += 0.1
        with contextlib.suppress(QueueFull):
            room.enter(f"{tick:04}")
        if tick % 2:
            room.queue.wake()
            name = room.asking()
            if name is not None:
                room.queue.granted(room.inside[name][0])
                served.append(name)
                room.leave(name)
                if (following := room.asking()) is not None:
                    room.inside[following][0].refused()
        for name in room.dropped():
            room.leave(name)
    return served


@on_loop
async def test_under_overload_the_newest_goes_first_and_the_old_are_dropped() -> None:
    room = Room()
    overload(room, 20)
    waits = [room.now - waiter.since for waiter, _ in room.inside.values()]
    room.enter("newest")

    assert room.queue.is_overloaded
    assert max(waits) <= 2 * 1.0 + 0.2
    assert room.grant() == "newest"
    assert room.queue.dropped > 50


@on_loop
async def test_overload_that_is_over_is_forgotten() -> None:
    room = Room()
    overload(room, 20)
    for name in list(room.inside):
        room.leave(name)
    room.now += 5
    room.enter("one")
    room.enter("two")

    assert not room.queue.is_overloaded
    assert room.grant_all() == ["one", "two"]


@on_loop
async def test_overload_ends_when_requests_stop() -> None:
    """It is shown in the metrics."""
    room = Room()
    overload(room, 20)
    for name in list(room.inside):
        room.leave(name)
    room.now += 5
    async with asyncio.timeout(5):
        while room.queue.is_overloaded:
            await asyncio.sleep(0.01)


@on_loop
async def test_request_that_would_wait_in_vain_is_refused_at_once() -> None:
    room = Room(max_wait_ms=3000, target_ms=10_000)
    for number in range(11):
        room.enter(f"{number}")
    for _ in range(10):
        room.now += 0.25
        room.grant()
    for number in range(20, 40):
        with contextlib.suppress(QueueFull):
            room.enter(f"{number}")

    assert 8 <= room.queue.waiting <= 20
    with pytest.raises(QueueFull) as caught:
        room.enter("late", until=room.now + 0.1)
    assert (caught.value.retry_after_ms or 0) > 1000


@on_loop
async def test_request_with_less_time_than_its_turn_needs_is_refused() -> None:
    """One is granted every second; a longest wait of ten is no help to a client that has two."""
    room = Room(max_wait_ms=10_000, target_ms=100_000)
    for number in range(40):
        room.enter(f"{number}")
    for _ in range(36):
        room.now += 0.2
        room.grant()
    with pytest.raises(QueueFull):
        room.enter("late", until=room.now + 0.5)
    room.enter("in time", until=room.now + 5)

    assert room.queue.waiting == 5


@on_loop
async def test_no_request_waits_beyond_the_longest_wait() -> None:
    room = Room(max_wait_ms=20)
    room.enter("one")
    waiter = room.inside["one"][0]
    with pytest.raises(Overloaded):
        await waiter.turn()

    assert room.asking() is None


@on_loop
async def test_waiter_refused_after_its_time_is_dropped() -> None:
    room = Room(max_wait_ms=1000)
    room.enter("one")
    room.queue.wake()
    room.now += 2
    room.inside["one"][0].refused()

    assert room.dropped() == ["one"]


@on_loop
async def test_store_that_announces_nothing_is_polled() -> None:
    room = Room()
    room.enter("one")
    await asyncio.wait_for(room.inside["one"][0].turn(), 5)

    assert room.asking() == "one"
