from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.configuration.auth import signing_secrets
from gateway.configuration.health_checks import HealthCheckSettings
from gateway.configuration.settings import ConfigurationError, Settings, exposure_problems, load, parse
from gateway.configuration.value_types import secrets

# A loaded machine must neither fail an example for being late nor try others than the last run did.
REPEATABLE = hypothesis_settings(deadline=None, derandomize=True)

KEYS = ["host", "port", "keys", "name", "key", "models", "id", "model_name", "provider", "timeout", "tags", "x"]
ONE_MODEL = "model_list: [{id: m-1, model_name: m}]\n"


def problems_of(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, environment or {})
    return [str(problem) for problem in caught.value.problems]


def with_router(router: str, models: str = "m", environment: Mapping[str, str] | None = None) -> Settings:
    return parse(f"router: {router}\n{deployments(models)}", environment or {})


def router_problems(router: str, models: str = "m") -> list[str]:
    return problems_of(f"router: {router}\n{deployments(models)}")


def deployments(models: str) -> str:
    entries = [f"{{id: d-{index}, model_name: {model}}}" for index, model in enumerate(models.split())]
    return f"model_list: [{', '.join(entries)}]\n"


def with_deployment(more: str, environment: Mapping[str, str] | None = None) -> Settings:
    return parse(f"model_list: [{{id: m-1, model_name: m, {more}}}]", environment or {})


def deployment_problems(more: str) -> list[str]:
    return problems_of(f"model_list: [{{id: m-1, model_name: m, {more}}}]")


