"""The estimated cost of a call before it is sent, and its cost afterwards."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.money import CostEstimateSettings, CostSettings
from gateway.configuration.provider import ProviderSettings, ProviderType
from gateway.configuration.settings import DeploymentSettings
from gateway.request.calls import Call, Kind, parse
from gateway.routing.prices import Price, Prices
from shared_state.money import AMOUNT_MOST, MICRO, Budget, Spending
from shared_state.policies import UNLIMITED, TenantLimits
from shared_state.records import NO_TOKENS, Ask, Ending, Outcome, Permit, Plan, TokenCounts

ANY = Budget(10**9, "day")
PLAN = Plan(("a", "b"), (0, 0), "adaptive", b"")
PLAN_A = Plan(("a",), (0,), "adaptive", b"")
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
        (Ending(Outcome.SUCCESS, tokens=10, counts=TokenCounts(7, 3)), True, 48),  # 17.5 + 30, rounded up
        (Ending(Outcome.SUCCESS, tokens=14, counts=TokenCounts(7, 3, read=4)), True, 53),  # 5 more
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


OPENAI, ANTHROPIC = ProviderSettings(), ProviderSettings(type="anthropic")


def priced(cost: CostSettings, provider: ProviderSettings = OPENAI) -> Price:
    return Prices([deployment("a", cost=cost, provider=provider)], ESTIMATE, ANY).of("a")


def test_cached_tokens_cost_what_anthropic_documents() -> None:
    """2,000 in, 5,000 written to the cache, 80,000 read from it and 1,000 out at 3 and 15 a million are 0.064."""
    price = priced(CostSettings(input_per_million=3, output_per_million=15), ANTHROPIC)
    cost = price.of(TokenCounts(2_000, 1_000, read=80_000, written=5_000, outside=85_000))

    assert round(cost / MICRO, 3) == 0.064
    assert cost == 63_750


# Prices and tokens of each provider's documentation, and what they make.
EXAMPLES: dict[str, tuple[CostSettings, ProviderSettings, TokenCounts, int]] = {
    "Anthropic: a book is written to the cache of Opus 4 (15 and 75)": (
        CostSettings(input_per_million=15, output_per_million=75),
        ANTHROPIC,
        TokenCounts(21, 393, written=188_086, outside=188_086),
        21 * 15 + 393 * 75 + 3_526_613,  # 188,086 * 18.75, rounded up
    ),
    "Anthropic: the book is read from that cache": (
        CostSettings(input_per_million=15, output_per_million=75),
        ANTHROPIC,
        TokenCounts(21, 393, read=188_086, outside=188_086),
        21 * 15 + 393 * 75 + 282_129,
    ),
    "Anthropic: 100 of 248 tokens are kept for an hour by Sonnet (3 and 15; 3.75, 6 and 0.3)": (
        CostSettings(input_per_million=3, output_per_million=15),
        ANTHROPIC,
        TokenCounts(2048, 503, read=1800, written=248, kept=100, outside=2048),
        2048 * 3 + 503 * 15 + 148 * 375 // 100 + 100 * 6 + 1800 * 3 // 10,
    ),
    "OpenAI: GPT-4o (2.50, 1.25 and 10)": (
        CostSettings(input_per_million=2.5, output_per_million=10),
        ProviderSettings(),
        TokenCounts(86, 300, read=1920),
        86 * 5 // 2 + 1920 * 5 // 4 + 300 * 10,
    ),
    "Azure: as OpenAI": (
        CostSettings(input_per_million=2.5, output_per_million=10),
        ProviderSettings(type="azure"),
        TokenCounts(86, 300, read=1920, written=0),
        86 * 5 // 2 + 1920 * 5 // 4 + 300 * 10,
    ),
    "OpenAI: o4-mini reasons, and its price of cached tokens is a quarter (1.10, 0.275 and 4.40)": (
        CostSettings(input_per_million=1.1, output_per_million=4.4, cache_read_per_million=0.275),
        ProviderSettings(),
        TokenCounts(75, 1186, read=1000),
        5576,  # 82.5 + 5218.4 + 275, rounded up
    ),
    "DeepSeek: a hit costs a tenth of a miss (0.28, 0.028 and 0.42)": (
        CostSettings(input_per_million=0.28, output_per_million=0.42, cache_read_per_million=0.028),
        ProviderSettings(base_url="https://api.deepseek.com/v1"),
        TokenCounts(5_000, 8_000, read=15_000),
        1400 + 3360 + 420,
    ),
    "Perplexity: a request costs 0.005 in addition (1 and 1)": (
        CostSettings(input_per_million=1, output_per_million=1, per_request=0.005),
        ProviderSettings(base_url="https://api.perplexity.ai"),
        TokenCounts(10, 20),
        30 + 5000,
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_documented_example_costs_what_its_provider_charges(example: str) -> None:
    cost, provider, tokens, expected = EXAMPLES[example]

    assert priced(cost, provider).of(tokens) == expected


def test_prices_of_the_cache_may_be_given_also_as_nothing() -> None:
    cost = CostSettings(input_per_million=4, cache_read_per_million=0, cache_write_per_million=7)
    price = priced(cost, ANTHROPIC)

    assert price.of(TokenCounts(read=1000)) == 0
    assert price.of(TokenCounts(written=1000)) == 7000
    assert price.of(TokenCounts(written=1000, kept=1000)) == 11_200


def test_cached_tokens_of_a_free_model_are_free() -> None:
    price = priced(CostSettings())

    assert price.is_free
    assert price.of(TokenCounts(9, 9, read=9, written=9)) == 0


def test_model_that_charges_only_for_requests_has_a_price() -> None:
    price = priced(CostSettings(per_request=0.02))

    assert not price.is_free
    assert price.of(NO_TOKENS) == 20_000


SPLIT = st.lists(st.integers(0, 2_000), min_size=5, max_size=5)


@given(SPLIT, st.sampled_from(["openai", "anthropic"]), st.lists(st.integers(0, 50), min_size=5, max_size=5))
def test_estimate_is_never_below_the_cost_however_the_cache_splits_the_prompt(
    split: list[int], kind: ProviderType, prices: list[int]
) -> None:
    cost = CostSettings(
        input_per_million=prices[0],
        output_per_million=prices[1],
        cache_read_per_million=prices[2] or None,
        cache_write_per_million=prices[3] or None,
        per_request=prices[4] / 1000,
    )
    plain, output, read, brief, kept = split
    tokens = TokenCounts(plain, output, read, brief + kept, kept)
    provider, body = ProviderSettings(type=kind), b'"1h"' + b"x" * tokens.prompt * ESTIMATE.bytes_per_token
    call = Call("m", False, body, Kind.MESSAGE, output_most=output)
    entry = deployment("a", cost=cost, provider=provider, max_output_tokens=output or 1)
    known = Prices([entry], ESTIMATE, ANY)
    spending = known.spending(call, UNLIMITED, Plan(("a",), (0,), "adaptive", b""))

    assert spending is not None
    assert spending.costs[0] >= known.of("a").of(tokens)


@pytest.mark.parametrize(
    ("body", "factor"),
    [(b'{"ttl": "1h"}', 2), (b'{"ttl": "\\u0031h"}', 2), (b'{"ttl": "5m"}', 1.25), (b'{"text": "1h later"}', 1.25)],
)
def test_estimate_has_the_price_of_an_hour_only_where_the_request_may_name_one(body: bytes, factor: float) -> None:
    entry = deployment("a", cost=CostSettings(input_per_million=100), provider=ANTHROPIC)
    padded = body + b" " * (2000 - len(body))
    spending = Prices([entry], ESTIMATE, ANY).spending(Call("m", False, padded, Kind.MESSAGE), UNLIMITED, PLAN_A)

    assert spending is not None
    assert spending.costs == (1000 * 100 * factor,)
