"""A JSON Schema of the configuration as it is written in YAML, for editors.

It accepts what the reader accepts: durations and sizes in their written forms, numbers in quotes, null for a setting
that is left out, and text with `${VAR}` in place of any value.
"""

import collections.abc
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import msgspec

from gateway.configuration.struct_reader import bare, described, without_null
from gateway.configuration.value_types import DURATION, SIZE, duration_ms, size_bytes

DRAFT = "http://json-schema.org/draft-07/schema#"

Meanings = Callable[[type[msgspec.Struct]], tuple[str, ...]]
_Schema = dict[str, Any]

_VARIABLE: _Schema = {"$ref": "#/definitions/variable"}
_DEFINITIONS: _Schema = {
    "variable": {"type": "string", "pattern": r"\$\{", "description": "text with variables of the environment"}
}
_NUMBER_TEXT = {"type": "string", "pattern": r"^\s*[-+0-9.eE_]*\s*$"}
_BOOLEAN_TEXT = {"type": "string", "pattern": r"^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|0|1|)$"}


def schema(kind: type[msgspec.Struct], meanings: Meanings) -> _Schema:
    """Returns the schema. ``meanings``: of the fields of a Struct, in their order."""
    return {"$schema": DRAFT, "title": "PLLM Gateway Cluster", **_mapping(kind, meanings), "definitions": _DEFINITIONS}


def _mapping(kind: type[msgspec.Struct], meanings: Meanings) -> _Schema:
    properties, required = {}, []
    for field, meaning in zip(msgspec.structs.fields(kind), meanings(kind), strict=True):
        value = _value(without_null(field.type), meanings)
        if field.required:
            required.append(field.encode_name)
        else:
            value = _or_null(value)
        properties[field.encode_name] = {"description": meaning, **value}
    found: _Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _or_null(value: _Schema) -> _Schema:
    if "anyOf" in value:
        return {"anyOf": [*value["anyOf"], {"type": "null"}]}
    return {**value, "type": [value["type"], "null"]}


def _value(kind: Any, meanings: Meanings) -> _Schema:
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _mapping(kind, meanings)
    if origin is tuple:
        return {"type": "array", "items": _value(get_args(kind)[0], meanings)}
    if origin is collections.abc.Mapping:
        key, child = get_args(kind)
        names = {"pattern": _portable(str(described(key).pattern))}
        return {"type": "object", "propertyNames": names, "additionalProperties": _value(child, meanings)}
    if origin is Literal:
        return {"anyOf": [{"enum": list(get_args(kind))}, _VARIABLE]}
    return {"anyOf": [*_scalar(kind), _VARIABLE]}


def _scalar(kind: Any) -> list[_Schema]:
    if bare(kind) is bool:
        return [{"type": "boolean"}, _BOOLEAN_TEXT]
    meta = described(kind)
    read = (meta.extra or {}).get("read")
    if read is duration_ms:
        return [_number("number", meta, 1_000), _text(f"(?:{DURATION.pattern})?")]
    if read is size_bytes:
        return [_number("number", meta, 1), _text(f"(?:{SIZE.pattern})?")]
    if bare(kind) in (int, float):
        return [_number("integer" if bare(kind) is int else "number", meta, 1), _NUMBER_TEXT]
    if meta.pattern:
        return [_text(meta.pattern)]
    return [{"type": "string", "minLength": meta.min_length} if meta.min_length else {"type": "string"}]


def _number(kind: str, meta: msgspec.Meta, unit: int) -> _Schema:
    """Returns the schema of a number. ``unit``: the stored amount that equals one written unit."""
    bounds = {"exclusiveMinimum": meta.gt, "minimum": meta.ge, "maximum": meta.le}
    written = {name: bound / unit if unit > 1 else bound for name, bound in bounds.items() if bound is not None}
    return {"type": kind, **written}


def _text(pattern: str) -> _Schema:
    return {"type": "string", "pattern": f"^(?:{_portable(pattern)})$"}


def _portable(pattern: str) -> str:
    """Returns a pattern of Python's for ECMAScript, which knows neither `\\A` and `\\Z` nor flags of a group."""
    both_cases = re.sub(r"\(\?i:([^)]*)\)", lambda match: f"(?:{_any_case(match.group(1))})", pattern)
    return both_cases.replace(r"\A", "^").replace(r"\Z", "$").replace(r"\"", '"')


def _any_case(text: str) -> str:
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in text)
