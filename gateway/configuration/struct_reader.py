"""Reads plain values into frozen Structs and reports every mistake with its path.

msgspec.convert stops at the first error; a configuration is fixed faster when all are shown at once. The default
replaces a refused value, so that rules about several fields still see the rest.
"""

import collections.abc
import difflib
import functools
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from gateway.configuration.yaml_source import Problem, item_path, key_path

# Descriptions of the types that have none of their own; numbers always have a range with a description.
_DESCRIPTIONS = {str: "text", bool: "true or false"}
_NUMBERS = (int, float, bool)

_Section = TypeVar("_Section", bound=msgspec.Struct)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns the end of a sentence that suggests the most similar known word; empty if none is similar."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {matches[0]}?" if matches else ""


def read(section: type[_Section], value: object, path: str, problems: list[Problem]) -> _Section:
    """Returns a Struct from a mapping and appends to ``problems``. A null counts as left out.

    Fields without a default must be text: left out or refused, they are empty in the result.
    """
    if not isinstance(value, dict):
        problems.append(Problem(path, "expected a mapping"))
        value, problems = {}, []  # missing fields of another type are not worth a report
    fields = _fields(section)
    names = [field.encode_name for field in fields]
    problems.extend(
        Problem(key_path(path, key), f"unknown key{did_you_mean(str(key), names)}") for key in value if key not in names
    )
    found = {}
    for field in fields:
        given = value.get(field.encode_name)
        field_path = key_path(path, field.encode_name)
        kind = without_null(field.type)
        if given is None or (given == "" and bare(kind) in _NUMBERS):
            if field.required:
                problems.append(Problem(field_path, "missing"))
            read_value = None
        else:
            read_value = _read_value(kind, given, field_path, problems)
        if read_value is not None:
            found[field.name] = read_value
        elif field.required:
            found[field.name] = ""
    return section(**found)


@functools.cache
def _fields(section: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(section)


def without_null(kind: Any) -> Any:
    """Returns the type of a setting that may be left out."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(option for option in get_args(kind) if option is not type(None))
    return kind


def bare(kind: Any) -> Any:
    """Returns the type without its bounds and words."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def described(kind: Any) -> msgspec.Meta:
    """Returns the bounds and words of a scalar."""
    meta = get_args(kind)[1] if get_origin(kind) is Annotated else msgspec.Meta(description=_DESCRIPTIONS[kind])
    assert isinstance(meta, msgspec.Meta)
    return meta


def _read_value(kind: Any, value: object, path: str, problems: list[Problem]) -> object:
    """Returns None if the value was refused and nothing of it can be kept."""
    origin = get_origin(kind)
    if origin is tuple:
        return _read_items(get_args(kind)[0], value, path, problems)
    if origin is collections.abc.Mapping:
        return _read_mapping(kind, value, path, problems)
    if origin is Literal:
        return _read_choice(get_args(kind), value, path, problems)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return read(kind, value, path, problems)
    return _read_scalar(kind, value, path, problems)


def _read_items(kind: Any, value: object, path: str, problems: list[Problem]) -> tuple[object, ...] | None:
    """Replaces a refused item by an empty text, so that the others keep their index."""
    if not isinstance(value, list):
        problems.append(Problem(path, "expected a list"))
        return None
    items = (_read_value(kind, item, item_path(path, index), problems) for index, item in enumerate(value))
    return tuple("" if item is None else item for item in items)


def _read_mapping(kind: Any, value: object, path: str, problems: list[Problem]) -> dict[object, object] | None:
    if not isinstance(value, dict):
        problems.append(Problem(path, "expected a mapping"))
        return None
    key_kind, child_kind = get_args(kind)
    found = {}
    for key, child in value.items():
        child_path = key_path(path, key)
        read_key = _read_scalar(key_kind, key, child_path, problems)
        read_child = _read_value(child_kind, child, child_path, problems)
        if read_key is not None and read_child is not None:
            found[read_key] = read_child
    return found


def _read_choice(choices: tuple[str, ...], value: object, path: str, problems: list[Problem]) -> object:
    if value in choices:
        return value
    hint = did_you_mean(str(value), choices)
    problems.append(Problem(path, f"expected one of {', '.join(choices)}{hint}"))
    return None


def _read_scalar(kind: Any, value: object, path: str, problems: list[Problem]) -> object:
    """Reads text as a number or a boolean where one is expected, because `${VAR}` is always text."""
    meta = described(kind)
    written_form = (meta.extra or {}).get("read")
    try:
        stored = written_form(value) if written_form else value
        found: object = msgspec.convert(stored, kind, strict=not isinstance(stored, str))
    except (ValueError, OverflowError, msgspec.ValidationError):  # OverflowError: a number with hundreds of digits
        problems.append(Problem(path, f"expected {meta.description}"))
        return value if bare(kind) is str and isinstance(value, str) else None
    return found


def completed(section: object, defaults: Mapping[str, object]) -> object:
    """Returns a section with defaults for the keys that it leaves out; anything but a mapping is returned as it is."""
    if not isinstance(section, dict):
        return section
    return {**section, **{key: value for key, value in defaults.items() if section.get(key) is None}}
