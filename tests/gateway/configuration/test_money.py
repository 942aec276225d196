"""Prices and budgets as they are written down: what is refused, and with which path."""

import pytest

from gateway.configuration.money import BudgetSettings, budget_of
from gateway.configuration.settings import ConfigurationError, parse
from shared_state.money import Budget

KEYS = "auth: {keys: [{name: team-a, key: secret-of-team-a, budget: BUDGET}]}\n"
ROUTER = "router: {budget: BUDGET}\n"
MODEL = "model_list: [{id: a, model_name: m, provider: {api_key: k}, cost: {input_per_million: 2.5}}]\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, {})
    return [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize(("section", "path"), [(KEYS, "auth.keys[0].budget"), (ROUTER, "router.budget")])
@pytest.mark.parametrize(
    ("budget", "field"),
    [
        ("{amount: -1, per: day}", ".amount"),
        ("{amount: .nan, per: day}", ".amount"),
        ("{amount: .inf, per: day}", ".amount"),
        ("{amount: 100 EUR, per: day}", ".amount"),
        ("{amount: 10000000000, per: day}", ".amount"),
        ("{amount: 100, per: week}", ".per"),
        ("{amount: 100}", ".per"),
        ("{per: day}", ".amount"),
        ("{amount: 100, per: day, currency: EUR}", ".currency"),
        ("100", ""),
    ],
)
def test_bad_budget_is_refused_with_its_path(section: str, path: str, budget: str, field: str) -> None:
    assert f"{path}{field}" in problems(section.replace("BUDGET", budget) + MODEL)


@pytest.mark.parametrize("price", ["0", "-1", ".nan", ".inf", "2 EUR"])
def test_bad_price_is_refused_with_its_path(price: str) -> None:
    assert problems(MODEL.replace("2.5", price)) == ["model_list[0].cost.input_per_million"]


@pytest.mark.parametrize(("section", "path"), [(KEYS, "auth.keys[0].budget"), (ROUTER, "router.budget")])
def test_budget_that_nothing_could_use_up_is_refused(section: str, path: str) -> None:
    text = section.replace("BUDGET", "{amount: 1, per: day}") + MODEL.replace("cost: {input_per_million: 2.5}", "")

    assert problems(text) == [path]


@pytest.mark.parametrize("estimate", ["{bytes_per_token: 0}", "{max_output_tokens: 0}", "{tokens: 1}"])
def test_bad_estimate_is_refused(estimate: str) -> None:
    assert problems(f"router: {{cost_estimate: {estimate}}}\n" + MODEL)[0].startswith("router.cost_estimate.")


@pytest.mark.parametrize(
    ("amount", "micro"), [(0, 0), (0.1, 100_000), (1.15, 1_150_000), (100, 100_000_000), (1e9, 10**15)]
)
def test_amount_is_kept_in_whole_micro_units(amount: float, micro: int) -> None:
    assert budget_of(BudgetSettings(amount=amount, per="month")) == Budget(micro, "month")


def test_absent_budget_is_none() -> None:
    assert budget_of(None) is None


@pytest.mark.parametrize("field", ["output_per_million", "per_request"])
@pytest.mark.parametrize("price", ["0", "-1", ".nan", ".inf", "-.inf", "2 EUR", "1e400"])
def test_every_bad_price_is_refused_with_its_path(field: str, price: str) -> None:
    assert problems(MODEL.replace("input_per_million: 2.5", f"{field}: {price}")) == [f"model_list[0].cost.{field}"]


@pytest.mark.parametrize("field", ["cache_read_per_million", "cache_write_per_million"])
@pytest.mark.parametrize("price", ["-1", "-0.001", ".nan", ".inf", "none at all", "[1]"])
def test_bad_price_of_cached_tokens_is_refused_with_its_path(field: str, price: str) -> None:
    assert problems(MODEL.replace("2.5", f"2.5, {field}: {price}")) == [f"model_list[0].cost.{field}"]


def test_cached_tokens_may_cost_nothing() -> None:
    [entry] = parse(MODEL.replace("2.5", "2.5, cache_read_per_million: 0"), {}).model_list

    assert (entry.cost.cache_read_per_million, entry.cost.cache_write_per_million) == (0, None)


@pytest.mark.parametrize("most", ["-1", "10001", "1.5", "many"])
def test_bad_number_of_named_tenants_is_refused_with_its_path(most: str) -> None:
    assert problems(f"metrics: {{max_tenants: {most}}}\n" + MODEL) == ["metrics.max_tenants"]
