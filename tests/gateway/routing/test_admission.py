"""Admission: which requests call the store, and which of its decisions are remembered."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.configuration.router import QueueSettings, RouterSettings
from gateway.errors import Unauthorized, UpstreamTimedOut
from gateway.request.auth import ANONYMOUS, Tenant
from gateway.request.calls import Call, Kind
from gateway.request.interrupt import Interrupt
from gateway.routing.admission import Admission
from gateway.routing.client_request import ClientRequest
from gateway.routing.deadline import Deadline
from gateway.routing.recent_shedding import REMEMBERED_S
from gateway.routing.tracing import NO_ATTEMPT, NO_TRACE
from shared_state.failover import Failover
from shared_state.policies import TenantLimits
from shared_state.records import CALL_KINDS, Ask, Ending, Outcome, Permit, Plan, Rejection

SHED = Rejection("shed", "active_requests", 1000, 1, ())


class SlowStore:
    """Its answer takes longer than one is remembered."""

    async def acquire(self, _plan: Plan, _ask: Ask) -> Rejection:
        loop = asyncio.get_running_loop()
        ends = loop.time() + 2 * REMEMBERED_S
        while loop.time() < ends:
            await asyncio.sleep(0)
        return SHED


async def rejection_after_a_slow_answer() -> Rejection | None:
    admission = Admission(cast(Failover, SlowStore()), RouterSettings())
    interrupt = Interrupt()
    request = ClientRequest(Call("m", False, b""), ANONYMOUS, 50, Deadline(interrupt.time() + 60), interrupt, NO_TRACE)
    decision = await admission.first(lambda: cast(Plan, None), admission.queue("m", ["m-1"]), request)
    assert decision is SHED
    return admission.recent_shedding.rejection(50, interrupt.time())


def test_rejection_of_a_slow_store_is_remembered() -> None:
    assert asyncio.run(rejection_after_a_slow_answer()) is SHED


def test_every_kind_of_call_has_the_name_by_which_the_store_knows_it() -> None:
    assert tuple(sorted(kind.label for kind in Kind)) == CALL_KINDS


# -- those who wait ---------------------------------------------------------------------------------------------

FULL = Rejection("none", "none", 1000, 1, ("full",))
MODEL, DEPLOYMENT = "m", "m-1"


class NarrowStore:
    """Grants the free permits, and records the tenants that called."""

    def __init__(self) -> None:
        self.free = 0
        self.callers: list[str] = []

    async def acquire(self, _plan: Plan, ask: Ask) -> Permit | Rejection:
        self.callers.append(ask.tenant.name)
        if not self.free:
            return FULL
        self.free -= 1
        return Permit(f"r.plain.{len(self.callers)}", 0, DEPLOYMENT, 0, False, ask, len(self.callers))

    def settle(self, _permit: Permit, _ending: Ending, _is_urgent: bool) -> asyncio.Future[Any]:
        settled: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        settled.set_result([])
        return settled


class Door:
    """A replica with one model, in front of a store."""

    def __init__(self, is_welcome: Callable[[Tenant], bool] = lambda _: True, store: NarrowStore | None = None) -> None:
        self.store = store or NarrowStore()
        router = RouterSettings(queue=QueueSettings(max_waiting=10, max_wait_ms=60_000))
        self.admission = Admission(cast(Failover, self.store), router, is_welcome)
        self.queue = self.admission.queue(MODEL, [DEPLOYMENT])

    async def ask(self, name: str, for_s: float = 60) -> Permit | Rejection:
        interrupt = Interrupt()
        tenant = Tenant(name=name, limits=TenantLimits(name=name))
        deadline = Deadline(interrupt.time() + for_s)
        request = ClientRequest(Call(MODEL, False, b""), tenant, 50, deadline, interrupt, NO_TRACE)
        try:
            return await self.admission.first(lambda: cast(Plan, None), self.queue, request)
        finally:
            interrupt.close()

    async def comes(self, name: str) -> asyncio.Task[Permit | Rejection]:
        """And has callers, or waits."""
        task = asyncio.create_task(self.ask(name))
        await turns()
        return task


async def turns() -> None:
    """Everything that is ready runs."""
    for _ in range(10):
        await asyncio.sleep(0)


async def order_of_asking() -> list[str]:
    door = Door()
    early = await door.comes("early")
    door.store.free = 1
    late = await door.comes("late")
    door.admission.freed(DEPLOYMENT)
    await early
    door.store.free = 1
    door.admission.freed(DEPLOYMENT)
    await late
    return door.store.callers


def test_newcomer_does_not_overtake_waiting_requests() -> None:
    assert asyncio.run(order_of_asking()) == ["early", "early", "late", "late"]


async def ask_again_after_waiting(is_welcome: bool) -> None:
    door = Door(lambda _: is_welcome)
    waiting = await door.comes("a")
    door.store.free = 1
    door.admission.freed(DEPLOYMENT)
    await waiting


def test_tenant_whose_key_was_revoked_while_it_waited_is_refused() -> None:
    asyncio.run(ask_again_after_waiting(is_welcome=True))
    with pytest.raises(Unauthorized):
        asyncio.run(ask_again_after_waiting(is_welcome=False))


async def wait_in_vain() -> None:
    await Door().ask("a", for_s=0.02)


def test_request_that_waits_ends_at_its_deadline() -> None:
    with pytest.raises(UpstreamTimedOut):
        asyncio.run(wait_in_vain())


async def outlive_the_deadline() -> int:
    """The call that follows has a deadline of its own."""
    door = Door()
    door.store.free = 1
    interrupt = Interrupt()
    deadline = Deadline(interrupt.time() + 0.01)
    request = ClientRequest(Call(MODEL, False, b""), ANONYMOUS, 50, deadline, interrupt, NO_TRACE)
    await door.admission.acquire(cast(Plan, None), request, ())
    while interrupt.time() < deadline.at + 0.01:
        await asyncio.sleep(0)
    interrupt.close()
    return door.store.free


def test_deadline_of_a_decision_ends_with_the_decision() -> None:
    assert asyncio.run(outlive_the_deadline()) == 0


# -- endings ----------------------------------------------------------------------------------------------------


async def attempts_after(is_sent: bool) -> dict[tuple[str, str], int]:
    door = Door()
    door.store.free = 1
    permit = await door.ask("a")
    assert isinstance(permit, Permit)
    door.admission.settle(permit, Ending(Outcome.CANCELLED), NO_ATTEMPT, is_sent=is_sent)
    return dict(door.admission.attempts)


def test_call_that_was_never_sent_is_no_attempt() -> None:
    assert asyncio.run(attempts_after(is_sent=True)) == {(DEPLOYMENT, "cancelled"): 1}
    assert asyncio.run(attempts_after(is_sent=False)) == {}


async def waiting_after_a_settle() -> Permit | Rejection:
    door = Door()
    door.store.free = 1
    permit = await door.ask("a")
    waiting = await door.comes("b")
    door.store.free = 1
    assert isinstance(permit, Permit)
    door.admission.settle(permit, Ending(Outcome.SUCCESS), NO_ATTEMPT)
    await turns()
    assert waiting.done(), "it waits for the next look at the store"
    return waiting.result()


def test_settled_request_wakes_a_waiting_one_at_once() -> None:
    assert isinstance(asyncio.run(waiting_after_a_settle()), Permit)


# -- restricted requests ----------------------------------------------------------------------------------------


class PinnedStore(NarrowStore):
    """Of two deployments one is full, to which requests with ids are restricted; the other has room for all."""

    async def acquire(self, _plan: Plan, ask: Ask) -> Permit | Rejection:
        self.callers.append(ask.tenant.name)
        if ask.owned and not self.free:
            return Rejection("none", "owned", 1000, 1, ("full", "excluded"))
        return Permit(f"r.plain.{len(self.callers)}", 0, DEPLOYMENT, 0, False, ask, len(self.callers))


def plan_of_two() -> Plan:
    return Plan((DEPLOYMENT, "m-2"), (0, 0), "adaptive", b"")


async def restricted_and_free() -> tuple[bool, bool, dict[str, int], dict[str, int]]:
    door = Door(store=PinnedStore())
    interrupt = Interrupt()

    def request(*names: str) -> ClientRequest:
        call = Call(MODEL, False, b"", names=names)
        return ClientRequest(call, ANONYMOUS, 50, Deadline(interrupt.time() + 60), interrupt, NO_TRACE)

    pinned = asyncio.create_task(door.admission.first(plan_of_two, door.queue, request("resp_1")))
    await turns()
    free = await door.admission.first(plan_of_two, door.queue, request())
    waiting = door.admission.waiting()
    door.store.free = 1
    door.admission.freed(DEPLOYMENT)
    served = await pinned
    interrupt.close()
    return isinstance(free, Permit), isinstance(served, Permit), waiting, door.admission.waiting()


def test_request_that_waits_for_its_owner_holds_up_no_other() -> None:
    assert asyncio.run(restricted_and_free()) == (True, True, {MODEL: 1}, {})
