"""Parts of JSON are counted from its bytes, and exactly where they are many."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.json.bounds import (
    TRANSLATED_ITEMS_MOST,
    TRANSLATED_MEMBERS_MOST,
    check_translatable,
    has_too_many_parts,
)


@pytest.mark.parametrize(
    ("text", "has_too_many"),
    [
        ([{}] * 10, False),
        ([{}] * 11, True),
        ({str(number): 1 for number in range(9)}, False),
        ({str(number): 1 for number in range(10)}, True),
        ([1] * 20, False),
        ([1] * 21, True),
        ([[]] * 20, True),
        ("{}" * 50, False),
        ('{"a":1},' * 50, False),
        ('\\"{:[,' * 50, False),
        (["\\", *[{}] * 11], True),
        (['\\"', *[{}] * 10], False),
    ],
)
def test_parts_outside_of_strings_are_counted(text: Any, has_too_many: bool) -> None:
    assert has_too_many_parts(json.dumps(text).encode(), 10, 20) is has_too_many


def test_slices_cut_no_escape_in_two() -> None:
    many = json.dumps([{}] * 11)
    for length in range(262_130, 262_150):
        text = f'["{"x" * (length - 20)}{chr(92) * 20}", {many}, "{{{{"]'.encode()

        assert has_too_many_parts(text, 11, 100) is False
        assert has_too_many_parts(text, 10, 100) is True


_JSON = st.recursive(
    st.text(st.sampled_from('{}[]:,"\\ax'), max_size=8) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('{:"\\,', max_size=3), inner, max_size=4),
    max_leaves=12,
)


def _parts(value: Any) -> tuple[int, int]:
    """Members and items, counted in the value itself."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    counts = [_parts(each) for each in inner]
    members, items = sum(count[0] for count in counts), sum(count[1] for count in counts)
    if isinstance(value, dict):
        members += 1 + len(value)
    if isinstance(value, dict | list):
        items += max(0, len(value) - 1) + isinstance(value, list)
    return members, items


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(_JSON)
def test_count_is_exact(value: Any) -> None:
    text, (members, items) = json.dumps(value).encode(), _parts(value)

    assert not has_too_many_parts(text, members, items)
    assert members == 0 or has_too_many_parts(text, members - 1, items)
    assert items == 0 or has_too_many_parts(text, members, items - 1)


@pytest.mark.parametrize("text", [b"{}," * TRANSLATED_MEMBERS_MOST + b"{}", b"1," * TRANSLATED_ITEMS_MOST + b"[1"])
def test_translation_has_bounds_of_its_own(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        check_translatable(text)