class TestTree:
    def test_shortest_configuration_is_one_deployment(self) -> None:
        settings = parse(ONE_MODEL, {})

        assert [entry.id for entry in settings.model_list] == ["m-1"]

    def test_sections_left_out_or_empty_have_their_defaults(self) -> None:
        assert parse(f"server:\nstate:\nauth:\nrouter:\n{ONE_MODEL}", {}) == parse(ONE_MODEL, {})

    def test_server_and_state_defaults(self) -> None:
        settings = parse(ONE_MODEL, {})

        assert msgspec.structs.asdict(settings.server) == {
            "host": "127.0.0.1",
            "port": 8080,
            "engine": "hypercorn",
            "max_connections": None,
            "max_connections_per_address": None,
            "trusted_proxies": (),
            "max_body_memory_bytes": None,
            "max_body_bytes": 32 * 2**20,
            "cors": None,
            "max_messages": 10_000,
            "ping_interval_ms": None,
            "drain_delay_ms": None,
            "drain_timeout_ms": 60_000,
            "region": None,
            "access_log": True,
            "access_log_file": None,
            "metrics_port": None,
            "tls": None,
        }
        assert msgspec.structs.asdict(settings.state) == {
            "url": "",
            "domain": "default",
            "standby": "embedded",
            "deadline_ms": 250,
            "lost_after_ms": None,
        }

    def test_router_defaults(self) -> None:
        router = parse(ONE_MODEL, {}).router

        assert msgspec.to_builtins(router) == {
            "routing_strategy": "adaptive",
            "circuit_breaker_enabled": True,
            "circuit_breaker_threshold": 5,
            "circuit_breaker_cooldown": 30_000,
            "latency_threshold": None,
            "last_resort": True,
            "slow_request_limit": 3,
            "token_allowance": 50,
            "breaker": {
                "min_calls": 20,
                "failure_rate": 0.5,
                "slow_rate": 0.5,
                "max_cooldown": 300_000,
                "group_share": 0.5,
                "probes": 3,
                "probe_successes": 2,
                "slow_start": 30_000,
                "trip_memory": 60_000,
            },
            "score": {"load": 0.3, "latency": 0.4, "error": 0.3},
            "fallback": {"min_health": 40, "advantage": 1.25},
            "retry_budget": {"ratio": 0.2, "floor_per_second": 3},
            "max_attempts": 3,
            "request_timeout": 600_000,
            "fallbacks": {},
            "context_window_fallbacks": {},
            "content_policy_fallbacks": {},
            "fallbacks_within_key": True,
            "state_owners": {"ttl": 2_592_000_000, "max_entries": 200_000},
            "queue": {"max_waiting": 100, "max_wait": 10_000, "target": 1_000},
            "model_queues": {},
            "model_strategies": {},
            "affinity": {
                "mode": "session",
                "ttl": 600_000,
                "band": 0.3,
                "max_entries": 200_000,
                "pass_headers": ("x-session-affinity", "x-session-id"),
            },
            "load_shedding": {
                "max_active_requests": 1_000,
                "min_healthy_ratio": 0.5,
                "max_failure_rate": 0.10,
                "critical_reserve": 0.2,
            },
            "aliases": {},
            "autoscale": None,
            "budget": None,
            "cost_estimate": {"bytes_per_token": 2, "max_output_tokens": 4_096},
            "capacity_leases": {"block": 0, "for": 1_000},
        }

    def test_deployment_defaults(self) -> None:
        deployment = parse(ONE_MODEL, {}).model_list[0]

        assert (deployment.priority, deployment.weight, deployment.max_parallel) == (50, 1.0, 200)
        assert (deployment.timeout_ms, deployment.connect_timeout_ms) == (600_000, 5_000)
        assert (deployment.rpm, deployment.tpm) == (None, None)
        assert (deployment.region, deployment.tags, deployment.enabled) == (None, (), True)
        assert (deployment.cost.input_per_million, deployment.cost.output_per_million) == (0, 0)

    def test_every_documented_setting_of_a_deployment_arrives(self) -> None:
        deployment = with_deployment(
            "priority: 100, weight: 2, timeout: 45s, connect_timeout: 1s, rpm: 500, tpm: 90000, "
            "max_parallel: 20, latency_threshold: 3s, cooldown_period: 10s, region: eu, tags: [x, y], "
            "enabled: true, cost: {input_per_million: 2.5, output_per_million: 10}"
        ).model_list[0]

        assert (deployment.priority, deployment.weight) == (100, 2)
        assert (deployment.timeout_ms, deployment.connect_timeout_ms) == (45_000, 1_000)
        assert (deployment.rpm, deployment.tpm, deployment.max_parallel) == (500, 90_000, 20)
        assert (deployment.latency_threshold_ms, deployment.cooldown_period_ms) == (3_000, 10_000)
        assert (deployment.region, deployment.tags) == ("eu", ("x", "y"))
        assert (deployment.cost.input_per_million, deployment.cost.output_per_million) == (2.5, 10)

    def test_health_check_is_off_unless_given(self) -> None:
        given = [with_deployment(text).model_list[0].health_check for text in ("", "health_check: {}")]

        assert given == [None, HealthCheckSettings(interval_ms=30_000, path="/models", timeout_ms=5_000)]

    def test_health_check_takes_interval_path_and_timeout(self) -> None:
        given = with_deployment("health_check: {interval: 10s, path: /../health, timeout: 2s}").model_list[0]

        assert given.health_check == HealthCheckSettings(interval_ms=10_000, path="/../health", timeout_ms=2_000)

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ("interval: 500ms", "interval: expected a duration from 1s to 24h"),
            ("path: models", "path: expected a path that begins with a slash"),
            ("path: '/models?limit=1'", "path: expected a path that begins with a slash"),
            ("interval: 2s", "timeout: longer than health_check.interval: checks would overlap"),
            ("every: 2s", "every: unknown"),
        ],
    )
    def test_health_check_that_cannot_work_is_refused(self, given: str, problem: str) -> None:
        [found] = deployment_problems(f"health_check: {{{given}}}")

        assert found.startswith(f"model_list[0].health_check.{problem}")

    def test_every_documented_setting_of_a_key_arrives(self) -> None:
        text = (
            "auth: {admin_key: adm, keys: [{name: a, key: k, priority: low, rpm: 1, tpm: 2, "
            f"max_parallel: 3, models: [m]}}]}}\n{ONE_MODEL}"
        )
        auth = parse(text, {}).auth
        key = auth.keys[0]

        assert (auth.admin_key, key.name, key.key, key.priority) == ("adm", "a", "k", "low")
        assert (key.rpm, key.tpm, key.max_parallel, key.models) == (1, 2, 3, ("m",))

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ("{certificate: a.pem}", "server.tls.key: missing"),
            ("{certificate: a.pem, key: ''}", "server.tls.key: expected text that is not empty"),
            ("{certificate: a.pem, key: a.key, ca: b.pem}", "server.tls.ca: unknown key"),
            ("true", "server.tls: expected a mapping"),
        ],
    )
    def test_tls_needs_certificate_and_key(self, given: str, problem: str) -> None:
        assert [line.partition(",")[0] for line in problems_of(f"server: {{tls: {given}}}\n{ONE_MODEL}")] == [problem]

    def test_passphrase_of_a_key_is_a_secret(self) -> None:
        tls = "{certificate: a.pem, key: a.key, key_passphrase: '${PASSPHRASE}'}"
        settings = parse(f"server: {{tls: {tls}}}\n{ONE_MODEL}", {"PASSPHRASE": "s3cret"})

        assert list(secrets(settings)) == ["s3cret"]
        assert "s3cret" not in repr(settings)

    def test_settings_cannot_be_changed(self) -> None:
        settings = parse(ONE_MODEL, {})

        with pytest.raises(AttributeError):
            settings.server.port = 1  # type: ignore[misc]


