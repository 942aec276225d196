"""Decides what follows an unsuccessful attempt, without I/O: the client gets its answer, another candidate is called,
the same one is called again, or the request fails.
"""

from enum import Enum

import msgspec

from gateway.routing.catalog import Candidate
from gateway.routing.final_errors import attempts
from gateway.routing.last_attempt import SecondAttempt, pause_s
from gateway.routing.routing_state import RoutingState
from gateway.upstream.exchange import Exchange
from shared_state.records import Outcome


class Step(Enum):
    ANSWER = "answer"  # the client gets what the provider sent
    NEXT = "next"
    LATER_TIER = "later tier"  # the last attempt, which is for another model where one is left
    REPEAT = "repeat"  # the same deployment after a pause
    FAIL = "fail"


class Verdict(msgspec.Struct, frozen=True):
    """The judgement of one exchange."""

    step: Step
    second_attempt: SecondAttempt | None = None  # for now, or for when no other candidate can be called
    has_tried_all: bool = False  # no candidate is left that could answer the same request otherwise


def judge(state: RoutingState, candidate: Candidate, exchange: Exchange, has_chain: bool, max_attempts: int) -> Verdict:
    """Judges an exchange that did not succeed, after ``candidate`` has left the itinerary. ``has_chain``: the request
    continues on the chain for its refusal.
    """
    request, number = state.request, attempts(state.tried) + 1
    # Any account may be called for what one of them holds.
    counted = number - sum(each.is_state_unknown for each in state.tried) - exchange.is_state_unknown
    is_spent = counted >= max_attempts or request.interrupt.time() >= request.deadline.at
    is_last = not state.itinerary.candidates or is_spent or not (has_chain or exchange.judgement.moves_on)
    is_own_mistake = exchange.outcome is Outcome.CLIENT_ERROR and is_last and number == 1
    if is_own_mistake:
        return Verdict(Step.ANSWER, has_tried_all=state.has_tried_all(candidate))
    if is_last and exchange.is_documented_end:
        return Verdict(Step.ANSWER)
    second_attempt = None if is_spent else _second_attempt(state, candidate, exchange)
    if not is_last:
        is_next_last = not has_chain and not exchange.is_state_unknown and counted == max_attempts - 1
        return Verdict(Step.LATER_TIER if is_next_last else Step.NEXT, second_attempt)
    if second_attempt is not None:
        return Verdict(Step.REPEAT, second_attempt)
    return Verdict(Step.FAIL, has_tried_all=state.has_tried_all(candidate))


def _second_attempt(state: RoutingState, candidate: Candidate, exchange: Exchange) -> SecondAttempt | None:
    wait_s, request = pause_s(exchange), state.request
    if state.has_repeated or exchange.is_documented_end or wait_s is None:
        return None
    if request.interrupt.time() + wait_s >= request.deadline.at:
        return None
    return SecondAttempt(candidate, wait_s)
