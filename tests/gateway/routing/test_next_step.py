"""The judgement of one exchange. Whole requests are in test_dispatch.py and test_last_attempt.py."""

import asyncio
from typing import cast

import pytest

from gateway.configuration.settings import DeploymentSettings
from gateway.request.auth import ANONYMOUS
from gateway.request.calls import Call
from gateway.request.interrupt import Interrupt
from gateway.routing.catalog import Candidate
from gateway.routing.client_request import ClientRequest
from gateway.routing.deadline import Deadline
from gateway.routing.final_errors import Tried
from gateway.routing.itinerary import Itinerary, Leg
from gateway.routing.next_step import Step, Verdict, judge
from gateway.routing.queueing import Queue
from gateway.routing.routing_state import Route, RoutingState
from gateway.routing.tracing import NO_TRACE
from gateway.upstream.classify import FAILURE, PASSING, Judgement
from gateway.upstream.client import UpstreamClient
from gateway.upstream.exchange import Exchange
from shared_state.records import Outcome, Plan

ATTEMPTS_MOST = 3
CLIENT_ERROR = Judgement(Outcome.CLIENT_ERROR, moves_on=False)
CANDIDATES = tuple(
    Candidate(DeploymentSettings(id=f"d{number}", model_name=f"m{number}"), number) for number in range(ATTEMPTS_MOST)
)


def judged(judgement: Judgement, number: int, left: int, is_over: bool = False, has_repeated: bool = False) -> Verdict:
    """Judges attempt ``number``, from 1, of a request with this many candidates left."""

    async def run() -> Verdict:
        interrupt = Interrupt()
        deadline = Deadline(interrupt.time() + (-1 if is_over else 60))
        request = ClientRequest(Call("m0", False, b""), ANONYMOUS, 50, deadline, interrupt, NO_TRACE)
        route = Route(
            "m0",
            CANDIDATES,
            (),
            {},
            cast(Queue, None),
            cast(UpstreamClient, None),
            lambda _left, _has_more: cast(Plan, None),
        )
        legs = [Leg(CANDIDATES[len(CANDIDATES) - left :], cast(Plan, None))] if left else []
        itinerary = Itinerary(legs, lambda _left, _has_more: cast(Plan, None))
        tried = [Tried(candidate, Outcome.FAILURE) for candidate in CANDIDATES[: number - 1]]
        state = RoutingState(request, route, itinerary, tried, has_repeated=has_repeated)
        return judge(state, CANDIDATES[number - 1], Exchange(judgement), has_chain=False, max_attempts=ATTEMPTS_MOST)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("judgement", "number", "left", "step"),
    [
        (FAILURE, 1, 2, Step.NEXT),
        (FAILURE, 2, 1, Step.LATER_TIER),
        (FAILURE, 3, 1, Step.FAIL),  # max_attempts
        (FAILURE, 2, 0, Step.FAIL),
        (PASSING, 1, 2, Step.NEXT),
        (PASSING, 2, 0, Step.REPEAT),
        (PASSING, 3, 0, Step.FAIL),
        (CLIENT_ERROR, 1, 2, Step.ANSWER),  # the request is wrong: no candidate would answer it
        (CLIENT_ERROR, 2, 1, Step.FAIL),  # the first candidate's failure decides the error
    ],
)
def test_step_follows_from_the_judgement_and_the_candidates_left(
    judgement: Judgement, number: int, left: int, step: Step
) -> None:
    assert judged(judgement, number, left).step is step


def test_nothing_follows_at_the_deadline() -> None:
    assert judged(PASSING, 1, 2, is_over=True) == Verdict(Step.FAIL)


def test_second_attempt_is_kept_for_when_no_other_candidate_can_be_called() -> None:
    verdict = judged(PASSING, 1, 2)

    assert (verdict.step, verdict.second_attempt is not None) == (Step.NEXT, True)


def test_request_has_one_second_attempt() -> None:
    assert judged(PASSING, 2, 0, has_repeated=True).step is Step.FAIL


def test_last_candidate_of_the_route_leaves_none_that_could_answer_otherwise() -> None:
    assert [judged(FAILURE, number, 0).has_tried_all for number in (2, 3)] == [False, True]