class TestInheritance:
    @pytest.mark.parametrize("given", ["", "latency_threshold: null, cooldown_period: null"])
    def test_deployment_without_thresholds_takes_the_routers(self, given: str) -> None:
        text = "router: {latency_threshold: 1501ms, circuit_breaker_cooldown: 7s}\n"
        deployment = parse(f"{text}model_list: [{{id: m-1, model_name: m, {given}}}]", {}).model_list[0]

        assert (deployment.latency_threshold_ms, deployment.cooldown_period_ms) == (1_501, 7_000)

    def test_thresholds_of_a_deployment_win_over_the_routers(self) -> None:
        text = "router: {latency_threshold: 1s, circuit_breaker_cooldown: 7s}\n"
        given = "latency_threshold: 4s, cooldown_period: 30s"
        deployment = parse(f"{text}model_list: [{{id: m-1, model_name: m, {given}}}]", {}).model_list[0]

        assert (deployment.latency_threshold_ms, deployment.cooldown_period_ms) == (4_000, 30_000)

    @REPEATABLE
    @given(st.integers(1, 24 * 3_600_000))
    def test_inherited_threshold_is_the_same_to_the_millisecond(self, threshold_ms: int) -> None:
        settings = with_router(f"{{latency_threshold: {threshold_ms}ms}}")

        assert settings.model_list[0].latency_threshold_ms == threshold_ms

    @pytest.mark.parametrize("given", ["", "provider: null", "provider: {}", "provider: {api_key: null}"])
    def test_provider_left_out_is_openai_with_the_key_of_the_environment(self, given: str) -> None:
        provider = with_deployment(given, {"OPENAI_API_KEY": "sk-1"}).model_list[0].provider

        assert (provider.type, provider.base_url) == ("openai", "https://api.openai.com/v1")
        assert (provider.api_key, provider.model) == ("sk-1", "m")

    def test_provider_without_any_key_has_an_empty_one(self) -> None:
        assert parse(ONE_MODEL, {}).model_list[0].provider.api_key == ""

    def test_key_of_the_environment_never_goes_to_another_address(self) -> None:
        given = "provider: {base_url: 'http://localhost:9001/v1'}"
        provider = with_deployment(given, {"OPENAI_API_KEY": "sk-1"}).model_list[0].provider

        assert provider.api_key == ""

    def test_given_provider_wins_over_its_defaults(self) -> None:
        given = "provider: {base_url: 'http://localhost:9001/v1/', api_key: own, model: org/x y}"
        provider = with_deployment(given, {"OPENAI_API_KEY": "sk-1"}).model_list[0].provider

        assert (provider.base_url, provider.api_key, provider.model) == (
            "http://localhost:9001/v1",
            "own",
            "org/x y",
        )

    def test_mistake_in_an_inherited_setting_is_reported_once(self) -> None:
        assert [problem.split(":")[0] for problem in router_problems("{latency_threshold: soon}", "m n")] == [
            "router.latency_threshold"
        ]


class TestVariables:
    def test_variable_fills_settings_of_every_type(self) -> None:
        environment = {"PORT": "9000", "ON": "false", "RATIO": "0.7", "TIMEOUT": "250ms", "SIZE": "1MB", "D": "x"}
        text = (
            "server: {port: '${PORT}', drain_timeout: '${TIMEOUT}', max_body: '${SIZE}'}\n"
            "state: {domain: 'd-${D}'}\n"
            "router: {circuit_breaker_enabled: '${ON}', retry_budget: {ratio: '${RATIO}'}}\n"
        )
        settings = parse(text + ONE_MODEL, environment)

        assert (settings.server.port, settings.server.drain_timeout_ms) == (9_000, 250)
        assert (settings.server.max_body_bytes, settings.state.domain) == (1_000_000, "d-x")
        assert settings.router.circuit_breaker_enabled is False
        assert settings.router.retry_budget.ratio == 0.7

    def test_number_from_an_empty_variable_is_a_number_left_out(self) -> None:
        settings = with_deployment("rpm: '${RPM:-}', timeout: '${TIMEOUT:-}'")

        assert (settings.model_list[0].rpm, settings.model_list[0].timeout_ms) == (None, 600_000)

    def test_unset_variable_is_reported_once_even_where_a_number_is_expected(self) -> None:
        assert problems_of("server: {port: '${PORT}'}\n" + ONE_MODEL) == [
            "server.port: the environment variable PORT is not set"
        ]

    @REPEATABLE
    @given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
    def test_key_from_a_variable_arrives_as_it_is(self, key: str) -> None:
        settings = parse("auth: {keys: [{name: a, key: '${K}'}]}\n" + ONE_MODEL, {"K": key})

        assert [entry.key for entry in settings.auth.keys] == [key]


