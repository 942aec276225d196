"""Removes the usage that the gateway requested and the client did not from a stream.

This runs on every chunk of every such stream: bytes are searched first, and only events that differ from OpenAI's form
are decoded.
"""

import re

import msgspec

_USAGE = b'"usage"'  # text cannot hold it: its quotes would be escaped
_NULL = b',"usage":null'  # in every chunk before the last, as OpenAI writes it
_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def without_usage(events: bytes) -> bytes:
    """Takes whole events. Drops a chunk of nothing but usage, with all lines of its event; every other event keeps its
    bytes except for a null usage.
    """
    if _USAGE not in events:
        return events
    events = events.replace(_NULL, b"")
    if _USAGE not in events:
        return events
    return b"".join([_without_usage(event) if _USAGE in event else event for event in _END.split(events)])


def _without_usage(event: bytes) -> bytes:
    """Leaves events alone that are not chunks, or that have usage next to an answer or an error."""
    lines = event.splitlines(keepends=True)
    data = [line for line in lines if line.startswith(b"data:")]
    try:
        chunk = _fields.decode(b"".join([line[5:] for line in data]))
        usage = bytes(chunk.pop("usage", b""))
        has_choices = bool(msgspec.json.decode(chunk.get("choices", b"null")))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return event
    if usage != b"null":
        return b"" if usage and not has_choices and "error" not in chunk else event
    end = data[-1][len(data[-1].rstrip()) :]
    first, rest = lines.index(data[0]), [line for line in lines if line not in data]
    return b"".join([*rest[:first], b"data: " + msgspec.json.encode(chunk) + end, *rest[first:]])
