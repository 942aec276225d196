"""The examples are configurations as LiteLLM's documentation shows them; each is a promise about what becomes of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.cli.litellm.converter import Import, convert, report
from gateway.cli.litellm.report import UNKNOWN
from gateway.configuration.settings import ConfigurationError, DeploymentSettings, Settings, parse
from gateway.configuration.yaml_source import item_path, key_path
from gateway.routing.catalog import Catalog
from tests.support.litellm_documents import NAMES, documents

EXAMPLES = Path(__file__).parent / "examples"
REPEATABLE = hypothesis_settings(deadline=None, derandomize=True, max_examples=100)


def imported(text: str) -> tuple[Settings, dict[str, str]]:
    """Our settings, and the verdict on each path."""
    found = convert(text)
    return parse(found.text, found.samples), {row.path: row.verdict for row in found.rows}


def example(name: str) -> tuple[Settings, dict[str, str]]:
    return imported((EXAMPLES / f"{name}.yaml").read_text())


def texts(found: Import, path: str) -> list[str]:
    return [row.text for row in found.rows if row.path == path]


def deployment(settings: Settings, entry: str) -> DeploymentSettings:
    return next(each for each in settings.model_list if each.id == entry)


def one(params: str, more: str = "") -> str:
    """A configuration of one deployment."""
    params = f"{{model: openai/m, api_key: os.environ/K, {params}}}"
    return f"model_list: [{{model_name: m, litellm_params: {params}}}]\n{more}"


def problems_of(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        convert(text)
    return str(caught.value)


def key_paths(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield key_path(path, key)
            yield from key_paths(child, key_path(path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from key_paths(child, item_path(path, index))


def unnamed(document: object, found: Import) -> list[str]:
    """Keys that are in no row: neither its path nor a part of it."""
    named = "\n".join(["", *(f"{row.path}." for row in found.rows)])
    return [key for key in key_paths(document) if f"\n{key}." not in named and f"\n{key}[" not in named]


class TestExamples:
    @pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
    def test_each_passes_check_and_has_a_word_about_every_key(self, path: Path) -> None:
        found = convert(path.read_text())
        catalog = Catalog(parse(found.text, found.samples))

        assert catalog.models()
        assert unnamed(yaml.safe_load(path.read_text()), found) == []

    @pytest.mark.parametrize(
        ("name", "secrets"),
        [
            ("simple", ["sk-1234"]),
            ("load-balancing", ["example-key-one", "example-key-two"]),
            ("redis", ["hunter2-hunter2"]),
            ("usage", ["s3cr3t-word"]),
            ("teams", ["very-private", "literal-private"]),
        ],
    )
    def test_secrets_of_the_file_are_shown_nowhere(self, name: str, secrets: list[str]) -> None:
        found = convert((EXAMPLES / f"{name}.yaml").read_text())
        shown = "\n".join([found.text, *report(found)])

        assert [secret for secret in secrets if secret in shown] == []

    def test_simple_proxy_has_its_models_and_its_key(self) -> None:
        settings, verdicts = example("simple")

        assert [(each.model_name, each.provider.type) for each in settings.model_list] == [
            ("gpt-4o", "azure"),
            ("gpt-3.5-turbo", "openai"),
            ("claude-sonnet", "anthropic"),
            ("vllm-models", "openai"),
        ]
        assert [key.name for key in settings.auth.keys] == ["master"]
        assert verdicts["general_settings.master_key"] == "approximated"
        assert verdicts["litellm_settings.drop_params"] == "not taken over"

    def test_load_is_balanced_by_rpm_as_simple_shuffle_does(self) -> None:
        settings, verdicts = example("load-balancing")

        assert settings.router.routing_strategy == "weighted"
        assert [(each.rpm, each.weight) for each in settings.model_list] == [(6, 6), (6, 6), (1440, 1440)]
        assert {each.timeout_ms for each in settings.model_list} == {30_000}
        assert settings.router.max_attempts == 3
        assert settings.router.aliases == {"gpt-4": "gpt-3.5-turbo"}
        assert verdicts["router_settings.model_group_alias.gpt-4"] == "taken over"

    def test_one_secret_in_two_places_is_one_variable(self) -> None:
        found = convert((EXAMPLES / "load-balancing.yaml").read_text())

        assert len(found.samples) == 2

    def test_fallbacks_of_every_kind(self) -> None:
        settings, verdicts = example("fallbacks")
        router = settings.router

        assert router.fallbacks == {
            "zephyr-beta": ("gpt-3.5-turbo",),
            "gpt-3.5-turbo": ("claude-opus",),
            "gpt-3.5-turbo-16k": ("claude-opus",),
        }
        assert router.context_window_fallbacks["zephyr-beta"] == ("gpt-3.5-turbo-16k",)
        assert router.content_policy_fallbacks == {"gpt-3.5-turbo": ("claude-opus",)}
        assert (router.circuit_breaker_threshold, router.circuit_breaker_cooldown_ms) == (4, 30_000)
        assert router.max_attempts == 5
        assert verdicts["litellm_settings.fallbacks[0].zephyr-beta"] == "approximated"

    def test_aliases_lead_to_a_model(self) -> None:
        settings, verdicts = example("aliases")

        assert dict(settings.router.aliases) == dict.fromkeys(("gpt-4", "gpt-4-turbo", "newest"), "production-gpt-4")
        assert verdicts["router_settings.model_group_alias.nowhere"] == "not taken over"
        assert verdicts["router_settings.model_group_alias.production-gpt-4"] == "not taken over"
        assert verdicts["router_settings.model_group_alias.gpt-4-turbo.hidden"] == "approximated"

    def test_order_becomes_priority(self) -> None:
        settings, verdicts = example("azure-openai")
        first, second, third = settings.model_list

        assert settings.router.routing_strategy == "priority"
        assert first.priority > second.priority > third.priority
        assert (first.provider.api_version, second.provider.api_version) == ("2024-10-21", "")
        assert (third.first_byte_timeout_ms, settings.router.request_timeout_ms) == (5_000, 600_000)
        assert verdicts["model_list[2].litellm_params.organization"] == "not taken over"

    def test_wildcards_become_patterns_and_chains_hold_for_them(self) -> None:
        settings, verdicts = example("wildcards")
        catalog = Catalog(settings)
        routes = {name: catalog.resolve(name) for name in ("o3", "anthropic/claude-x", "gpt-4o-mini")}
        served = {name: [(each.deployment.id.partition(":")[0], each.upstream) for each in route.candidates]
                  for name, route in routes.items() if route}  # fmt: skip

        assert served == {
            "o3": [("openai", "o3"), ("gpt-4o-mini", "")],
            "anthropic/claude-x": [("anthropic", "claude-x"), ("gpt-4o-mini", "")],
            "gpt-4o-mini": [("gpt-4o-mini", "")],
        }
        assert verdicts["model_list[0].model_name"] == "taken over"
        assert verdicts["model_list[1].model_name"] == "approximated"  # LiteLLM finds it for `claude-x` as well

    def test_redis_of_the_router_wins_over_that_of_the_cache(self) -> None:
        settings, verdicts = example("redis")

        assert settings.state.url == "redis://:x@localhost:1992"
        assert verdicts["router_settings.redis_host"] == "taken over"
        assert verdicts["router_settings.redis_password"] == "approximated"
        assert verdicts["litellm_settings.cache_params.host"] == "not taken over"

    def test_nodes_of_a_cluster(self) -> None:
        settings, _ = example("cluster-cache")

        assert settings.state.url == "redis+cluster://127.0.0.1:7001,127.0.0.2:7001"

    def test_limits_are_found_in_all_three_places(self) -> None:
        settings, verdicts = example("usage")

        assert settings.router.routing_strategy == "usage-based"
        assert [(each.rpm, each.tpm) for each in settings.model_list] == [(10_000, 100_000), (1_000, 10_000), (5, 99)]
        assert settings.model_list[2].id == "the-third"
        assert verdicts["model_list[2].model_info.rpm"] == "not taken over"

    def test_retry_after_may_be_longer_than_our_longest(self) -> None:
        settings, verdicts = example("cooldown")

        assert settings.router.circuit_breaker_enabled is False
        assert settings.router.circuit_breaker_threshold == 1
        assert [each.cooldown_period_ms for each in settings.model_list] == [600_000, 900_000]
        assert settings.router.breaker.max_cooldown_ms == 900_000
        assert verdicts["model_list[0].litellm_params.cooldown_time"] == "not taken over"
        assert verdicts["router_settings.retry_policy.TimeoutErrorRetries"] == "not taken over"

    def test_costs_are_of_a_million_tokens(self) -> None:
        settings, verdicts = example("cost")
        costs = [
            (cost.input_per_million, cost.output_per_million, cost.cache_read_per_million, cost.cache_write_per_million)
            for cost in (each.cost for each in settings.model_list)
        ]

        assert costs == [(2.5, 10, None, None), (2.75, 0, 1, None)]
        assert verdicts["model_list[1].model_info.cache_read_input_token_cost"] == "taken over"
        assert verdicts["router_settings.provider_budget_config.openai.budget_limit"] == "not taken over"

    def test_limits_of_the_whole_proxy(self) -> None:
        settings, verdicts = example("teams")

        assert settings.router.load_shedding.max_active_requests == 500
        assert (settings.router.queue.max_waiting, settings.router.queue.max_wait_ms) == (20, 2_500)
        assert [(each.model_name, each.max_parallel) for each in settings.model_list] == [("embeddings", 50)]
        assert verdicts["litellm_settings.default_team_settings[0].team_id"] == "not taken over"


class TestNames:
    def test_names_that_are_refused_become_others_and_chains_follow(self) -> None:
        settings, verdicts = imported(
            "model_list:\n"
            "- {model_name: my model, litellm_params: {model: gpt-4}}\n"
            "- {model_name: my-model, litellm_params: {model: gpt-4}}\n"
            "litellm_settings: {fallbacks: [{my model: [my-model]}]}\n"
        )

        assert [each.model_name for each in settings.model_list] == ["my-model-2", "my-model"]
        assert settings.router.fallbacks == {"my-model-2": ("my-model",)}
        assert verdicts["model_list[0].model_name"] == "approximated"

    def test_made_up_variables_are_no_others(self) -> None:
        found = convert(
            "model_list:\n"
            "- {model_name: openai, litellm_params: {model: openai/openai, api_key: literal}}\n"
            "- {model_name: gpt-4, litellm_params: {model: gpt-4}}\n"
        )
        first, second = (entry["provider"]["api_key"] for entry in yaml.safe_load(found.text)["model_list"])

        assert (first, second) == ("${OPENAI_API_KEY_2}", "${OPENAI_API_KEY}")

    def test_same_id_twice_becomes_two(self) -> None:
        entry = "{model_name: m, litellm_params: {model: gpt-4}, model_info: {id: a}}"
        settings, verdicts = imported(f"model_list: [{entry}, {entry}]")

        assert [each.id for each in settings.model_list] == ["a", "a-2"]
        assert verdicts["model_list[1].model_info.id"] == "approximated"

    def test_a_seventeenth_deployment_of_a_model_is_written_but_disabled(self) -> None:
        entry = "{model_name: m, litellm_params: {model: gpt-4}}"
        settings, verdicts = imported(f"model_list: [{', '.join([entry] * 17)}]")

        assert [each.enabled for each in settings.model_list] == [True] * 16 + [False]
        assert verdicts["model_list[16].model_name"] == "approximated"

    def test_a_model_whose_deployments_are_all_blocked_is_left_out(self) -> None:
        settings, verdicts = imported(
            "model_list:\n"
            "- {model_name: m, litellm_params: {model: gpt-4}, model_info: {blocked: true}}\n"
            "- {model_name: n, litellm_params: {model: gpt-4}}\n"
            "litellm_settings: {fallbacks: [{n: [m]}]}\n"
        )

        assert [each.model_name for each in settings.model_list] == ["n"]
        assert verdicts["model_list[0].model_name"] == verdicts["litellm_settings.fallbacks[0].n"] == "not taken over"

    @pytest.mark.parametrize("price", [0.000000375, 0])
    @pytest.mark.parametrize("place", ["litellm_params", "model_info"])
    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ("cache_read_input_token_cost", "cache_read_per_million"),
            ("cache_creation_input_token_cost", "cache_write_per_million"),
        ],
    )
    def test_price_of_cached_tokens_is_taken_over_from_either_place(
        self, theirs: str, ours: str, place: str, price: float
    ) -> None:
        params = {"litellm_params": {"model": "openai/m"}, "model_info": {}}
        params[place][theirs] = price  # type: ignore[assignment]
        settings, verdicts = imported(yaml.safe_dump({"model_list": [{"model_name": "m", **params}]}))

        assert getattr(settings.model_list[0].cost, ours) == round(price * 1_000_000, 6)
        assert verdicts[f"model_list[0].{place}.{theirs}"] == "taken over"

    def test_what_is_free_has_no_price(self) -> None:
        settings, verdicts = imported(one("input_cost_per_token: 0"))

        assert settings.model_list[0].cost.input_per_million == 0
        assert verdicts["model_list[0].litellm_params.input_cost_per_token"] == "taken over"


WILD = """
model_list:
- {model_name: 'openai/*', litellm_params: {model: 'openai/*'}, model_info: {id: %s}}
- {model_name: small, litellm_params: {model: openai/small}}
"""


class TestWildcards:
    @pytest.mark.parametrize(
        ("name", "model", "requested", "upstream"),
        [
            ("*", "openai/*", "o3", "o3"),
            ("openai/*", "openai/*", "openai/o3", "o3"),
            ("openai/ft:*", "openai/ft:*", "openai/ft:mine", "ft:mine"),
            ("mine/*", "groq/llama-*", "mine/70b", "llama-70b"),
            ("any-*", "openai/gpt-4o", "any-name", "gpt-4o"),
            ("claude-*", "claude-*", "claude-3", "claude-3"),
        ],
    )
    def test_model_that_matches_is_called_as_there(self, name: str, model: str, requested: str, upstream: str) -> None:
        settings, _ = imported(f"model_list: [{{model_name: '{name}', litellm_params: {{model: '{model}'}}}}]")
        route = Catalog(settings).resolve(requested)

        assert route is not None
        assert [each.upstream for each in route.candidates] == [upstream]

    @pytest.mark.parametrize(
        ("name", "model", "reason"),
        [
            ("fo::*:static::*", "openai/fo::*:static::*", "one *, at its end"),
            ("*-mini", "openai/*-mini", "one *, at its end"),
            ("my models/*", "openai/*", "one *, at its end"),
            ("a/*", "openai/*-*", "one *, at its end"),
            ("a", "openai/*", "where model_name has none"),
            ("*", "*", "for each provider"),
            ("openai/*", "*", "for each provider"),
            ("bedrock/*", "bedrock/*", "not a provider of PLLM"),
        ],
    )
    def test_wildcard_that_no_pattern_expresses_is_reported_and_the_rest_is_taken_over(
        self, name: str, model: str, reason: str
    ) -> None:
        found = convert(
            f"model_list:\n- {{model_name: '{name}', litellm_params: {{model: '{model}'}}}}\n"
            "- {model_name: small, litellm_params: {model: openai/small}}\n"
        )

        assert [each.model_name for each in parse(found.text, found.samples).model_list] == ["small"]
        assert reason in texts(found, "model_list[0].model_name")[0]

    def test_aliases_and_chains_may_lead_to_a_model_of_a_pattern_but_not_to_the_pattern(self) -> None:
        more = (
            "router_settings: {model_group_alias: {best: openai/o3, each: 'openai/*'}}\n"
            "litellm_settings: {fallbacks: [{small: [openai/o4, 'openai/*']}]}\n"
        )
        settings, verdicts = imported(WILD % "w" + more)

        assert settings.router.aliases == {"best": "openai/o3"}
        assert settings.router.fallbacks == {"small": ("openai/o4",)}
        assert verdicts["router_settings.model_group_alias.each"] == "not taken over"
        assert verdicts["litellm_settings.fallbacks[0].small"] == "approximated"

    @pytest.mark.parametrize("given", ["w" * 57, "w" * 58, "w" * 200])
    def test_id_of_a_pattern_leaves_room_for_its_deployments(self, given: str) -> None:
        settings, _ = imported(WILD % given)

        assert settings.model_list[0].id == f"{'w' * 57}:slot-0"

    def test_patterns_beyond_the_limit_of_deployments_are_disabled(self) -> None:
        entries = [{"model_name": f"p{k}/*", "litellm_params": {"model": "openai/*"}} for k in range(20)]
        settings, verdicts = imported(yaml.safe_dump({"model_list": entries}))

        assert {each.model_name for each in settings.model_list} == {f"p{k}/*" for k in range(18)}
        assert verdicts["model_list[18].model_name"] == "not taken over"

    def test_pattern_at_azure_has_the_newer_addresses(self) -> None:
        params = "{model: 'azure/*', api_base: 'https://a.openai.azure.com', api_version: '2024-02-01'}"
        settings, verdicts = imported(f"model_list: [{{model_name: 'azure/*', litellm_params: {params}}}]")

        assert settings.model_list[0].provider.api_version == ""
        assert verdicts["model_list[0].litellm_params.api_version"] == "not taken over"


class TestProviders:
    @pytest.mark.parametrize(
        ("model", "more", "base_url", "name"),
        [
            ("gpt-4o", "", "https://api.openai.com/v1", "gpt-4o"),
            ("openai/meta/llama", "api_base: 'http://h:1/v1'", "http://h:1/v1", "meta/llama"),
            ("meta/llama", "custom_llm_provider: openai, api_base: 'http://h:1/v1/'", "http://h:1/v1", "meta/llama"),
            ("claude-3-opus", "", "https://api.anthropic.com/v1", "claude-3-opus"),
            ("anthropic/claude", "api_base: 'http://h:1'", "http://h:1/v1", "claude"),
            ("anthropic/claude", "api_base: 'http://h:1/v1'", "http://h:1/v1", "claude"),
            ("ollama/llama3", "", "http://localhost:11434/v1", "llama3"),
            ("hosted_vllm/x", "api_base: 'http://h:1/v1'", "http://h:1/v1", "x"),
            ("gemini/gemini-2.5-pro", "", "https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro"),
            ("azure/eu", "", "http://localhost", "eu"),
        ],
    )
    def test_prefix_names_the_provider(self, model: str, more: str, base_url: str, name: str) -> None:
        settings, _ = imported(f"model_list: [{{model_name: m, litellm_params: {{model: {model}, {more}}}}}]")

        assert (settings.model_list[0].provider.base_url, settings.model_list[0].provider.model) == (base_url, name)

    @pytest.mark.parametrize(
        "params",
        [
            "{model: bedrock/claude}",
            "{model: vertex_ai/gemini-pro}",
            "{model: command-r}",
            "{model: hosted_vllm/x}",
            "{model: openai/x, api_base: 'http://user:pw@h:1/v1'}",
            "{model: openai/x, api_base: 'h:1/v1'}",
            "{model: gemini/x, api_base: 'http://h:1'}",
            "{model: os.environ/MODEL}",
            "{model: openai/}",
            "{api_key: x}",
            "[x]",
        ],
    )
    def test_what_we_do_not_have_is_left_out_not_sent_elsewhere(self, params: str) -> None:
        settings, verdicts = imported(
            f"model_list: [{{model_name: m, litellm_params: {params}}},"
            " {model_name: n, litellm_params: {model: gpt-4}}]"
        )

        assert [each.model_name for each in settings.model_list] == ["n"]
        assert verdicts["model_list[0].model_name"] == "not taken over"


class TestValues:
    def test_references_become_variables(self) -> None:
        found = convert(one("rpm: os.environ/RPM, timeout: os.environ/TIMEOUT"))
        written = yaml.safe_load(found.text)["model_list"][0]

        assert (written["rpm"], written["timeout"], written["provider"]["api_key"]) == ("${RPM}", "${TIMEOUT}", "${K}")
        assert set(found.samples) == {"RPM", "TIMEOUT", "K"}

    def test_one_variable_cannot_be_an_address_and_a_number(self) -> None:
        _, verdicts = imported(one("api_base: os.environ/X, rpm: os.environ/X"))

        assert verdicts["model_list[0].litellm_params.rpm"] == "not taken over"

    @pytest.mark.parametrize(
        "params",
        [
            *(
                "rpm: 0",
                "rpm: many",
                "rpm: 1.5",
                "tpm: -1",
                "timeout: 0",
                "timeout: 90000",
                "timeout: .nan",
                "rpm: true",
            ),
            *("weight: -1", "max_parallel_requests: 0", "input_cost_per_token: -1", "cooldown_time: [1]", "tags: [1]"),
            *("region_name: '${X}'", "rpm: os.environ/A-B", f"rpm: 1{'0' * 400}", f"timeout: 1{'0' * 400}", "order: x"),
        ],
    )
    def test_values_that_are_refused_are_reported(self, params: str) -> None:
        _, verdicts = imported(one(params))

        assert verdicts[f"model_list[0].litellm_params.{params.partition(':')[0]}"] == "not taken over"

    def test_weight_of_0_stays_the_smallest(self) -> None:
        settings, verdicts = imported(one("weight: 0"))

        assert settings.model_list[0].weight == 0.001
        assert verdicts["model_list[0].litellm_params.weight"] == "approximated"

    def test_router_settings_win_over_litellm_settings(self) -> None:
        more = "router_settings: {num_retries: 1}\nlitellm_settings: {num_retries: 5, request_timeout: 20}\n"
        settings, verdicts = imported(one("", more))

        assert settings.router.max_attempts == 2
        assert settings.model_list[0].timeout_ms == 20_000
        assert verdicts["litellm_settings.num_retries"] == "not taken over"

    @pytest.mark.parametrize(
        ("params", "url"),
        [
            ("url: 'redis://h:1/2'", "redis://h:1/2"),
            ("host: h, ssl: true", "rediss://h:6379"),
            ("host: h, port: '7', db: 2, username: u, password: os.environ/P", "redis://u:x@h:7/2"),
            ("service_name: s, sentinel_nodes: [[h, 1], [i, 2]]", "redis+sentinel://h:1,i:2/s"),
            ("sentinel_nodes: [[h, 1]]", ""),
            ("host: 'a b'", ""),
            ("port: 1", ""),
            ("type: s3, host: h", ""),
        ],
    )
    def test_spellings_of_one_store(self, params: str, url: str) -> None:
        settings, verdicts = imported(one("", f"general_settings: {{coordination_redis: {{{params}}}}}"))
        path = "general_settings.coordination_redis."
        of_the_store = {verdict for each, verdict in verdicts.items() if each.startswith(path)}

        assert settings.state.url == url
        assert of_the_store == {"taken over" if url else "not taken over"}

    def test_unknown_keys_are_named(self) -> None:
        found = convert(one("wings: 2", "router_settings: {wheels: {count: [3, {spare: 1}]}}\nengine: on\n"))

        assert texts(found, "model_list[0].litellm_params.wings") == ["not a known key"]
        assert texts(found, "router_settings.wheels.count[1].spare") == ["not a known key"]
        assert texts(found, "engine") == ["not a known key"]

    @pytest.mark.parametrize(
        ("params", "unused"),
        [
            (
                "url: 'redis://h:1', password: os.environ/P, host: i, db: 2, ssl: true",
                ["password", "host", "db", "ssl"],
            ),
            ("host: h, service_name: s, ssl: 'true'", ["service_name", "ssl"]),
            ("startup_nodes: [{host: h, port: 1}], host: i, port: 2, db: 1", ["host", "port", "db"]),
            ("sentinel_nodes: [[h, 1]], service_name: s, host: i, startup_nodes: [[i, 2]]", ["host", "startup_nodes"]),
        ],
    )
    def test_what_the_address_of_a_store_leaves_out_is_not_called_taken_over(
        self, params: str, unused: list[str]
    ) -> None:
        _, verdicts = imported(one("", f"general_settings: {{coordination_redis: {{{params}}}}}"))
        path = "general_settings.coordination_redis."
        told = [key.removeprefix(path) for key, verdict in verdicts.items() if verdict == "not taken over"]

        assert sorted({key.partition("[")[0] for key in told if "general" not in key}) == sorted(unused)

    def test_every_key_of_its_documentation_is_known(self) -> None:
        found = convert((EXAMPLES / "every-key.yaml").read_text())

        assert [row.path for row in found.rows if row.text == UNKNOWN] == []

    @pytest.mark.parametrize("text", ["\ufeff" + one("rpm: 5"), one("rpm: 5").replace(", ", ",\r\n  ")])
    def test_files_from_windows_are_read(self, text: str) -> None:
        settings, verdicts = imported(text)

        assert [each.rpm for each in settings.model_list] == [5]
        assert "not taken over" not in verdicts.values()

    def test_anchors_and_merges_are_written_out(self) -> None:
        text = """
            defaults: &base {api_key: os.environ/K, rpm: 10}
            model_list:
              - &first {model_name: m, litellm_params: {<<: *base, model: openai/m}}
              - {<<: *first, litellm_params: {<<: [{tpm: 600}, *base], model: openai/n, rpm: 20}}
        """
        settings, _ = imported(text)

        assert [(d.model_name, d.provider.model, d.rpm, d.tpm) for d in settings.model_list] == [
            ("m", "m", 10, None),
            ("m", "n", 20, 600),
        ]


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "empty"),
            ("# nothing\n", "empty"),
            ("{", "not valid YAML"),
            ("\x00", "not valid YAML"),
            ("- a\n- b\n", "expected a mapping"),
            ("hello", "expected a mapping"),
            ("a: &a [*a]", "anchor"),
            ("a: 1\na: 2\n", "given twice"),
            ("model_list:\n\t- model_name: a\n", "line 2, column 1: not valid YAML"),
            ("a: 1\n---\nb: 2\n", "not valid YAML"),
            ("[" * 100_000, "nested too deeply"),
            ("a: !!python/object:os.system x", "not valid YAML"),
            ("router_settings: {}", "model_list"),
            ("model_list: []", "model_list"),
            ("model_list: {a: b}", "model_list"),
        ],
    )
    def test_what_is_no_configuration_is_refused_in_words(self, text: str, message: str) -> None:
        assert message in problems_of(text)

    @pytest.mark.parametrize(
        "text",
        [
            *("model_list: [1, null, x, [y]]", "model_list: [{}]", "model_list: [{model_name: a}]"),
            "model_list: [{model_name: '*', litellm_params: {model: '*'}}]\nrouter_settings: {fallbacks: [{a: [b]}]}",
        ],
    )
    def test_nothing_is_written_without_a_deployment(self, text: str) -> None:
        found = convert(text)

        assert found.text == ""
        assert {row.verdict for row in found.rows} <= {"not taken over", "added"}
        assert "nothing was written" in report(found)[-1]

    @pytest.mark.parametrize(
        "section",
        [
            *(
                "router_settings: [1]",
                "litellm_settings: x",
                "general_settings: 3",
                "router_settings: {fallbacks: [a]}",
            ),
            *("router_settings: {fallbacks: {m: {n: 1}}}", "router_settings: {model_group_alias: [a]}"),
            *("router_settings: {routing_strategy: [x]}", "litellm_settings: {cache_params: 4}"),
            *("router_settings: {num_retries: x}", "router_settings: {max_fallbacks: -1}"),
            "general_settings: {master_key: 7}",
        ],
    )
    def test_sections_of_the_wrong_form_are_reported(self, section: str) -> None:
        text = one("", section)
        found = convert(text)

        assert parse(found.text, found.samples).model_list
        assert unnamed(yaml.safe_load(text), found) == []

    def test_control_characters_do_not_reach_the_terminal(self) -> None:
        found = convert(one("", '"\\e[31mred": 1\n'))

        assert all(line.isprintable() for line in report(found))


class TestCommand:
    def pllm(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment)

    def test_what_is_written_passes_check_with_its_variables(self, tmp_path: Path) -> None:
        out = tmp_path / "gateway.yaml"
        done = self.pllm("import", "litellm", str(EXAMPLES / "redis.yaml"), "--out", str(out))
        variables = done.stderr.splitlines()[-1].partition("check: ")[2].split(", ")
        checked = self.pllm("check", str(out), environment=dict.fromkeys(variables, "value"))

        assert (done.returncode, done.stdout) == (0, "")
        assert variables == ["OPENAI_API_KEY", "REDIS_HOST", "REDIS_PASSWORD"]
        assert (checked.returncode, checked.stderr) == (0, "")

    def test_without_out_yaml_goes_to_standard_output_and_the_report_to_standard_error(self) -> None:
        done = self.pllm("import", "litellm", str(EXAMPLES / "wildcards.yaml"))

        assert list(yaml.safe_load(done.stdout)) == ["router", "model_list"]
        assert "approximated    model_list[1].model_name" in done.stderr

    def test_nothing_to_write_ends_with_1(self, tmp_path: Path) -> None:
        source = tmp_path / "config.yaml"
        source.write_text("model_list: [{model_name: a, litellm_params: {model: bedrock/b}}]")
        done = self.pllm("import", "litellm", str(source))

        assert (done.returncode, done.stdout) == (1, "")
        assert "nothing was written" in done.stderr

    @pytest.mark.parametrize("text", [b"", b"- 1", b"\xff\xfe\x00"])
    def test_bad_files_end_with_1_and_a_sentence(self, tmp_path: Path, text: bytes) -> None:
        source = tmp_path / "config.yaml"
        source.write_bytes(text)
        done = self.pllm("import", "litellm", str(source))

        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1

    def test_the_source_is_never_written_over(self, tmp_path: Path) -> None:
        source = tmp_path / "config.yaml"
        source.write_text(one(""))
        done = self.pllm("import", "litellm", str(source), "--out", str(source))

        assert done.returncode == 1
        assert source.read_text() == one("")


@given(documents())
@REPEATABLE
def test_any_configuration_has_a_word_about_every_key_and_passes_check(document: dict[str, object]) -> None:
    text = yaml.safe_dump(document)
    found = convert(text)

    assert unnamed(yaml.safe_load(text), found) == []
    if found.text:
        assert parse(found.text, found.samples).model_list


@given(st.recursive(st.none() | st.text() | st.integers(), lambda each: st.lists(each) | st.dictionaries(NAMES, each)))
@REPEATABLE
def test_anything_else_is_refused_in_words(document: object) -> None:
    with pytest.raises(ConfigurationError):
        convert(yaml.safe_dump(document))