class TestUnknownAndMistyped:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("router: {fallback_chains: {}}", "router.fallback_chains: unknown key, did you mean fallbacks?"),
            ("routers: {}", "routers: unknown key, did you mean router?"),
            ("server: {max_body_bytes: 5}", "server.max_body_bytes: unknown key, did you mean max_body?"),
            ("server: {1: 2}", "server.1: unknown key"),
            ("server: {zzz: null}", "server.zzz: unknown key"),
        ],
    )
    def test_unknown_key_is_refused_with_its_path(self, text: str, problem: str) -> None:
        assert problems_of(f"{text}\n{ONE_MODEL}") == [problem]

    def test_unknown_key_of_a_deployment_is_refused_even_without_a_value(self) -> None:
        assert deployment_problems("wieght: null") == ["model_list[0].wieght: unknown key, did you mean weight?"]

    @pytest.mark.parametrize(
        ("more", "path"),
        [
            ("timeout: soon", "timeout"),
            ("timeout: 0", "timeout"),
            ("timeout: -1s", "timeout"),
            ("timeout: 25h", "timeout"),
            ("weight: 0", "weight"),
            ("weight: 1.0e-320", "weight"),
            ("weight: .nan", "weight"),
            ("weight: .inf", "weight"),
            ("weight: nan", "weight"),
            ("rpm: 0", "rpm"),
            ("rpm: 1.5", "rpm"),
            ("rpm: many", "rpm"),
            ("rpm: true", "rpm"),
            ("max_parallel: 0", "max_parallel"),
            ("priority: -1", "priority"),
            ("enabled: 1", "enabled"),
            ("enabled: maybe", "enabled"),
            ("region: 5", "region"),
            ("region: ''", "region"),
            ("region: ' '", "region"),
            ("region: nan", "region"),
            ("region: 1e5", "region"),
            ("region: 'eu west'", "region"),
            ("tags: x", "tags"),
            ("tags: [x, 5]", "tags[1]"),
            ("tags: [x, null]", "tags[1]"),
            ("cost: 5", "cost"),
            ("cost: {input_per_million: -1}", "cost.input_per_million"),
            ("provider: []", "provider"),
            ("provider: {type: other}", "provider.type"),
            ("provider: {model: ''}", "provider.model"),
            ("provider: {base_url: api.openai.com}", "provider.base_url"),
            ("provider: {base_url: 'https://'}", "provider.base_url"),
            ("provider: {base_url: 'https://u:p@host/v1'}", "provider.base_url"),
            ("provider: {base_url: 'https://host/v1?key=1'}", "provider.base_url"),
            ("provider: {base_url: 'https://host:99999'}", "provider.base_url"),
            ("provider: {api_key: 'two words'}", "provider.api_key"),
        ],
    )
    def test_value_of_a_wrong_type_or_range_is_refused_with_its_path(self, more: str, path: str) -> None:
        (problem,) = deployment_problems(more)

        assert problem.startswith(f"model_list[0].{path}: expected ")

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("server: {port: 0}", "server.port"),
            ("server: {port: 65536}", "server.port"),
            ("server: {host: ''}", "server.host"),
            ("server: {max_body: 0}", "server.max_body"),
            ("server: {max_messages: 0}", "server.max_messages"),
            ("server: {max_connections: 0}", "server.max_connections"),
            ("server: {engine: gunicorn}", "server.engine"),
            ("server: [port]", "server"),
            ("state: {domain: 'a{b}'}", "state.domain"),
            ("state: {standby: maybe}", "state.standby"),
            ("state: {deadline: 0}", "state.deadline"),
            ("state: {lost_after: 0}", "state.lost_after"),
            ("auth: {keys: {name: a}}", "auth.keys"),
            ("auth: {keys: [5]}", "auth.keys[0]"),
            ("router: {breaker: {failure_rate: 0}}", "router.breaker.failure_rate"),
            ("router: {breaker: {slow_rate: 1.1}}", "router.breaker.slow_rate"),
            ("router: {fallback: {min_health: 101}}", "router.fallback.min_health"),
            ("router: {fallback: {advantage: 0.9}}", "router.fallback.advantage"),
            ("router: {retry_budget: {ratio: 2}}", "router.retry_budget.ratio"),
            ("router: {score: {load: -0.1}}", "router.score.load"),
            ("router: {load_shedding: {max_active_requests: 0}}", "router.load_shedding.max_active_requests"),
            ("router: {load_shedding: {min_healthy_ratio: 50}}", "router.load_shedding.min_healthy_ratio"),
            ("router: {fallbacks: [m]}", "router.fallbacks"),
            ("router: {fallbacks: {m: n}}", "router.fallbacks.m"),
            ("router: {aliases: {x: null}}", "router.aliases.x"),
            ("router: {aliases: {5: m}}", "router.aliases.5"),
        ],
    )
    def test_wrong_value_of_a_section_is_refused_with_its_path(self, text: str, path: str) -> None:
        (problem,) = problems_of(f"{text}\n{ONE_MODEL}")

        assert problem.startswith(f"{path}: expected ")

    def test_unknown_strategy_is_refused_with_the_nearest_one(self) -> None:
        (problem,) = router_problems("{routing_strategy: latency_based}")

        assert problem.startswith("router.routing_strategy: expected one of adaptive, latency-based, ")
        assert problem.endswith(", did you mean latency-based?")

    @pytest.mark.parametrize(
        "strategy",
        [
            "adaptive",
            "latency-based",
            "least-busy",
            "priority",
            "weighted",
            "round-robin",
            "random",
            "usage-based",
            "cost-based",
        ],
    )
    def test_every_documented_strategy_is_known(self, strategy: str) -> None:
        assert with_router(f"{{routing_strategy: {strategy}}}").router.routing_strategy == strategy

    def test_token_allowance_may_be_zero(self) -> None:
        assert with_router("{token_allowance: 0}").router.token_allowance_ms == 0

    @pytest.mark.parametrize("limit", ["rpm", "tpm", "max_parallel"])
    @pytest.mark.parametrize("value", [-1, 0, 10**10])
    def test_limit_out_of_range_names_the_range(self, limit: str, value: int) -> None:
        text = f"auth: {{keys: [{{name: a, key: k, {limit}: {value}}}]}}\nmodel_list: [{{id: m-1, model_name: m}}]"

        assert problems_of(text) == [f"auth.keys[0].{limit}: expected a whole number from 1 to 1000000000"]

    @pytest.mark.parametrize("missing", ["id", "model_name"])
    def test_required_setting_left_out_is_reported(self, missing: str) -> None:
        given = {"id": "m-1", "model_name": "m"}
        del given[missing]

        assert f"model_list[0].{missing}: missing" in problems_of(f"model_list: [{given}]")

    @pytest.mark.parametrize("name", ["a b", "a{b}", "ä", "a*", "", "x" * 65, "a\n"])
    def test_id_that_cannot_be_a_redis_key_is_refused(self, name: str) -> None:
        (problem,) = problems_of("model_list: [{id: '${ID}', model_name: m}]", {"ID": name})

        assert problem.startswith("model_list[0].id: expected 1 to 64 letters, digits")

    @pytest.mark.parametrize("name", ["a{b}", "a b"])
    def test_model_name_that_cannot_be_a_redis_key_is_refused(self, name: str) -> None:
        (problem,) = problems_of(f"model_list: [{{id: m-1, model_name: '{name}'}}]")

        assert problem.startswith("model_list[0].model_name: expected 1 to 256 letters, digits or any of . _ : / @ -")

    @pytest.mark.parametrize("name", ["@cf/meta/llama-3.1:8b_q4", "x" * 64])
    def test_id_of_allowed_characters_is_kept(self, name: str) -> None:
        assert parse(f"model_list: [{{id: '{name}', model_name: m}}]", {}).model_list[0].id == name

    @pytest.mark.parametrize("text", ["- a", "just text", "5"])
    def test_document_that_is_no_mapping_is_refused(self, text: str) -> None:
        assert problems_of(text)[0] == "expected a mapping"

    def test_key_given_twice_is_refused(self) -> None:
        assert problems_of("server: {port: 1, port: 2}\n" + ONE_MODEL) == [
            "server.port: given twice, on line 1 and on line 1"
        ]


