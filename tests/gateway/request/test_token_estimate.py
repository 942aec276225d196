"""The rule of docs/coding-clients.md by which tokens are estimated."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.calls import Kind
from gateway.request.token_estimate import ATTACHMENT_TOKENS, estimate

KINDS = {Kind.MESSAGE: "messages", Kind.RESPONSE: "input"}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def tokens(kind: Kind, **fields: Any) -> int:
    return estimate(kind, json.dumps(fields).encode())


@pytest.mark.parametrize("kind", KINDS)
@given(value=JSON, other=JSON)
def test_prompt_that_grows_is_never_estimated_smaller(kind: Kind, value: Any, other: Any) -> None:
    smaller, larger = tokens(kind, **{KINDS[kind]: [value]}), tokens(kind, **{KINDS[kind]: [value, other]})

    assert 1 <= smaller <= larger


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 1), ("a", 1), ("four", 1), ("fives", 2), ("x" * 4_000, 1_000), ("漢字" * 400, 600), ("\n" * 40, 10)],
)
def test_four_bytes_of_text_are_one_token(text: str, count: int) -> None:
    assert tokens(Kind.RESPONSE, input=text) == count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("type_", ["image", "document", "input_image", "input_file"])
def test_size_of_an_attachment_does_not_matter(kind: Kind, type_: str) -> None:
    found = [tokens(kind, **{KINDS[kind]: [{"type": type_, "data": "A" * size}]}) for size in (1, 100_000)]

    assert found == [ATTACHMENT_TOKENS, ATTACHMENT_TOKENS]


@pytest.mark.parametrize("field", ["system", "tools", "messages"])
def test_each_part_of_a_prompt_counts(field: str) -> None:
    assert tokens(Kind.MESSAGE, **{field: [{"text": "x" * 396}]}) == 100


@pytest.mark.parametrize("field", ["model", "metadata", "max_tokens", "stream"])
def test_fields_outside_of_the_prompt_do_not_count(field: str) -> None:
    assert tokens(Kind.MESSAGE, messages="x" * 400, **{field: "y" * 400}) == 100


def test_body_that_is_nested_too_deeply_to_read_is_estimated_by_its_size() -> None:
    body = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    assert estimate(Kind.MESSAGE, body) == len(body) // 4
