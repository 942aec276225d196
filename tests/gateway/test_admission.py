"""What a slow store says of shedding is remembered from when it has said it: slow is when it matters."""

import asyncio
from typing import cast

from gateway.admission import Admission, Asking
from gateway.auth import ANONYMOUS
from gateway.calls import Call, Kind
from gateway.deadline import Deadline
from gateway.interrupt import Interrupt
from gateway.router_settings import RouterSettings
from gateway.shed_memory import REMEMBERED_S
from gateway.tracing import NO_TRACE
from shared_state.failover import Failover
from shared_state.records import CALL_KINDS, Ask, Plan, Rejection

SHED = Rejection("shed", "active_requests", 1000, 1, ())


class SlowStore:
    """Its answer takes longer than one is remembered."""

    async def acquire(self, _plan: Plan, _ask: Ask) -> Rejection:
        loop = asyncio.get_running_loop()
        ends = loop.time() + 2 * REMEMBERED_S
        while loop.time() < ends:
            await asyncio.sleep(0)
        return SHED


async def told_after_a_slow_answer() -> Rejection | None:
    admission = Admission(cast(Failover, SlowStore()), RouterSettings())
    interrupt = Interrupt()
    asking = Asking(Call("m", False, b""), ANONYMOUS, 50, Deadline(interrupt.time() + 60), interrupt, NO_TRACE)
    decision = await admission.first(lambda: cast(Plan, None), admission.queue("m", ["m-1"]), asking)
    assert decision is SHED
    return admission.shed.told(50, interrupt.time())


def test_what_a_slow_store_says_of_shedding_is_remembered() -> None:
    assert asyncio.run(told_after_a_slow_answer()) is SHED


def test_every_kind_of_call_has_the_name_by_which_the_store_knows_it() -> None:
    assert tuple(sorted(kind.label for kind in Kind)) == CALL_KINDS
