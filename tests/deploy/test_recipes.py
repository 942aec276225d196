"""The recipes in docs are promises: each setting they explain must arrive."""

from pathlib import Path

import pytest

from gateway.configuration.settings import Settings, load
from gateway.routing.catalog import Catalog

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"


def recipe(name: str) -> Settings:
    return load(RECIPES / f"{name}.yaml", {})


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_loads_and_every_model_of_it_has_candidates(path: Path) -> None:
    catalog = Catalog(load(path, {}))
    routes = [catalog.resolve(model) for model in catalog.models()]

    assert routes
    assert all(route is not None and route.candidates for route in routes)


def test_low_latency_recipe_opens_quickly_and_recovers_fast() -> None:
    router = recipe("low-latency").router

    assert router.routing_strategy == "latency-based"
    assert router.circuit_breaker_threshold == 3
    assert router.circuit_breaker_cooldown_ms == 20_000


def test_low_latency_recipe_shortens_what_counts_as_slow() -> None:
    settings = recipe("low-latency")

    assert settings.router.latency_threshold_ms == 1_500
    assert [entry.latency_threshold_ms for entry in settings.model_list] == [1_500, 1_500, 1_000]
    assert [entry.timeout_ms for entry in settings.model_list] == [20_000, 20_000, 15_000]
    assert {entry.connect_timeout_ms for entry in settings.model_list} == {2_000, 5_000}
    assert settings.router.request_timeout_ms == 40_000


def test_high_throughput_recipe_tolerates_failures_and_waits_longer() -> None:
    router = recipe("high-throughput").router

    assert router.routing_strategy == "least-busy"
    assert router.circuit_breaker_threshold == 10
    assert router.circuit_breaker_cooldown_ms == 60_000


def test_high_throughput_recipe_lifts_the_limits() -> None:
    settings = recipe("high-throughput")

    assert settings.router.load_shedding.max_active_requests == 5_000
    assert settings.router.load_shedding.max_failure_rate == 0.25
    assert settings.router.breaker.min_calls == 50
    assert settings.router.request_timeout_ms == 600_000
    assert [entry.max_parallel for entry in settings.model_list] == [1_000, 500, 500]
    assert [entry.weight for entry in settings.model_list] == [2, 1, 1]


def test_cost_recipe_falls_back_from_the_expensive_model_to_the_cheap_ones() -> None:
    router = recipe("cost").router

    assert router.routing_strategy == "priority"
    assert router.fallbacks == {"expensive-model": ("cheap-model-1", "cheap-model-2")}
    assert router.token_allowance_ms == 100


def test_cost_recipe_ranks_the_cheaper_deployment_of_a_model_higher() -> None:
    reserved, list_price, *_ = recipe("cost").model_list

    assert reserved.model_name == list_price.model_name
    assert reserved.cost.input_per_million < list_price.cost.input_per_million
    assert reserved.priority > list_price.priority


def test_original_recipe_keeps_the_original_router_section() -> None:
    router = recipe("original").router

    assert router.routing_strategy == "latency-based"
    assert router.circuit_breaker_enabled is True
    assert router.circuit_breaker_threshold == 5
    assert router.circuit_breaker_cooldown_ms == 30_000
    assert router.fallbacks == {
        "gpt-4": ("claude-3-opus", "gpt-3.5-turbo"),
        "claude-3-opus": ("gpt-4",),
        "gpt-3.5-turbo": ("claude-3-haiku", "mistral-7b"),
    }


def test_original_recipe_keeps_the_original_shape_of_a_deployment() -> None:
    deployment = recipe("original").model_list[0]

    assert (deployment.id, deployment.model_name) == ("gpt-4-primary", "gpt-4")
    assert (deployment.priority, deployment.rpm) == (100, 500)
    assert (deployment.timeout_ms, deployment.cooldown_period_ms) == (60_000, 30_000)
    assert deployment.provider.model == "gpt-4"


@pytest.mark.parametrize("name", ["high-throughput", "cost"])
def test_servers_of_ones_own_are_not_sent_the_openai_key(name: str) -> None:
    settings = load(RECIPES / f"{name}.yaml", {"OPENAI_API_KEY": "sk-1"})
    own = [entry for entry in settings.model_list if "127.0.0.1" in entry.provider.base_url]

    assert own
    assert {entry.provider.api_key for entry in own} == {""}
