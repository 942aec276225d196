"""Adapts JSON schemas of structured output to the subset that the other dialect's provider accepts, as the official
clients do with the schemas that they make.

A keyword outside of the subset moves to the description, where the model can still read it. A schema within the subset
keeps its bytes.
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

Object = dict[str, msgspec.Raw]
Schema = dict[str, Any]

_MESSAGES_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_CHAT_FORMATS = _MESSAGES_FORMATS - {"uri"}
_DEFINITIONS = ("$defs", "definitions")
_LISTS = ("anyOf", "allOf", "prefixItems")
_DROPPED = ("$schema", "$id", "$comment")
_KEPT_IN_MESSAGES = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "description", "title", "$ref"}
    | {*_DEFINITIONS, "anyOf", "allOf"}
)
_KEPT_IN_CHAT = _KEPT_IN_MESSAGES | frozenset(
    {"pattern", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"}
)
_NULL = "null"
_TYPED = ("enum", "const", "$ref", "anyOf", "oneOf", "allOf")  # a type next to them adds nothing
_OWNED = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
}


def for_messages(schema: Object) -> Object:
    """Returns a schema for Anthropic: closed objects, without bounds."""
    return _adapted(schema, _for_messages)


def for_chat(schema: Object) -> Object:
    """Returns a schema for OpenAI's strict mode: closed objects whose properties are all required. An optional property
    may be null instead.
    """
    return _adapted(schema, _for_chat)


def _adapted(schema: Object, adapt: Callable[[Schema], Schema]) -> Object:
    """Leaves a schema alone that cannot be read or is nested too deeply: its provider names the fault."""
    try:
        given = json.loads(msgspec.json.encode(schema), parse_float=_finite)
        adapted = adapt(given)
        return schema if adapted == given else msgspec.json.decode(json.dumps(adapted), type=Object)
    except (ValueError, RecursionError, msgspec.DecodeError):
        return schema


def _finite(number: str) -> float:
    return min(max(float(number), -1e308), 1e308) if not math.isnan(float(number)) else 0.0


def _for_messages(given: Schema) -> Schema:
    kinds = given.get("type")
    if isinstance(kinds, list) and not any(name in given for name in _TYPED):
        return _for_messages(_by_type(given, kinds))
    schema = _inner(given, _for_messages)
    if "$ref" in schema:
        return _only(schema, ("$ref", *_DEFINITIONS))
    if isinstance(kinds, list) or "enum" in schema or "const" in schema:
        schema.pop("type", None)
    moved = _outside(schema, _KEPT_IN_MESSAGES, _MESSAGES_FORMATS)
    if schema.get("type") == "array" and moved.get("minItems") in (0, 1):
        schema["minItems"] = moved.pop("minItems")
    return _described(_closed(schema), moved)


def _by_type(given: Schema, kinds: list[Any]) -> Schema:
    """Splits a schema of several types into alternatives. Schemas in it go to the one type that they belong to."""
    outer = _only(given, ("description", "title", *_DEFINITIONS))
    owners = {name: kind for kind, names in _OWNED.items() for name in names}
    inner = {name: value for name, value in given.items() if name not in outer}
    variants = [
        {name: value for name, value in inner.items() if owners.get(name, kind) == kind and kind != _NULL}
        | {"type": kind}
        for kind in dict.fromkeys(map(str, kinds))
    ]
    return {**outer, "anyOf": variants}


def _for_chat(given: Schema) -> Schema:
    schema = _inner(given, _for_chat)
    if "$ref" in schema:
        return _only(schema, ("$ref", *_DEFINITIONS))
    every = schema.get("allOf")
    if isinstance(every, list) and len(every) == 1 and isinstance(every[0], dict):
        del schema["allOf"]
        schema = {**every[0], **schema}
    closed = _closed(schema)
    properties = closed.get("properties")
    if isinstance(properties, dict):
        required = closed.get("required")
        needed = set(map(str, required)) if isinstance(required, list) else set()
        closed["properties"] = {
            name: value if name in needed or not isinstance(value, dict) else _nullable(value)
            for name, value in properties.items()
        }
        closed["required"] = list(properties)
    closed.pop("default", None)
    return _described(closed, _outside(closed, _KEPT_IN_CHAT, _CHAT_FORMATS))


def _inner(schema: Schema, adapt: Callable[[Schema], Schema]) -> Schema:
    """Returns the schema with all schemas in it adapted; one of several alternatives is `anyOf`."""
    inner = {name: value for name, value in schema.items() if name not in _DROPPED}
    if "oneOf" in inner and "anyOf" not in inner:
        inner["anyOf"] = inner.pop("oneOf")
    for name in (*_DEFINITIONS, "properties"):
        if isinstance(inner.get(name), dict):
            inner[name] = {key: _each(value, adapt) for key, value in inner[name].items()}
    for name in _LISTS:
        if isinstance(inner.get(name), list):
            inner[name] = [_each(value, adapt) for value in inner[name]]
    if "items" in inner:
        inner["items"] = _each(inner["items"], adapt)
    return inner


def _each(value: Any, adapt: Callable[[Schema], Schema]) -> Any:
    return adapt(value) if isinstance(value, dict) else value


def _closed(schema: Schema) -> Schema:
    is_object = schema.get("type") == "object" or ("type" not in schema and "properties" in schema)
    if not is_object:
        return dict(schema)
    return {"type": "object", "properties": {}, **schema, "additionalProperties": False}


def _outside(schema: Schema, kept: frozenset[str], formats: frozenset[str]) -> Schema:
    """Returns the keywords outside of the subset."""
    moved = {name: value for name, value in schema.items() if name not in kept}
    if moved.get("format") in formats:
        del moved["format"]
    return moved


def _described(schema: Schema, moved: Schema) -> Schema:
    if not moved:
        return schema
    rest = {name: value for name, value in schema.items() if name not in moved}
    words = "; ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in moved.items())
    before = rest.get("description")
    return {**rest, "description": f"{before}\n\n({words})" if before else f"({words})"}


def _nullable(schema: Schema) -> Schema:
    kinds = schema.get("type")
    has_null = kinds == _NULL or (isinstance(kinds, list) and _NULL in kinds)
    if has_null or {"type": _NULL} in (schema.get("anyOf") or []):
        return schema
    if isinstance(schema.get("anyOf"), list):
        return {**schema, "anyOf": [*schema["anyOf"], {"type": _NULL}]}
    if isinstance(schema.get("enum"), list):
        nulled = {"enum": [*schema["enum"], None]} if None not in schema["enum"] else {}
        return {**schema, **nulled, **({"type": [kinds, _NULL]} if isinstance(kinds, str) else {})}
    if isinstance(kinds, str):
        return {**schema, "type": [kinds, _NULL]}
    if isinstance(kinds, list):
        return {**schema, "type": [*kinds, _NULL]}
    return {"anyOf": [schema, {"type": _NULL}]} if schema else schema


def _only(schema: Schema, names: Iterable[str]) -> Schema:
    return {name: schema[name] for name in names if name in schema}
