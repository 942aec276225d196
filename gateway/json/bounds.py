"""Bounds the cost of JSON: counts its parts in the bytes before any of them becomes an object.

The C code that reads JSON holds the interpreter's lock, in a thread as well. It reads long strings at a gigabyte per
second and small parts at twenty million per second: a body with few parts cannot stop the event loop for long.
"""

from collections.abc import Iterator

from gateway.errors import InvalidRequest

MEMBERS_MOST = 250_000  # keys and objects; reading this number takes 20 ms
ITEMS_MOST = 1_000_000  # commas and lists, so all values; a list of numbers is read faster
# A translation makes objects of all parts, where a check skips most of them.
TRANSLATED_MEMBERS_MOST = 100_000
TRANSLATED_ITEMS_MOST = 300_000
LARGE = 1_048_576  # bytes; reading a smaller text takes less than 20 ms, whatever it holds
_SLICE = 262_144


def has_too_many_parts(text: bytes, members_most: int = MEMBERS_MOST, items_most: int = ITEMS_MOST) -> bool:
    """Returns whether JSON holds more parts than these outside of its strings. Exact for valid JSON."""
    if len(text) <= min(members_most, items_most):
        return False
    if _members(text) <= members_most and _items(text) <= items_most:
        return False
    members = items = 0
    for part in _outside_of_strings(text):
        members += _members(part)
        items += _items(part)
        if members > members_most or items > items_most:
            return True
    return False


def check_translatable(body: bytes) -> None:
    """Bounds the parts of a body that has to be translated. Raises InvalidRequest."""
    if has_too_many_parts(body, TRANSLATED_MEMBERS_MOST, TRANSLATED_ITEMS_MOST):
        raise InvalidRequest("The request body holds too many parts to be translated for this model's provider.")


def _members(text: bytes) -> int:
    return text.count(b"{") + text.count(b":")


def _items(text: bytes) -> int:
    return text.count(b",") + text.count(b"[")


def _outside_of_strings(text: bytes) -> Iterator[bytes]:
    """Yields the text without its strings, slice by slice. Without escapes every quote begins or ends a string."""
    is_inside = start = 0
    while start < len(text):
        part = text[start : start + _SLICE]
        if part.endswith(b"\\") and (len(part) - len(part.rstrip(b"\\"))) % 2 and start + _SLICE < len(text):
            part = part[:-1]  # an escape is not cut in two
        start += len(part)
        pieces = part.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(pieces[is_inside::2])
        is_inside ^= (len(pieces) - 1) & 1
