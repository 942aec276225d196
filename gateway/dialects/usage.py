"""Usage that the gateway asked for and the client did not: taken out of the stream again."""

import re

import msgspec

_NULL = b',"usage":null'  # in every chunk before the last; a text cannot hold it, its quotes would be escaped
_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[msgspec.Raw] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")


_chunk = msgspec.json.Decoder(_Chunk)


def without_usage(events: bytes) -> bytes:
    """Whole events in: a chunk of nothing but usage is dropped, every other one keeps its bytes but for a null."""
    if b'"usage"' not in events:
        return events
    events = events.replace(_NULL, b"")
    if b'"usage"' not in events:
        return events
    return b"".join(event for event in _END.split(events) if not _is_usage_alone(event))


def _is_usage_alone(event: bytes) -> bool:
    if b'"usage"' not in event:
        return False
    try:
        chunk = _chunk.decode(event.removeprefix(b"data:"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return not chunk.choices and bytes(chunk.usage) != b"null"