class TestBreakerAndScore:
    def test_score_weights_that_sum_to_nothing_are_refused(self) -> None:
        assert router_problems("{score: {load: 0, latency: 0, error: 0}}") == [
            "router.score: at least one weight must be above 0"
        ]

    def test_one_score_weight_is_enough(self) -> None:
        assert with_router("{score: {load: 0, latency: 0, error: 7}}").router.score.error == 7

    def test_more_probe_successes_than_probes_are_refused(self) -> None:
        assert router_problems("{breaker: {probes: 1}}") == [
            "router.breaker.probe_successes: more than router.breaker.probes: it would never close"
        ]

    def test_cooldown_longer_than_the_longest_is_refused(self) -> None:
        assert router_problems("{circuit_breaker_cooldown: 301s}") == [
            "router.circuit_breaker_cooldown: longer than router.breaker.max_cooldown"
        ]

    def test_cooldown_of_a_deployment_longer_than_the_longest_is_refused(self) -> None:
        assert deployment_problems("cooldown_period: 301s") == [
            "model_list[0].cooldown_period: longer than router.breaker.max_cooldown"
        ]


class TestBodies:
    def test_default_body_is_no_larger_than_the_memory_for_bodies(self) -> None:
        small = parse("server: {max_body_memory: 16MiB}\nmodel_list: [{id: a, model_name: a}]", {}).server
        large = parse("server: {max_body_memory: 64MiB}\nmodel_list: [{id: a, model_name: a}]", {}).server

        assert (small.max_body_bytes, large.max_body_bytes) == (16 << 20, 32 << 20)


