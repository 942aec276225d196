from collections.abc import Mapping

import pytest

from gateway.configuration.settings import ConfigurationError, Settings, parse


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


class TestModels:
    @pytest.mark.parametrize("text", ["", "model_list: []", "model_list:"])
    def test_configuration_without_a_deployment_is_refused(self, text: str) -> None:
        assert problems_of(text) == ["model_list: at least one deployment is needed"]

    def test_two_deployments_with_one_id_are_refused(self) -> None:
        text = "model_list: [{id: d, model_name: m}, {id: e, model_name: m}, {id: d, model_name: n}]"

        assert problems_of(text) == ["model_list[2].id: the same id as model_list[0].id"]

    def test_model_without_an_enabled_deployment_is_refused(self) -> None:
        text = (
            "model_list: [{id: a, model_name: m, enabled: false}, {id: b, model_name: n},"
            " {id: c, model_name: m, enabled: false}]"
        )

        assert problems_of(text) == ["model_list: the model m has no enabled deployment"]

    def test_one_enabled_deployment_of_a_model_is_enough(self) -> None:
        text = "model_list: [{id: a, model_name: m, enabled: false}, {id: b, model_name: m}]"

        assert [entry.enabled for entry in parse(text, {}).model_list] == [False, True]

    def test_more_deployments_than_a_heartbeat_can_read_are_refused(self) -> None:
        entries = [f"- {{id: d{number}, model_name: m{number}}}\n" for number in range(301)]
        most = parse("model_list:\n" + "".join(entries[:300]), {})

        assert len(most.model_list) == 300
        assert problems_of("model_list:\n" + "".join(entries)) == [
            "model_list: 301 enabled deployments, at most 300 are allowed in a domain"
        ]

    def test_more_deployments_of_a_model_than_candidates_are_refused(self) -> None:
        assert router_problems("{}", "m " * 17) == ["model_list: 17 candidates for the model m, at most 16 are allowed"]


class TestChains:
    @pytest.mark.parametrize(
        ("fallbacks", "problem"),
        [
            ("{z: [m]}", "z: no deployment serves the model z"),
            ("{m: [gpt4]}", "m[0]: no deployment serves the model gpt4, did you mean gpt-4?"),
            ("{m: [m]}", "m[0]: the chain loops: it leads from m to itself"),
            ("{m: [gpt-4, m]}", "m[1]: the chain loops: it leads from m to itself"),
            ("{m: [gpt-4, n, gpt-4]}", "m[2]: the chain loops: gpt-4 is in it already"),
            ("{m: [x]}", "m[0]: x is an alias, expected a model"),
            ("{x: [m]}", "x: x is an alias, expected a model"),
        ],
    )
    def test_chain_that_loops_or_leads_nowhere_is_refused(self, fallbacks: str, problem: str) -> None:
        router = f"{{aliases: {{x: n}}, fallbacks: {fallbacks}}}"

        assert router_problems(router, "m n gpt-4") == [f"router.fallbacks.{problem}"]

    def test_two_models_may_fall_back_to_each_other(self) -> None:
        router = with_router("{fallbacks: {m: [n], n: [m]}}", "m n").router

        assert router.fallbacks == {"m": ("n",), "n": ("m",)}

    def test_chain_of_more_than_sixteen_candidates_is_refused(self) -> None:
        assert router_problems("{fallbacks: {m: [n]}}", "m " * 10 + "n " * 7) == [
            "router.fallbacks.m: 17 candidates, at most 16 are allowed"
        ]

    def test_chain_of_sixteen_candidates_is_allowed(self) -> None:
        assert with_router("{fallbacks: {m: [n]}}", "m " * 10 + "n " * 6).router.fallbacks == {"m": ("n",)}

    def test_disabled_deployments_are_no_candidates(self) -> None:
        off = "\n".join(f"  - {{id: off-{n}, model_name: m, enabled: false}}" for n in range(20))

        assert len(parse(f"model_list:\n  - {{id: m-1, model_name: m}}\n{off}", {}).model_list) == 21


class TestAliases:
    def test_alias_of_a_model_is_kept(self) -> None:
        assert with_router("{aliases: {fast: m}}").router.aliases == {"fast": "m"}

    @pytest.mark.parametrize(
        ("aliases", "problem"),
        [
            ("{m: n}", "m: the alias hides the model of the same name"),
            ("{fast: z}", "fast: no deployment serves the model z"),
            ("{fast: quick, quick: m}", "fast: quick is an alias, expected a model"),
        ],
    )
    def test_alias_that_hides_a_model_or_points_nowhere_is_refused(self, aliases: str, problem: str) -> None:
        assert router_problems(f"{{aliases: {aliases}}}", "m n") == [f"router.aliases.{problem}"]


class TestAddresses:
    @pytest.mark.parametrize(
        ("base_url", "endpoint", "right"),
        [
            ("https://api.openai.com/v1/chat/completions", "/chat/completions", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/chat/completions/", "/chat/completions", "https://api.openai.com/v1"),
            ("http://127.0.0.1:8000/v1/completions", "/completions", "http://127.0.0.1:8000/v1"),
            ("http://vllm/v1/embeddings", "/embeddings", "http://vllm/v1"),
            ("https://api.openai.com/v1/Responses", "/responses", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/models", "/models", "https://api.openai.com/v1"),
        ],
    )
    def test_address_that_ends_in_an_endpoint_is_refused_and_the_right_one_named(
        self, base_url: str, endpoint: str, right: str
    ) -> None:
        (problem,) = problems_of(f"model_list: [{{id: d, model_name: m, provider: {{base_url: '{base_url}'}}}}]")

        assert problem == (
            f"model_list[0].provider.base_url: ends in the endpoint {endpoint}, which is appended for each call;"
            f" write {right}"
        )

    @pytest.mark.parametrize(
        ("type_", "base_url", "right"),
        [
            ("anthropic", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1"),
            ("anthropic", "https://api.anthropic.com/v1/messages/count_tokens", "https://api.anthropic.com/v1"),
            ("azure", "https://r.openai.azure.com/openai/deployments/g/chat/completions", "https://r.openai.azure.com"),
            ("azure", "https://r.openai.azure.com/openai/v1/responses", "https://r.openai.azure.com"),
        ],
    )
    def test_right_address_is_that_of_the_type(self, type_: str, base_url: str, right: str) -> None:
        provider = f"{{type: {type_}, base_url: '{base_url}'}}"
        (problem,) = problems_of(f"model_list: [{{id: d, model_name: m, provider: {provider}}}]")

        assert problem.endswith(f"; write {right}")

    @pytest.mark.parametrize(
        "base_url", ["https://host/v1", "https://messages/v1", "https://host/my-completions", "https://host/models/v1"]
    )
    def test_address_that_is_only_similar_is_accepted(self, base_url: str) -> None:
        text = f"model_list: [{{id: d, model_name: m, provider: {{base_url: '{base_url}'}}}}]"

        assert parse(text, {}).model_list[0].provider.base_url == base_url
