"""The ids that a request names: in each documented place, bounded, and never a reason to fail."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.request.calls import Kind, parse
from gateway.request.named_state import ID_MOST, NAMES_MOST, as_encrypted, files_of_messages


def named(**fields: Any) -> tuple[str, ...]:
    return parse(Kind.RESPONSE, json.dumps({"model": "m", **fields}).encode()).names


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"previous_response_id": "resp_1"}, ("resp_1",)),
        ({"conversation": "conv_1"}, ("conv_1",)),
        ({"conversation": {"id": "conv_1"}}, ("conv_1",)),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("msg_1",)),
        ({"input": [{"id": "msg_1"}]}, ("msg_1",)),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, ("rs_1",)),
        ({"input": [{"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}]}, ("cntr_1",)),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}, ("file-1",)),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, ("cntr_1",)),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]}, ("file-1",)),
        ({"tools": [{"type": "shell", "environment": {"container_id": "cntr_1"}}]}, ("cntr_1",)),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]}, ("vs_1", "vs_2")),
        ({"input": "hello"}, ()),
        ({"input": [{"role": "user", "content": "hello"}]}, ()),
        ({"input": [{"type": "message", "id": "msg_1", "role": "assistant", "content": []}]}, ()),
        ({"previous_response_id": None, "conversation": None, "tools": None, "input": None}, ()),
    ],
)
def test_id_is_read_where_it_is_documented(fields: Any, names: tuple[str, ...]) -> None:
    assert named(**fields) == names


def test_strongest_names_come_first_and_the_newest_reasoning_before_older_one() -> None:
    items = [{"type": "reasoning", "encrypted_content": text} for text in ("old", "new")]
    found = named(
        input=[*items, {"type": "item_reference", "id": "msg_1"}],
        tools=[{"type": "code_interpreter", "container": "cntr_1"}],
        conversation="conv_1",
        previous_response_id="resp_1",
    )

    assert found == ("resp_1", "conv_1", "cntr_1", "msg_1", as_encrypted("new"), as_encrypted("old"))


def test_names_are_bounded_in_number_and_length() -> None:
    references = [{"type": "item_reference", "id": f"msg_{number}"} for number in range(1000)]

    assert len(named(input=references)) == NAMES_MOST
    assert named(previous_response_id="r" * ID_MOST) == ("r" * ID_MOST,)
    assert named(previous_response_id="r" * (ID_MOST + 1)) == ()


def test_encrypted_content_of_a_megabyte_becomes_a_short_name() -> None:
    (name,) = named(input=[{"type": "reasoning", "encrypted_content": "e" * 900_000}])

    assert len(name) < 50


@pytest.mark.parametrize("value", [7, [], {}, True, "", 1.5, {"id": {}}, [["x"]]])
def test_value_that_is_no_id_names_nothing(value: Any) -> None:
    fields = {"previous_response_id": value, "conversation": value, "tools": value}

    assert named(**fields, input=[{"type": "item_reference", "id": value}]) == ()


def test_name_that_is_given_twice_is_refused() -> None:
    body = b'{"model":"m","previous_response_id":"a","previous_response_id":"b"}'

    with pytest.raises(InvalidRequest, match="previous_response_id"):
        parse(Kind.RESPONSE, body)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "content"]), inner),
    max_leaves=8,
)


@given(_json, _json, st.lists(st.dictionaries(st.text(max_size=3), _json, max_size=3), max_size=4))
def test_odd_json_never_fails_the_search(value: Any, tools: Any, items: list[Any]) -> None:
    names = named(previous_response_id=value, conversation=value, tools=tools, input=items)

    assert all(isinstance(name, str) and name for name in names)


def test_container_of_a_message_is_named() -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "a"}]}

    assert parse(Kind.MESSAGE, json.dumps({**body, "container": "container_1"}).encode()).names == ("container_1",)
    assert parse(Kind.MESSAGE, json.dumps({**body, "container": {"id": "c", "skills": []}}).encode()).names == ("c",)
    assert parse(Kind.MESSAGE, json.dumps(body).encode()).names == ()


def test_files_of_messages_are_named() -> None:
    blocks = [
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "container_upload", "file_id": "file_2"},
        {"type": "text", "text": "file_id"},
    ]
    body = json.dumps({"messages": [{"content": "hello"}, {"content": blocks}]}).encode()

    assert files_of_messages(body) == ("file_1", "file_2")
    assert files_of_messages(b'{"messages": 7, "file_id": 1}') == files_of_messages(b"{") == ()
