"""Ids that both sides accept are kept; others are replaced, always by the same id."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.dialects import call_ids


@pytest.mark.parametrize("call_id", ["call_abc", "toolu_01A09q90qw90lq917835lq9", "a-b", "x" * 40])
def test_id_that_is_fine_stays(call_id: str) -> None:
    assert (call_ids.for_messages(call_id), call_ids.for_chat(call_id)) == (call_id, call_id)


@given(st.text(), st.text())
def test_translated_ids_are_valid_and_distinct(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call_ids.for_messages(one))
    assert len(call_ids.for_chat(one)) <= 40
    assert (call_ids.for_messages(one) == call_ids.for_messages(other)) == (one == other)
    assert (call_ids.for_chat(one) == call_ids.for_chat(other)) == (one == other)
