"""Reads responses of servers that imitate a provider, as leniently as the official clients do.

The decoders are strict and fast. A response that a decoder refuses is read once more, brought into the form that the
provider itself sends, and decoded again: only odd responses cost that.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from gateway.json.bounds import MEMBERS_MOST, has_too_many_parts
from gateway.json.malformed import Malformed

T = TypeVar("T")


class TooManyParts(ValueError):
    """Reading the JSON would block the event loop for too long."""


COUNT_MOST = 2**50  # a sum of several stays exact in every reader of JSON
# The errors of decoding: invalid UTF-8 and too many levels raise Python's own.
NOT_DECODED = (msgspec.DecodeError, ValueError, RecursionError)


def decoded(decoder: msgspec.json.Decoder[T], data: bytes, restored: Callable[[Any], Any]) -> T:
    """Decodes ``data``. ``restored`` brings a plain value into the form of the decoder's type. Raises Malformed."""
    if has_too_many_parts(data, MEMBERS_MOST, MEMBERS_MOST):
        raise Malformed("too many parts")
    try:
        if not data.isascii():
            data.decode()  # raw parts are passed on, and the decoder does not check them
        return decoder.decode(data)
    except NOT_DECODED:
        pass
    try:
        return decoder.decode(encoded(restored(loaded(data))))
    except NOT_DECODED as error:
        raise Malformed(str(error)) from error


def read(data: bytes) -> Any:
    """Reads JSON, and odd JSON as `loaded` does, into a value that can be written again: it has no halves of surrogate
    pairs and no infinite numbers. Raises the errors in NOT_DECODED, TooManyParts among them.
    """
    if has_too_many_parts(data, MEMBERS_MOST, MEMBERS_MOST):
        raise TooManyParts("too many parts")
    try:
        return msgspec.json.decode(data)
    except NOT_DECODED:
        return loaded(encoded(loaded(data)))


def loaded(data: bytes) -> Any:
    """Reads JSON as the official clients do: halves of surrogate pairs and a byte order mark are accepted, and so are
    `NaN` and `Infinity`, which become null. Raises ValueError, RecursionError.
    """
    return json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)


def encoded(value: Any) -> bytes:
    """Writes JSON in which a half of a surrogate pair is U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def as_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: object) -> str | None:
    """Returns text, or a number as text, for ids that are numbers; None for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_index(value: object) -> int | None:
    text = as_text(value)
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None


def as_count(value: object) -> int | None:
    """Returns a number of tokens: floats and numbers in quotes are accepted, negative ones are 0."""
    try:
        return int(min(max(float(as_text(value) or "nothing"), 0), COUNT_MOST))
    except ValueError:
        return None
