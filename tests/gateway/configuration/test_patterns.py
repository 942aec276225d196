"""Patterns of model names: what they match, and what may refer to them."""

import pytest

from gateway.configuration.patterns import SLOTS, by_length, pattern_of, slot_of, upstream_model
from gateway.configuration.settings import ConfigurationError, parse

PATTERNS = by_length(["*", "openai/*", "gpt-4", "openai/ft:*"])
ENTRY = "model_list: [{id: o, model_name: 'openai/*', %s}]\nrouter: {%s}\nauth: {keys: [{name: t, key: k%s}]}"


def problems(entry: str = "", router: str = "", key: str = "") -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        parse(ENTRY % (entry, router, key), {})
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("openai/gpt-4o", "openai/*"),
        ("openai/ft:mine", "openai/ft:*"),  # the longest
        ("openai/ft:", "openai/*"),  # a pattern stands for something
        ("openai/", "*"),
        ("anything", "*"),
        ("", None),
        ("*", None),
        ("openai/*", None),
        ("openai/with blank", None),
        ("openai/line\n", None),
        ("openai/\xe9", None),
        ("openai/" + "x" * 250, None),
        ("openai/" + "x" * 1_000_000, None),
    ],
)
def test_longest_pattern_counts(name: str, pattern: str | None) -> None:
    assert pattern_of(name, PATTERNS) == pattern


def test_models_spread_over_all_slots() -> None:
    assert {slot_of(f"openai/model-{number}") for number in range(200)} == set(range(SLOTS))


@pytest.mark.parametrize(
    ("template", "model"), [("*", "o3"), ("openai/*", "openai/o3"), ("eu.*", "eu.o3"), ("fixed", "fixed")]
)
def test_name_at_the_provider_follows_its_template(template: str, model: str) -> None:
    assert upstream_model(template, "openai/*", "openai/o3") == model


def test_entry_stands_for_sixteen_deployments() -> None:
    settings = parse(ENTRY % ("rpm: 5", "", ""), {})

    assert [entry.id for entry in settings.model_list] == [f"o:slot-{number:x}" for number in range(16)]
    assert {(entry.model_name, entry.rpm, entry.provider.model) for entry in settings.model_list} == {
        ("openai/*", 5, "openai/*")
    }


def test_settings_may_name_the_pattern_and_models_that_match_it() -> None:
    router = (
        "fallbacks: {'openai/*': [openai/o3]}, aliases: {best: openai/o3}, "
        "model_queues: {'openai/*': {max_waiting: 0}}, model_strategies: {'openai/*': random}"
    )

    assert parse(ENTRY % ("", router, ", models: ['openai/*', openai/o3, best]"), {}).router.aliases == {
        "best": "openai/o3"
    }


@pytest.mark.parametrize("name", ["'*/gpt'", "'a**'", "'a*b'", "''"])
def test_wrong_pattern_is_refused_with_its_path(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"model_list\[0\]\.model_name: expected|model_name: missing"):
        parse(f"model_list: [{{id: a, model_name: {name}}}]", {})


@pytest.mark.parametrize(
    ("entry", "router", "key", "problem"),
    [
        ("", "fallbacks: {'azure/*': [openai/o3]}", "", "router.fallbacks.azure/*: no deployment serves the model"),
        ("", "model_strategies: {'a*': random}", "", "router.model_strategies.a*: no deployment serves the model a*"),
        ("", "", ", models: ['openai/g*']", "auth.keys[0].models[0]: no deployment serves the model openai/g*"),
        (
            "provider: {type: azure, base_url: 'https://r', api_version: '2024-10-21'}",
            "",
            "",
            "model_list[0].provider.api_version: cannot be combined with a pattern",
        ),
    ],
)
def test_what_a_pattern_does_not_cover_is_refused_with_its_path(
    entry: str, router: str, key: str, problem: str
) -> None:
    assert [
        each.replace('"', "").replace("['", ".").replace("']", "")[: len(problem)]
        for each in problems(entry, router, key)
    ] == [problem]


def test_star_without_a_pattern_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"model_list\[0\]\.provider\.model: only a pattern"):
        parse("model_list: [{id: a, model_name: a, provider: {model: '*'}}]", {})


def test_slots_count_as_deployments_of_their_domain_and_once_as_candidates() -> None:
    entries = ", ".join(f"{{id: o{number}, model_name: 'openai/*'}}" for number in range(16))
    many = ", ".join(f"{{id: o{number}, model_name: 'm{number}/*'}}" for number in range(19))

    assert len(parse(f"model_list: [{entries}]", {}).model_list) == 256
    with pytest.raises(ConfigurationError, match="304 enabled deployments, at most 300"):
        parse(f"model_list: [{many}]", {})
    with pytest.raises(ConfigurationError, match=r"model_list\[0\]\.id: longer than 57 characters"):
        parse(f"model_list: [{{id: {'x' * 58}, model_name: 'a/*'}}]", {})
