"""The keys of a provider entry, and the deployments that an entry with several keys stands for."""

import re

import pytest

from gateway.configuration.settings import ConfigurationError, Settings, parse

ENTRY = "model_list: [{{id: {id}, model_name: m, rpm: 9, provider: {{{provider}}}}}]"


def parsed(provider: str, entry_id: str = "gpt", environment: dict[str, str] | None = None) -> Settings:
    return parse(ENTRY.format(id=entry_id, provider=provider), environment or {})


def ids(*keys: str, entry_id: str = "gpt") -> list[str]:
    return [entry.id for entry in parsed(f"api_keys: [{', '.join(keys)}]", entry_id).model_list]


def problems(provider: str, entry_id: str = "gpt") -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        parsed(provider, entry_id)
    return [str(problem) for problem in refused.value.problems]


def test_each_key_is_a_deployment_with_the_limits_of_its_entry() -> None:
    settings = parsed("api_keys: [key-one, key-two]")

    assert [str(entry.provider.api_key) for entry in settings.model_list] == ["key-one", "key-two"]
    assert {(entry.model_name, entry.rpm, entry.provider.api_keys) for entry in settings.model_list} == {("m", 9, ())}
    assert all(re.fullmatch(r"gpt:key-[0-9a-f]{8}", entry.id) for entry in settings.model_list)


def test_ids_follow_their_keys_and_show_nothing_of_them() -> None:
    one, two, three = ids("key-one", "key-two", "key-three")

    assert ids("key-three", "key-one") == [three, one]
    assert not any(part in one + two + three for part in ("one", "two", "three"))
    assert ids("key-one", entry_id="other")[0].removeprefix("other") != one.removeprefix("gpt")


def test_one_key_in_a_list_has_the_same_id_as_among_others() -> None:
    assert ids("key-one") == [ids("key-two", "key-one")[1]]


def test_empty_list_is_an_entry_without_keys() -> None:
    assert [entry.id for entry in parsed("api_keys: []").model_list] == ["gpt"]


@pytest.mark.parametrize(
    ("provider", "problem"),
    [
        (
            "api_keys: [a, b, a]",
            "model_list[0].provider.api_keys[2]: the same key as model_list[0].provider.api_keys[0]",
        ),
        ('api_keys: [a, ""]', "model_list[0].provider.api_keys[1]: expected text of visible ASCII characters"),
        ('api_keys: [a, "b c"]', "model_list[0].provider.api_keys[1]: expected text of visible ASCII characters"),
        ("api_keys: a", "model_list[0].provider.api_keys: expected a list"),
        ("api_key: a, api_keys: [b]", "model_list[0].provider.api_keys: cannot be combined with api_key"),
        ("api_key: a, api_key_file: /k", "model_list[0].provider.api_key_file: cannot be combined with api_key"),
        (
            "api_key_file: /k, api_key_command: [c]",
            "model_list[0].provider.api_key_command: cannot be combined with api_key_file",
        ),
        ("api_key_command: a b", "model_list[0].provider.api_key_command: expected a list"),
        ('api_key_command: [""]', "model_list[0].provider.api_key_command[0]: expected text that is not empty"),
    ],
)
def test_wrong_keys_are_refused_with_their_path(provider: str, problem: str) -> None:
    assert [each[: len(problem)] for each in problems(provider)] == [problem]


def test_id_needs_room_for_the_hash() -> None:
    assert len(ids("a", entry_id="x" * 51)[0]) == 64
    assert problems("api_keys: [a]", "x" * 52) == [
        "model_list[0].id: longer than 51 characters, and api_keys lengthen it"
    ]


def test_keys_count_as_candidates() -> None:
    keys = ", ".join(f"key-{number}" for number in range(17))

    assert problems(f"api_keys: [{keys}]") == ["model_list: 17 candidates for the model m, at most 16 are allowed"]


def test_id_that_a_key_has_already_is_refused() -> None:
    taken = ids("key-one")[0]
    text = (
        f"model_list: [{{id: '{taken}', model_name: m}}, {{id: gpt, model_name: m, provider: {{api_keys: [key-one]}}}}]"
    )

    with pytest.raises(ConfigurationError, match=r"model_list\[1\]\.id: the same id as model_list\[0\]\.id"):
        parse(text, {})


@pytest.mark.parametrize("source", ["api_keys: [own]", "api_key_file: /k", "api_key_command: [c]"])
def test_key_of_the_environment_is_not_used_next_to_another_source(source: str) -> None:
    environment = {"OPENAI_API_KEY": "of-the-environment"}

    assert str(parsed("", environment=environment).model_list[0].provider.api_key) == "of-the-environment"
    assert str(parsed(source, environment=environment).model_list[0].provider.api_key) in ("", "own")