class TestTrustedProxies:
    def test_addresses_and_networks_are_taken(self) -> None:
        text = "server: {trusted_proxies: [10.0.0.0/8, 192.0.2.1, 'fd00::/8', '::1']}\n"

        assert parse(text + ONE_MODEL, {}).server.trusted_proxies == (
            *("10.0.0.0/8", "192.0.2.1/32", "fd00::/8", "::1/128"),
        )

    @pytest.mark.parametrize("value", ["balancer", "10.0.0.1/8", "10.0.0.0/33", "''", "10", "'*'", "10.0.0.0-10.0.0.9"])
    def test_anything_else_is_refused(self, value: str) -> None:
        [problem] = problems_of(f"server: {{trusted_proxies: [{value}]}}\n{ONE_MODEL}")

        assert problem.startswith("server.trusted_proxies[0]: expected an address or a network such as 10.0.0.0/8")


class TestKeys:
    def auth_problems(self, auth: str) -> list[str]:
        return problems_of(f"auth: {auth}\n{ONE_MODEL}", {"LONG": "sk-secret"})

    def test_two_keys_with_one_name_are_refused(self) -> None:
        assert self.auth_problems("{keys: [{name: a, key: k}, {name: a, key: l}]}") == [
            "auth.keys[1].name: the same name as auth.keys[0].name"
        ]

    def test_one_key_for_two_tenants_is_refused_without_showing_it(self) -> None:
        assert self.auth_problems("{keys: [{name: a, key: sk-secret}, {name: b, key: '${LONG}'}]}") == [
            "auth.keys[1].key: the same key as auth.keys[0].key"
        ]

    def test_local_administration_is_a_choice_and_only_without_a_key(self) -> None:
        keys = "keys: [{name: a, key: k}]"

        assert parse(f"auth: {{{keys}}}\n{ONE_MODEL}", {}).auth.admin is None
        assert parse(f"auth: {{admin: local, {keys}}}\n{ONE_MODEL}", {}).auth.admin == "local"
        assert self.auth_problems(f"{{admin: yes, {keys}}}") == ["auth.admin: expected one of local"]
        assert self.auth_problems(f"{{admin: local, admin_key: adm, {keys}}}") == [
            "auth.admin: cannot be combined with an admin key: callers on this machine use the key as well"
        ]

    def test_admin_keys_have_a_name_a_key_and_a_role(self) -> None:
        text = f"auth: {{admin_keys: [{{name: prometheus, key: k, role: viewer}}]}}\n{ONE_MODEL}"
        [entry] = parse(text, {}).auth.admin_keys

        assert (entry.name, entry.key, entry.role) == ("prometheus", "k", "viewer")

    @pytest.mark.parametrize(
        ("auth", "problem"),
        [
            ("{admin_keys: [{name: a, key: k}]}", "auth.admin_keys[0].role: missing"),
            (
                "{admin_keys: [{name: a, key: k, role: root}]}",
                "auth.admin_keys[0].role: expected one of viewer, operator, admin",
            ),
            (
                "{admin_keys: [{name: a, key: k, role: viewer}, {name: a, key: l, role: admin}]}",
                "auth.admin_keys[1].name: the same name as auth.admin_keys[0].name",
            ),
            (
                "{admin_key: m, admin_keys: [{name: admin, key: k, role: viewer}]}",
                "auth.admin_keys[0].name: the same name as auth.admin_key",
            ),
            (
                "{admin_keys: [{name: a, key: k, role: viewer}], keys: [{name: a, key: k}]}",
                "auth.keys[0].key: the same key as auth.admin_keys[0].key",
            ),
            (
                "{admin_key: k, admin_keys: [{name: a, key: k, role: viewer}]}",
                "auth.admin_keys[0].key: the same key as auth.admin_key",
            ),
            (
                "{admin: local, admin_keys: [{name: a, key: k, role: viewer}]}",
                "auth.admin: cannot be combined with an admin key: callers on this machine use the key as well",
            ),
        ],
    )
    def test_ambiguous_admin_keys_are_refused(self, auth: str, problem: str) -> None:
        assert self.auth_problems(auth) == [problem]

    def test_secrets_that_sign_are_those_of_admins_and_the_signing_keys_first(self) -> None:
        roles = ", ".join(
            f"{{name: a-{role}, key: k-{role}, role: {role}}}" for role in ("viewer", "operator", "admin")
        )
        auth = f"auth: {{admin_key: k, admin_keys: [{roles}], signing_keys: [new, old]}}\n"

        assert signing_secrets(parse(auth + ONE_MODEL, {}).auth) == ["new", "old", "k", "k-admin"]
        assert signing_secrets(parse(ONE_MODEL, {}).auth) == []

    def test_signing_key_that_is_also_a_tenants_is_refused(self) -> None:
        assert self.auth_problems("{signing_keys: [k], keys: [{name: a, key: k}]}") == [
            "auth.keys[0].key: the same key as auth.signing_keys[0]"
        ]

    def test_admin_key_that_is_also_a_tenants_is_refused(self) -> None:
        assert self.auth_problems("{admin_key: k, keys: [{name: a, key: k}]}") == [
            "auth.keys[0].key: the same key as auth.admin_key"
        ]

    @pytest.mark.parametrize("key", ["sk-secret\n", "sk-secret ä", "sk secret", ""])
    def test_key_that_no_header_can_carry_is_refused_without_showing_it(self, key: str) -> None:
        text = "auth: {keys: [{name: a, key: '${KEY}'}]}\n" + ONE_MODEL

        assert problems_of(text, {"KEY": key}) == [
            "auth.keys[0].key: expected text of visible ASCII characters, not empty, without blanks"
        ]

    def test_tenant_may_be_allowed_models_and_aliases(self) -> None:
        text = "router: {aliases: {fast: m}}\nauth: {keys: [{name: a, key: k, models: [m, fast]}]}\n"

        assert parse(text + ONE_MODEL, {}).auth.keys[0].models == ("m", "fast")

    def test_tenant_that_is_allowed_an_unknown_model_is_refused(self) -> None:
        assert self.auth_problems("{keys: [{name: a, key: k, models: [m, n]}]}") == [
            "auth.keys[0].models[1]: no deployment serves the model n"
        ]


