from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.configuration.yaml_source import Problem, read, text_of

# A loaded machine must neither fail an example for being late nor try others than the last run did.
REPEATABLE = hypothesis_settings(deadline=None, derandomize=True)


def document_of(text: str, environment: dict[str, str] | None = None) -> Any:
    source = read(text, environment or {})
    assert source.problems == ()
    return source.document


def problems_of(text: str, environment: dict[str, str] | None = None) -> list[str]:
    return [str(problem) for problem in read(text, environment or {}).problems]


def test_variable_is_replaced_by_its_value() -> None:
    assert document_of("a: x${V}y", {"V": "1"}) == {"a": "x1y"}


def test_several_variables_in_one_text_are_all_replaced() -> None:
    assert document_of("a: ${U}${V}", {"U": "1", "V": "2"}) == {"a": "12"}


def test_variables_are_replaced_inside_lists_and_mappings() -> None:
    assert document_of("a: [{b: '${V}'}]", {"V": "1"}) == {"a": [{"b": "1"}]}


def test_set_variable_wins_over_its_default() -> None:
    assert document_of("a: ${V:-other}", {"V": "1"}) == {"a": "1"}


@pytest.mark.parametrize("environment", [{}, {"V": ""}])
def test_default_replaces_an_unset_or_empty_variable(environment: dict[str, str]) -> None:
    assert document_of("a: ${V:-redis://host:6379/0}", environment) == {"a": "redis://host:6379/0"}


def test_default_may_be_empty() -> None:
    assert document_of("a: ${V:-}") == {"a": ""}


def test_unset_variable_is_named_with_its_path() -> None:
    assert problems_of("a: [x, {b: '${V}'}]") == ["a[1].b: the environment variable V is not set"]


@pytest.mark.parametrize("text", ["${", "${}", "${1V}", "${V", "${V:default}", "${V-default}"])
def test_malformed_variable_is_refused_without_showing_it(text: str) -> None:
    assert problems_of(f"a: '{text}'") == ["a: ${ must be part of ${VAR} or ${VAR:-default}"]


def test_dollar_without_brace_is_plain_text() -> None:
    assert document_of("a: $V costs 5$", {"V": "1"}) == {"a": "$V costs 5$"}


@REPEATABLE
@given(st.text())
def test_value_of_a_variable_never_becomes_yaml(value: str) -> None:
    assert document_of("a: ${V}\nb: [x, '${V}']\nc: y", {"V": value}) == {"a": value, "b": ["x", value], "c": "y"}


@REPEATABLE
@given(st.text())
def test_value_of_a_variable_is_not_replaced_again(value: str) -> None:
    assert document_of("a: ${V}", {"V": "${W}" + value, "W": "secret"}) == {"a": "${W}" + value}


def test_key_given_twice_is_refused_with_its_path_and_lines() -> None:
    text = "router:\n  fallbacks:\n    a: [b]\n    a: [c]\n"

    assert problems_of(text) == ["router.fallbacks.a: given twice, on line 3 and on line 4"]


def test_key_given_twice_on_one_line_is_refused() -> None:
    assert problems_of("a: [{b: 1, b: 1}]") == ["a[0].b: given twice, on line 1 and on line 1"]


def test_same_key_in_two_mappings_is_allowed() -> None:
    assert document_of("a: {x: 1}\nb: {x: 2}") == {"a": {"x": 1}, "b": {"x": 2}}


def test_merged_mapping_may_be_overridden() -> None:
    text = "a: {deep: &base {x: 1, y: 1}}\nb: {<<: *base, x: 2}\nc: {<<: [*base, {z: 3}], y: 4}"

    assert document_of(text) == {
        "a": {"deep": {"x": 1, "y": 1}},
        "b": {"x": 2, "y": 1},
        "c": {"x": 1, "y": 4, "z": 3},
    }


def test_empty_text_is_an_empty_document_without_a_problem() -> None:
    assert document_of("# nothing\n") is None


def test_broken_yaml_is_reported_with_line_and_column() -> None:
    assert problems_of("a: 1\nb: [1, 2\nc: 3") == ["line 3, column 2: not valid YAML: expected ',' or ']', but got ':'"]


@pytest.mark.parametrize(
    "text",
    [
        "a: [sk-secret",
        "a: *sk-secret",
        "a: !sk-secret x",
        "a: !sk-secret!x y",
        'a: "sk-secret',
        "a: b: sk-secret",
        "{[sk-secret]: 1}",
        "a: !!int sk-secret",
        "a: sk-secret\x00",
        "a: 1\n---\nb: sk-secret",
    ],
)
def test_broken_yaml_is_reported_without_its_text(text: str) -> None:
    problems = read(text, {}).problems

    assert problems
    assert "secret" not in str(problems)


@pytest.mark.parametrize("text", ["&a [*a]", "a: &b {c: *b}"])
def test_anchor_that_contains_itself_is_refused(text: str) -> None:
    assert "an anchor that contains itself" in str(problems_of(text))


@pytest.mark.parametrize("depth", [40, 600])
def test_absurd_nesting_is_refused(depth: int) -> None:
    assert "nested too deeply" in str(problems_of("[" * depth + "]" * depth))


@pytest.mark.parametrize("text", ["a: !!int x", "a: !!bool x", "a: !!timestamp x", "a: 2021-13-45", "a: !!int ''"])
def test_value_that_its_tag_does_not_allow_is_a_problem(text: str) -> None:
    assert "not valid YAML" in str(problems_of(text))


@REPEATABLE
@given(st.text(alphabet="ab:-[]{}&*!<>|'\"#%@,?~ \n\t0.$"))
def test_no_text_raises_and_every_text_that_fails_has_a_reason(text: str) -> None:
    source = read(text, {})

    assert source.problems or source.document == yaml.safe_load(text)


def test_problem_of_the_whole_text_shows_no_path() -> None:
    assert str(Problem("", "message")) == "message"


def test_anchors_that_multiply_are_refused_without_being_written_out() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]

    source = read("\n".join(lines), {})

    assert source.document is None
    assert "values once its anchors are written out" in str(source.problems[0])


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 200_000 + "x", "{a: " * 200_000], ids=["flow", "block", "map"])
def test_nesting_that_would_exhaust_the_stack_is_refused(text: str) -> None:
    assert "nested too deeply" in str(problems_of(text))


@REPEATABLE
@given(st.text(alphabet="ab:-[]{}&*|>'\"#, \n0."))
def test_both_parsers_read_the_same(text: str) -> None:
    assert read(text, {}).document == read(f"{text}\n# ?", {}).document


@pytest.mark.parametrize("endless", ["/dev/zero", ""])
def test_endless_file_is_refused_without_being_read(endless: str, tmp_path: Path) -> None:
    path = Path(endless or tmp_path / "long.yaml")
    if not endless:
        path.write_bytes(b"#" * (5 << 20))

    assert text_of(path) == Problem(str(path), "is longer than 4 MiB")
