"""Chains through several routing domains, leg by leg."""

from collections.abc import Sequence

import pytest

from gateway.configuration.settings import parse
from gateway.routing.catalog import Candidate, Catalog
from gateway.routing.itinerary import Leg, Way, legs, ways
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

    (way,) = ways(candidates("a", text), packed)
    assert [list(leg.plan.ids) for leg in way] == [["a-1", "a-2", "a-3", "b-1", "b-2"]]


def test_as_many_ways_as_domains_serve_the_model_itself() -> None:
    assert [way[0].plan.ids for way in ways(candidates("a"), packed)] == [("a-1", "a-3"), ("a-2",)]
    assert [way[0].plan.ids for way in ways(candidates("b"), packed)] == [("b-1",), ("b-2",)]
    assert ways((), packed) == ((),)


def way_of(model: str) -> Way:
    return Way(ways(candidates(model), packed)[0], packed)


def test_after_the_last_candidate_of_a_leg_comes_the_next_leg() -> None:
    way = way_of("a")
    seen = []
    while way.candidates:
        seen.append(list(way.plan.ids))
        way.drop(way.candidates[0])

    assert seen == [["a-1", "a-3"], ["a-3"], ["a-2", "b-1"], ["b-1"], ["b-2"]]
    assert not way.has_more


def test_leg_without_a_fit_candidate_is_left() -> None:
    way = way_of("a")
    way.skip()

    assert (list(way.plan.ids), way.has_more) == (["a-2", "b-1"], True)


def test_plan_of_a_whole_leg_was_packed_before() -> None:
    (leg,) = ways(candidates("a", DOMAINS.replace("west", "east").replace("b-2, model_name: b", "b-2, model_name: c")),
                  packed)[0]  # fmt: skip

    assert Way([leg], lambda _left, _has_more: pytest.fail("packed again")).plan is leg.plan
    assert isinstance(leg, Leg)


def test_chain_leaves_out_the_deployments_that_were_tried() -> None:
    tried, *left = candidates("b")
    way = Way(ways(candidates("a"), packed)[0], packed, {Refusal.CONTEXT_WINDOW: (tried, *left)})

    assert way.turn(Refusal.CONTEXT_WINDOW, [tried])
    assert (ids(way.candidates), way.has_more) == (ids(left), False)


def test_way_continues_on_a_chain_whose_models_refuse_as_well() -> None:
    way = Way(ways(candidates("a"), packed)[0], packed, {Refusal.CONTEXT_WINDOW: candidates("b")})

    assert [way.turn(Refusal.CONTEXT_WINDOW, []) for _ in range(2)] == [True, True]
    assert [way.turn(refusal, []) for refusal in (Refusal.CONTENT_POLICY, None)] == [False, False]


def test_last_attempt_is_for_a_later_tier_and_falls_back_to_this_one() -> None:
    way = Way(ways(candidates("a"), packed)[0], packed)
    first = way.candidates[0]
    earlier = {"a-1", "a-2", "a-3"} - {first.deployment.id}
    way.drop(first)
    way.prefer_later(0)
    order = []
    while True:
        order += ids(way.candidates)
        if not way.has_more:
            break
        way.skip()

    assert set(order[:2]) == {"b-1", "b-2"}
    assert set(order[2:]) == earlier


def test_last_attempt_without_a_later_tier_stays_as_it_was() -> None:
    way = Way(ways(candidates("b"), packed)[0], packed)
    before = (way.candidates, way.has_more)
    way.prefer_later(0)

    assert (way.candidates, way.has_more) == before


def test_second_attempt_is_for_this_candidate_only() -> None:
    way = Way(ways(candidates("b"), packed)[0], packed)
    only = candidates("b")[0]
    way.repeat(only)

    assert way.candidates == (only,)