class TestExposure:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example"])
    def test_gateway_without_keys_listens_on_loopback_only(self, host: str) -> None:
        assert problems_of(f"server: {{host: '{host}'}}\n{ONE_MODEL}") == [
            "server.host: without auth.keys only a loopback address such as 127.0.0.1 is allowed"
        ]

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
    def test_every_loopback_address_is_allowed_without_keys(self, host: str) -> None:
        assert parse(f"server: {{host: '{host}'}}\n{ONE_MODEL}", {}).server.host == host

    def test_gateway_with_a_key_may_listen_anywhere(self) -> None:
        text = "server: {host: 0.0.0.0}\nauth: {keys: [{name: a, key: sk-4f9d1c7ae2b05863}]}\n"

        assert parse(text + ONE_MODEL, {}).server.host == "0.0.0.0"

    def test_rule_holds_for_a_host_that_was_replaced_after_loading(self) -> None:
        settings = parse(ONE_MODEL, {})
        server = msgspec.structs.replace(settings.server, host="0.0.0.0")

        assert [problem.path for problem in exposure_problems(settings)] == []
        assert [problem.path for problem in exposure_problems(msgspec.structs.replace(settings, server=server))] == [
            "server.host"
        ]


class TestErrors:
    def test_mistakes_of_every_kind_are_reported_at_once(self) -> None:
        text = (
            "server: {host: 0.0.0.0, port: 0, prot: 1}\n"
            "state: {url: '${REDIS}'}\n"
            "router: {score: {load: 0, latency: 0, error: 0}, score: {load: 0, latency: 0, error: 0}}\n"
            "model_list: [{id: d, model_name: m, timeout: soon}, 5, {id: d, model_name: m}]\n"
        )

        assert {problem.split(":")[0] for problem in problems_of(text)} == {
            "server.host",
            "server.port",
            "server.prot",
            "state.url",
            "router.score",
            "model_list[0].timeout",
            "model_list[1]",
            "model_list[2].id",
        }

    def test_error_reads_as_one_problem_per_line(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            parse("server: {port: 0}\n", {})

        assert str(caught.value) == (
            "server.port: expected a port from 1 to 65535\nmodel_list: at least one deployment is needed"
        )

    def test_broken_yaml_is_the_only_problem(self) -> None:
        assert len(problems_of("server: {port: [")) == 1

    @REPEATABLE
    @given(st.text(alphabet="ab:-[]{},&*!'\"#? \n0.$~", max_size=40))
    def test_no_text_fails_otherwise_than_with_a_configuration_error(self, text: str) -> None:
        with pytest.raises(ConfigurationError):
            parse(text, {})

    @REPEATABLE
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "5s", "m"]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
            max_leaves=20,
        )
    )
    def test_no_document_fails_otherwise_than_with_a_configuration_error(self, document: object) -> None:
        with pytest.raises(ConfigurationError):
            parse(msgspec.yaml.encode({"server": document, "auth": document, "model_list": document}).decode(), {})

    def test_secrets_show_neither_in_an_error_nor_in_a_repr(self) -> None:
        text = (
            "state: {url: 'redis://:hidden@h'}\n"
            "auth: {admin_key: hidden-1, keys: [{name: a, key: '${K}'}]}\n"
            "model_list: [{id: m-1, model_name: m, provider: {api_key: hidden-3}}]\n"
        )

        assert "hidden" not in repr(parse(text, {"K": "hidden-2"}))
        assert "hidden" not in str(problems_of(text + "zzz: 1", {"K": "hidden-2 4"}))


