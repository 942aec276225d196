"""Compared with jiter, with which the official clients read the pieces of a streamed input."""

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jiter import from_json

from gateway.upstream.dialects.tool_input import INVALID_JSON, is_object, is_whole, tool_input

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=3)
HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
BROKEN = ['{"a": tx', '{"a": 1.x', '{"a" 1', '{"a":1,}', '{"a":[1,]', "{,", "{]", '{"a":[}', "{1", "{'a", '{"a": "\\x']


def read(arguments: str, *, is_cut: bool = False) -> Any:
    return {name: json.loads(bytes(value)) for name, value in tool_input(arguments, is_cut=is_cut).items()}


@st.composite
def written(draw: st.DrawFn) -> str:
    return json.dumps(draw(OBJECTS), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))


@given(written())
def test_every_beginning_of_an_object_reads_as_the_official_client_reads_it(arguments: str) -> None:
    for end in range(len(arguments) + 1):
        part = arguments[:end]

        assert read(part, is_cut=True) == (from_json(part.encode(), partial_mode=True) if part else {})


@given(written(), st.data())
def test_nothing_is_read_that_the_official_client_does_not_read(arguments: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(arguments)))
    odd = arguments[:place] + data.draw(st.sampled_from(list('{}[],:"\\x1-.e \n'))) + arguments[place:]
    broken = odd[: data.draw(st.integers(place, len(odd)))]
    assume(not HALF_A_PAIR.search(broken))  # jiter refuses what other clients read
    as_text = {INVALID_JSON: broken}
    try:
        expected = from_json(broken.encode(), partial_mode=True)
    except ValueError:
        expected = as_text

    assert read(broken, is_cut=True) in (expected, as_text)


@pytest.mark.parametrize("arguments", BROKEN)
def test_broken_json_is_kept_as_text_where_the_answer_was_cut(arguments: str) -> None:
    assert read(arguments, is_cut=True) == {INVALID_JSON: arguments}


@given(written(), st.data())
def test_a_part_is_not_taken_for_the_whole_where_the_answer_was_not_cut(arguments: str, data: st.DataObject) -> None:
    part = arguments[: data.draw(st.integers(1, len(arguments) - 1))]

    assert read(part) == {INVALID_JSON: part}


@pytest.mark.parametrize("arguments", [None, "", " \n", "null", " null\n"])
@pytest.mark.parametrize("is_cut", [True, False])
def test_no_arguments_are_an_empty_object(arguments: str | None, is_cut: bool) -> None:
    assert tool_input(arguments, is_cut=is_cut) == {}


@pytest.mark.parametrize("arguments", ["[1]", '"a"', "7", "true", "city: Paris", "nul", "\ufeff{}"])
@pytest.mark.parametrize("is_cut", [True, False])
def test_arguments_that_are_no_object_are_kept_as_text(arguments: str, is_cut: bool) -> None:
    assert read(arguments, is_cut=is_cut) == {INVALID_JSON: arguments}
    assert (is_object(arguments), is_whole(arguments)) == (False, False)


@pytest.mark.parametrize("behind", ["}", "]", ' {"b": 2}', "</tool_call>", "x"])
@pytest.mark.parametrize("is_cut", [True, False])
def test_text_behind_a_complete_object_is_left_out(behind: str, is_cut: bool) -> None:
    assert read('{"a": 1}' + behind, is_cut=is_cut) == {"a": 1}


def test_values_keep_their_bytes() -> None:
    assert bytes(tool_input('{"a": 1.10, "b": [1e2,')["INVALID_JSON"]) == b'"{\\"a\\": 1.10, \\"b\\": [1e2,"'
    assert bytes(tool_input('{"a": 1.10, "b": [1e2,', is_cut=True)["a"]) == b"1.10"
    assert bytes(tool_input('{"a": 1.10, "b": [1e2,', is_cut=True)["b"]) == b"[1e2]"


@pytest.mark.parametrize("arguments", ['{"a":' * 100_000, '{"a": ' + "[" * 100_000])
def test_too_many_levels_are_kept_as_text(arguments: str) -> None:
    assert read(arguments, is_cut=True) == {INVALID_JSON: arguments}


@pytest.mark.parametrize(
    ("arguments", "value"), [('{"a": "x\\ud83d"}', "x\ufffd"), ('{"a": NaN}', None), ('{"a": -Infinity}', None)]
)
def test_json_that_only_lenient_readers_accept_is_read(arguments: str, value: object) -> None:
    assert read(arguments) == {"a": value}
