"""Schemas in the subset of each dialect, against the official clients' own adaptation where they have one."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.dialects import json_schemas

PERSON: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": "Person",
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "The name."},
        "age": {"type": "integer", "minimum": 0, "default": 3},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "object", "properties": {"x": {"const": 1}}}, "minItems": 2},
        "site": {"type": "string", "format": "uri"},
        "next": {"$ref": "#/$defs/Person", "description": "Another."},
        "size": {"oneOf": [{"type": "number", "maximum": 1.5}, {"type": "null"}]},
    },
    "required": ["name", "age"],
    "$defs": {"Person": {"type": "object", "properties": {"self": {"$ref": "#/$defs/Person"}}}},
}


def adapted(adapt: Callable[[json_schemas.Object], json_schemas.Object], schema: Any) -> Any:
    return json.loads(msgspec.json.encode(adapt(msgspec.json.decode(json.dumps(schema), type=dict[str, msgspec.Raw]))))


def inner_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield schema
    for name in ("properties", "$defs"):
        for value in schema.get(name, {}).values():
            yield from inner_schemas(value)
    for value in (schema.get("items"), *schema.get("anyOf", []), *schema.get("allOf", [])):
        yield from inner_schemas(value)


def shape(schema: Any) -> Any:
    """Without what is written in words."""
    if isinstance(schema, list):
        return [shape(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: shape(value) for name, value in schema.items() if name != "description" or not isinstance(value, str)}


def test_schema_for_anthropic_is_the_one_that_its_client_makes() -> None:
    official = transform_schema({name: value for name, value in PERSON.items() if name != "$schema"})

    assert shape(adapted(json_schemas.for_messages, PERSON)) == shape(official)


def test_bounds_move_to_the_description() -> None:
    sent = adapted(json_schemas.for_messages, PERSON)["properties"]

    assert sent["name"] == {"type": "string", "description": "The name.\n\n(minLength: 1)"}
    assert sent["age"] == {"type": "integer", "description": "(minimum: 0; default: 3)"}


def test_schema_for_openai_requires_every_property_and_lets_the_optional_ones_be_null() -> None:
    sent = adapted(json_schemas.for_chat, PERSON)

    assert sent["required"] == list(PERSON["properties"])
    assert sent["properties"]["name"]["type"] == "string"
    assert sent["properties"]["age"] == {"type": "integer", "minimum": 0}
    assert sent["properties"]["kind"] == {"type": ["string", "null"], "enum": ["a", "b", None]}
    assert sent["properties"]["tags"]["type"] == ["array", "null"]
    assert sent["properties"]["next"] == {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}]}
    assert sent["properties"]["site"] == {"type": ["string", "null"], "description": '(format: "uri")'}
    assert sent["properties"]["size"]["anyOf"] == [{"type": "number", "maximum": 1.5}, {"type": "null"}]


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (
            {"type": ["string", "null"], "maxLength": 4},
            [{"type": "string", "description": "(maxLength: 4)"}, {"type": "null"}],
        ),
        (
            {"type": ["object", "array"], "properties": {"a": {"type": "null"}}, "items": {"type": "null"}},
            [
                {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False},
                {"type": "array", "items": {"type": "null"}},
            ],
        ),
    ],
)
def test_several_types_become_alternatives_for_anthropic(schema: dict[str, Any], sent: list[Any]) -> None:
    assert adapted(json_schemas.for_messages, schema) == {"anyOf": sent}


@pytest.mark.parametrize("adapt", [json_schemas.for_messages, json_schemas.for_chat])
def test_schema_within_the_subset_keeps_its_bytes(adapt: Callable[[json_schemas.Object], json_schemas.Object]) -> None:
    inside = (
        b'{"type": "object",  "properties": {"n": {"const": 1.50}}, "additionalProperties": false, "required": ["n"]}'
    )
    schema = msgspec.json.decode(inside, type=dict[str, msgspec.Raw])

    assert adapt(schema) is schema


@pytest.mark.parametrize("adapt", [json_schemas.for_messages, json_schemas.for_chat])
@pytest.mark.parametrize("schema", ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "1e999", "null", "[7]"])
def test_odd_schema_is_left_to_its_provider_or_adapted(
    adapt: Callable[[json_schemas.Object], json_schemas.Object], schema: str
) -> None:
    body = f'{{"type": "object", "properties": {schema}, "anyOf": {schema}, "enum": {schema}, "required": {schema}}}'
    sent = adapt(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))

    assert json.loads(msgspec.json.encode(sent))


SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "boolean"])},
        optional={"minimum": st.integers(), "description": st.text(), "default": st.none(), "format": st.text()},
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 3)}),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("abc"), inner)},
            optional={"required": st.lists(st.sampled_from("abc")), "additionalProperties": st.booleans() | inner},
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
    ),
    max_leaves=8,
)


@given(SCHEMAS)
def test_every_schema_keeps_to_the_subset_and_is_not_changed_twice(schema: Any) -> None:
    for adapt, is_strict in ((json_schemas.for_messages, False), (json_schemas.for_chat, True)):
        sent = adapted(adapt, schema)

        assert adapted(adapt, sent) == sent
        for each in inner_schemas(sent):
            if "properties" in each:
                assert each["additionalProperties"] is False
                assert not is_strict or set(each["required"]) == set(each["properties"])
            assert not {"default", "minLength", "uniqueItems"} & each.keys()
            assert is_strict or "minimum" not in each
