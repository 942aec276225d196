"""Chains through several routing domains, leg by leg."""

from collections.abc import Sequence

import pytest

from gateway.configuration.patterns import slot_of
from gateway.configuration.settings import parse
from gateway.routing.catalog import Candidate, Catalog
from gateway.routing.itinerary import Itinerary, Leg, itineraries, legs
from gateway.upstream.classify import Refusal
from shared_state.records import Plan

DOMAINS = """
router: {fallbacks: {a: [b]}}
state: {domain: home}
model_list:
  - {id: a-1, model_name: a, domain: east}
  - {id: a-2, model_name: a, domain: west}
  - {id: a-3, model_name: a, domain: east}
  - {id: b-1, model_name: b, domain: west}
  - {id: b-2, model_name: b}
"""


def candidates(model: str, text: str = DOMAINS) -> tuple[Candidate, ...]:
    route = Catalog(parse(text, {})).resolve(model)
    assert route is not None
    return route.candidates


def ids(leg: Sequence[Candidate]) -> list[str]:
    return [candidate.deployment.id for candidate in leg]


def packed(leg: Sequence[Candidate], _has_more: bool) -> Plan:
    return Plan(tuple(ids(leg)), tuple(candidate.tier for candidate in leg), "adaptive", b"")


@pytest.mark.parametrize(
    ("first", "expected"),
    [(0, [["a-1", "a-3"], ["a-2", "b-1"], ["b-2"]]), (1, [["a-2"], ["a-1", "a-3"], ["b-2"], ["b-1"]])],
)
def test_tiers_keep_their_order_and_each_leg_is_of_one_domain(first: int, expected: list[list[str]]) -> None:
    assert [ids(leg) for leg in legs(candidates("a"), first)] == expected


def test_one_domain_is_one_leg_in_the_order_of_the_chain() -> None:
    text = DOMAINS.replace("domain: east", "domain: home").replace("domain: west", "domain: home")

    (order,) = itineraries(candidates("a", text), packed)
    assert [list(leg.plan.ids) for leg in order] == [["a-1", "a-2", "a-3", "b-1", "b-2"]]


def test_each_domain_that_serves_the_model_itself_begins_an_itinerary() -> None:
    assert [order[0].plan.ids for order in itineraries(candidates("a"), packed)] == [("a-1", "a-3"), ("a-2",)]
    assert [order[0].plan.ids for order in itineraries(candidates("b"), packed)] == [("b-1",), ("b-2",)]
    assert itineraries((), packed) == ((),)


def itinerary_of(model: str) -> Itinerary:
    return Itinerary(itineraries(candidates(model), packed)[0], packed)


def test_after_the_last_candidate_of_a_leg_comes_the_next_leg() -> None:
    itinerary = itinerary_of("a")
    seen = []
    while itinerary.candidates:
        seen.append(list(itinerary.plan.ids))
        itinerary.drop(itinerary.candidates[0])

    assert seen == [["a-1", "a-3"], ["a-3"], ["a-2", "b-1"], ["b-1"], ["b-2"]]
    assert not itinerary.has_more


def test_leg_without_a_fit_candidate_is_left() -> None:
    itinerary = itinerary_of("a")
    itinerary.skip()

    assert (list(itinerary.plan.ids), itinerary.has_more) == (["a-2", "b-1"], True)


def test_plan_of_a_whole_leg_was_packed_before() -> None:
    text = DOMAINS.replace("west", "east").replace("b-2, model_name: b", "b-2, model_name: c")
    (leg,) = itineraries(candidates("a", text), packed)[0]

    assert Itinerary([leg], lambda _left, _has_more: pytest.fail("packed again")).plan is leg.plan
    assert isinstance(leg, Leg)


def test_chain_leaves_out_the_deployments_that_were_tried() -> None:
    tried, *left = candidates("b")
    itinerary = Itinerary(itineraries(candidates("a"), packed)[0], packed, {Refusal.CONTEXT_WINDOW: (tried, *left)})

    assert itinerary.turn(Refusal.CONTEXT_WINDOW, [tried])
    assert (ids(itinerary.candidates), itinerary.has_more) == (ids(left), False)


def test_itinerary_continues_on_a_chain_whose_models_refuse_as_well() -> None:
    itinerary = Itinerary(itineraries(candidates("a"), packed)[0], packed, {Refusal.CONTEXT_WINDOW: candidates("b")})

    assert [itinerary.turn(Refusal.CONTEXT_WINDOW, []) for _ in range(2)] == [True, True]
    assert [itinerary.turn(refusal, []) for refusal in (Refusal.CONTENT_POLICY, None)] == [False, False]


def test_last_attempt_is_for_a_later_tier_and_falls_back_to_this_one() -> None:
    itinerary = Itinerary(itineraries(candidates("a"), packed)[0], packed)
    first = itinerary.candidates[0]
    earlier = {"a-1", "a-2", "a-3"} - {first.deployment.id}
    itinerary.drop(first)
    itinerary.prefer_later(0)
    order = []
    while True:
        order += ids(itinerary.candidates)
        if not itinerary.has_more:
            break
        itinerary.skip()

    assert set(order[:2]) == {"b-1", "b-2"}
    assert set(order[2:]) == earlier


def test_last_attempt_without_a_later_tier_stays_as_it_was() -> None:
    itinerary = Itinerary(itineraries(candidates("b"), packed)[0], packed)
    before = (itinerary.candidates, itinerary.has_more)
    itinerary.prefer_later(0)

    assert (itinerary.candidates, itinerary.has_more) == before


def test_second_attempt_is_for_this_candidate_only() -> None:
    itinerary = Itinerary(itineraries(candidates("b"), packed)[0], packed)
    only = candidates("b")[0]
    itinerary.repeat(only)

    assert itinerary.candidates == (only,)


def test_deployment_that_serves_two_models_of_a_pattern_is_in_two_legs() -> None:
    names = [f"p/{number}" for number in range(99)]
    first = names[0]
    same = next(name for name in names[1:] if slot_of(name) == slot_of(first))
    router = f"router: {{fallbacks: {{a: [{first}, {same}]}}}}"
    text = f"{router}\nmodel_list: [{{id: a, model_name: a}}, {{id: p, model_name: p/*}}]"

    assert [[each.model for each in leg] for leg in legs(candidates("a", text))] == [["", first], [same]]
