"""Names of tools that both dialects accept stay; others are shortened, always in the same way, and restored."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.dialects import tool_names
from gateway.upstream.dialects.origin import Origin

NAMES = st.text(st.sampled_from("abcXYZ019_-.:/ é"), min_size=1, max_size=150)


@pytest.mark.parametrize("name", ["get_weather", "a-b", "x" * 64, "_", ""])
def test_name_that_both_accept_stays(name: str) -> None:
    assert (tool_names.for_chat(name), tool_names.for_messages(name)) == (name, name)


def test_name_that_only_messages_accept_is_shortened_for_chat() -> None:
    name = "mcp__a_server__" + "x" * 60

    assert tool_names.for_messages(name) == name
    assert re.fullmatch(r"mcp__a_server__x+_[0-9a-f]{10}", tool_names.for_chat(name))


@given(NAMES, NAMES)
def test_translated_names_are_accepted_and_distinct(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool_names.for_chat(one))
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool_names.for_messages(one))
    assert (tool_names.for_chat(one) == tool_names.for_chat(other)) == (one == other)


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_every_name_is_found_again_among_the_clients(names: list[str]) -> None:
    for name in names:
        for translate in (tool_names.for_chat, tool_names.for_messages):
            short = translate(name)

            assert tool_names.originals(names)[short] == name
            assert short == name or tool_names.may_be_shortened(short)


def test_tools_that_cannot_be_read_leave_the_name_alone() -> None:
    body = b'{"tools": [{"name": "a", "function": "of no meaning here"}]}'

    assert Origin(body=body).tool_name("made_up_0123456789") == "made_up_0123456789"
