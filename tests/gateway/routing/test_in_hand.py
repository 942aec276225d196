"""Waiting calls when the breaker of their deployment opens. Whole requests that move on are in
tests/cluster/test_hung_provider.py.
"""

import asyncio
import contextlib

from gateway.configuration.settings import DeploymentSettings
from gateway.request.interrupt import Cause, Interrupt
from gateway.routing.deadline import Deadline, Limits
from gateway.routing.in_hand import InHand

DEPLOYMENT = DeploymentSettings(id="d", model_name="m")


async def is_moved_on(*, has_received: bool = False, opened: str = "d", has_answer: bool = False) -> bool:
    """Holds one call of the deployment `d`, and opens the breaker of a deployment."""
    in_hand, interrupt = InHand(), Interrupt()
    limits = Limits(DEPLOYMENT, Deadline(60), 0, is_stream=True, is_first=True)
    with in_hand.held("d", interrupt, limits):
        if has_received:
            limits.note_received()
        if not has_answer:
            in_hand.move_on(opened)
    if has_answer:
        in_hand.move_on(opened)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    return interrupt.take(Cause.OVERDUE)


def test_call_whose_provider_has_sent_nothing_moves_on() -> None:
    assert asyncio.run(is_moved_on())


def test_call_whose_provider_has_sent_a_preamble_stays() -> None:
    assert not asyncio.run(is_moved_on(has_received=True))


def test_call_of_another_deployment_stays() -> None:
    assert not asyncio.run(is_moved_on(opened="other"))


def test_call_that_has_its_answer_stays() -> None:
    assert not asyncio.run(is_moved_on(has_answer=True))