class TestLoad:
    def test_file_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "pllm.yaml"
        path.write_text(ONE_MODEL + "state: {domain: '${D}'}", encoding="utf-8")

        assert load(path, {"D": "eu"}).state.domain == "eu"

    def test_missing_file_is_a_configuration_error_with_its_path(self, tmp_path: Path) -> None:
        path = tmp_path / "none.yaml"

        with pytest.raises(ConfigurationError) as caught:
            load(path, {})

        assert str(caught.value) == f"{path}: cannot be read: No such file or directory"

    def test_file_that_is_not_text_is_a_configuration_error(self, tmp_path: Path) -> None:
        path = tmp_path / "binary.yaml"
        path.write_bytes(b"\xff\xfe\x00")

        with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
            load(path, {})


class TestRegion:
    HOME = "- {id: a, model_name: m, region: eu-west}\n  - {id: b, model_name: m, region: us}"

    def with_region(self, server: str, environment: Mapping[str, str] | None = None) -> Settings:
        return parse(f"server: {server}\nmodel_list:\n  {self.HOME}\n", environment or {})

    def test_region_of_a_replica_is_in_the_file(self) -> None:
        assert self.with_region("{region: us}", {"PLLM_REGION": "eu-west"}).server.region == "us"

    @pytest.mark.parametrize("server", ["{}", "", "{region: }"])
    def test_region_that_the_file_leaves_out_is_the_environments(self, server: str) -> None:
        assert self.with_region(server, {"PLLM_REGION": "eu-west"}).server.region == "eu-west"

    def test_file_without_a_server_section_has_the_environments_as_well(self) -> None:
        assert parse(f"model_list:\n  {self.HOME}\n", {"PLLM_REGION": "us"}).server.region == "us"

    @pytest.mark.parametrize("environment", [{}, {"PLLM_REGION": ""}])
    def test_replica_need_not_have_one(self, environment: dict[str, str]) -> None:
        assert self.with_region("{}", environment).server.region is None

    @pytest.mark.parametrize(
        ("server", "environment", "problem"),
        [
            ("{region: eu-wets}", {}, "server.region: no enabled deployment is in the region eu-wets, did you mean"),
            ("{}", {"PLLM_REGION": "moon"}, "server.region: no enabled deployment is in the region moon"),
            ("{region: ''}", {}, "server.region: expected 1 to 64 letters"),
            ("{region: [eu]}", {}, "server.region: expected 1 to 64 letters"),
        ],
    )
    def test_region_without_a_deployment_or_of_an_invalid_name_is_refused(
        self, server: str, environment: dict[str, str], problem: str
    ) -> None:
        (found,) = problems_of(f"server: {server}\nmodel_list:\n  {self.HOME}\n", environment)

        assert found.startswith(problem)

    def test_deployment_that_is_switched_off_serves_no_region(self) -> None:
        text = "server: {region: eu}\nmodel_list:\n  - {id: a, model_name: m}\n"
        text += "  - {id: b, model_name: m, region: eu, enabled: false}\n"

        assert problems_of(text) == ["server.region: no enabled deployment is in the region eu"]


@pytest.mark.parametrize("number", [f"1{'0' * 400}", "1e308"])
def test_a_duration_beyond_all_numbers_is_refused_in_words(number: str) -> None:
    assert deployment_problems(f"timeout: {number}")[0].startswith("model_list[0].timeout: expected a duration")


class TestCapacityLeases:
    def test_block_and_time_are_read(self) -> None:
        leases = with_router("{capacity_leases: {block: 20, for: 250ms}}").router.capacity_leases

        assert (leases.block, leases.for_ms) == (20, 250)

    def test_what_they_cannot_be_is_refused_with_its_path(self) -> None:
        problems = router_problems("{capacity_leases: {block: 101, for: 6s, size: 3}}")

        assert sorted(problem.split(":")[0] for problem in problems) == [
            "router.capacity_leases.block",
            "router.capacity_leases.for",
            "router.capacity_leases.size",
        ]
