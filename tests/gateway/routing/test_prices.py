"""The estimated cost of a call before it is sent, and its cost afterwards."""

from typing import Any

import msgspec
import pytest

from gateway.configuration.money import CostEstimateSettings, CostSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.request.calls import Kind, parse
from gateway.routing.prices import Prices
from shared_state.money import AMOUNT_MOST, Budget, Spending
from shared_state.policies import UNLIMITED, TenantLimits
from shared_state.records import Ask, Ending, Outcome, Permit, Plan

ANY = Budget(10**9, "day")
PLAN = Plan(("a", "b"), (0, 0), "adaptive", b"")
ESTIMATE = CostEstimateSettings(bytes_per_token=2, max_output_tokens=1000)


def deployment(name: str, **fields: Any) -> DeploymentSettings:
    cost = CostSettings(input_per_million=2.5, output_per_million=10)
    return msgspec.structs.replace(DeploymentSettings(id=name, model_name="m", cost=cost), **fields)


FREE_B = [deployment("a"), deployment("b", cost=CostSettings())]


def costs(body: dict[str, Any], kind: Kind = Kind.CHAT, *entries: DeploymentSettings) -> list[int]:
    call = parse(kind, msgspec.json.encode({"model": "m", **body}))
    prices = Prices(entries or FREE_B, ESTIMATE, ANY)
    plan = Plan(tuple(entry.id for entry in entries or FREE_B), (0,), "adaptive", b"")
    spending = prices.spending(call, UNLIMITED, plan)
    assert spending is not None
    prompt = -(-len(call.body) // 2) * 5 // 2
    return [cost and cost - prompt for cost in spending.costs]


MESSAGES = {"messages": [{"role": "user", "content": "four words of text"}]}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 1000),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "n": 3}, 21),
        ({"max_tokens": 7, "n": 200}, 1400),
        ({"max_tokens": 7, "n": "three"}, 7),
    ],
)
def test_output_is_bounded_by_the_request_or_the_setting(body: dict[str, Any], tokens: int) -> None:
    cost, free = costs(MESSAGES | body)

    assert (0 <= cost - tokens * 10 <= 2, free) == (True, 0)


@pytest.mark.parametrize(
    ("kind", "body", "tokens"),
    [
        (Kind.CHAT, {"max_tokens": 70, "max_completion_tokens": 7}, 70),
        (Kind.CHAT, {"max_tokens": 70, "max_output_tokens": 7}, 70),
        (Kind.CHAT, {"max_output_tokens": 7}, 1000),
        (Kind.CHAT, {"max_tokens": "70"}, 70),
        (Kind.CHAT, {"max_tokens": 69.5, "n": "2.0"}, 140),
        (Kind.MESSAGE, {"max_tokens": 70, "max_completion_tokens": 7}, 70),
        (Kind.RESPONSE, {"max_output_tokens": 70, "max_tokens": 7}, 70),
        (Kind.RESPONSE, {"max_tokens": 7}, 1000),
        (Kind.COMPLETION, {"max_tokens": 7, "prompt": ["a", "b", "c"]}, 21),
        (Kind.COMPLETION, {"max_tokens": 7, "prompt": [[1, 2], [3]], "n": 2, "best_of": 5}, 70),
        (Kind.COMPLETION, {"max_tokens": 7, "prompt": [1, 2, 3]}, 7),
    ],
)
def test_no_request_gets_more_tokens_than_its_estimate(kind: Kind, body: dict[str, Any], tokens: int) -> None:
    """A field of another kind of request, and a number that only lenient providers take, make the bound no lower."""
    [cost] = costs({**MESSAGES, "prompt": "x", "input": "x", **body}, kind, deployment("a"))

    assert 0 <= cost - tokens * 10 <= 2


@pytest.mark.parametrize(("body", "tokens"), [({}, 50), ({"max_tokens": 7}, 7), ({"max_tokens": 70}, 50)])
def test_output_is_bounded_by_its_deployment(body: dict[str, Any], tokens: int) -> None:
    [cost] = costs(MESSAGES | body, Kind.CHAT, deployment("a", max_output_tokens=50))

    assert 0 <= cost - tokens * 10 <= 2


def test_embedding_has_no_output() -> None:
    assert costs({"input": "some text"}, Kind.EMBEDDING)[0] <= 2


def test_cost_beyond_every_number_fits_no_budget() -> None:
    call = parse(Kind.CHAT, msgspec.json.encode({"model": "m", **MESSAGES, "max_tokens": 10**30}))
    dear = deployment("a", cost=CostSettings(output_per_million=1e9))
    spending = Prices([dear], ESTIMATE, ANY).spending(call, UNLIMITED, Plan(("a",), (0,), "adaptive", b""))

    assert spending is not None
    assert spending.costs == (AMOUNT_MOST + 1,)


def test_smallest_price_is_still_charged() -> None:
    call = parse(Kind.EMBEDDING, b'{"model": "m", "input": "x"}')
    least = deployment("a", cost=CostSettings(input_per_million=1e-9))
    spending = Prices([least], ESTIMATE, ANY).spending(call, UNLIMITED, Plan(("a",), (0,), "adaptive", b""))

    assert spending is not None
    assert spending.costs == (1,)


def test_without_a_budget_nothing_is_priced() -> None:
    call = parse(Kind.CHAT, msgspec.json.encode({"model": "m", **MESSAGES}))
    prices = Prices(FREE_B, ESTIMATE, None)

    assert prices.spending(call, UNLIMITED, PLAN) is None
    assert prices.spending(call, TenantLimits(name="t", budget=ANY), PLAN) is not None


@pytest.mark.parametrize(
    ("ending", "is_sent", "cost"),
    [
        (Ending(Outcome.SUCCESS, output_tokens=3, tokens=10), True, 48),  # 17.5 + 30, rounded up
        (Ending(Outcome.SUCCESS, output_tokens=3, tokens=10, cached_tokens=4), True, 58),  # 10 more
        (Ending(Outcome.SUCCESS), True, -1),
        (Ending(Outcome.FAILURE, output_tokens=3, tokens=10), True, -1),
        (Ending(Outcome.FAILURE, tokens=0), True, 0),
        (Ending(Outcome.FAILURE), True, -1),
        (Ending(Outcome.UNSUPPORTED, tokens=0), True, 0),
        (Ending(Outcome.CANCELLED), True, -1),
        (Ending(Outcome.CANCELLED), False, 0),
        (Ending(Outcome.CLIENT_ERROR, cost=0), True, 0),
    ],
)
def test_true_cost_follows_from_the_providers_counts(ending: Ending, is_sent: bool, cost: int) -> None:
    ask = Ask(spending=Spending(ANY, None, (500,)))
    permit = Permit("r.plain.1", 0, "a", 0, False, ask, 1)

    assert Prices(FREE_B, ESTIMATE, ANY).settled(permit, ending, is_sent).cost == cost
