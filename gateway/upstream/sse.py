"""The framing of server-sent events: where an event ends, and its name and data. A line ends in LF, CRLF or CR."""

import re
from collections.abc import Callable, Iterator

from gateway.json.malformed import Malformed

DONE = b"[DONE]"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # may stand before the first event
EVENT_END = re.compile(rb"\n\r?\n|\r\r\n?")
_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_END_MOST = 2  # bytes of an event's end that the previous chunk may hold
_FIELDS = (b"data", b"event", b"id", b"retry", b"error", b":")


class NotEvents(Exception):
    """The bytes are not an event stream."""


def whole_events_end(buffer: bytes) -> int:
    """Returns the index after the last complete event, 0 without one."""
    ends = [position + len(mark) for mark in _ENDS if (position := buffer.rfind(mark)) >= 0]
    return max(ends, default=0)


class WholeEvents:
    """Holds back bytes of an incomplete event. An event may come in a thousand pieces; each byte is read once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail = b""
        self.size = 0

    def take(self, chunk: bytes) -> bytes:
        """Returns the events that this chunk completes."""
        if not self.size and chunk.endswith(b"\n\n"):
            return chunk
        seen = self._tail + chunk
        end = whole_events_end(seen)
        if not end:
            self._hold(chunk, seen[-_END_MOST:])
            return b""
        cut = end - len(self._tail)
        whole = self.rest() + chunk[:cut]
        self._hold(chunk[cut:], chunk[cut:][-_END_MOST:])
        return whole

    def rest(self) -> bytes:
        """Returns the bytes held back and forgets them."""
        held, self._parts, self._tail, self.size = b"".join(self._parts), [], b"", 0
        return held

    def _hold(self, part: bytes, tail: bytes) -> None:
        if part:
            self._parts.append(part)
            self._tail = tail
            self.size += len(part)


def split(data: bytes) -> Iterator[bytes]:
    """Yields whole events, each with its end; last the rest without an end."""
    position = 0
    for mark in EVENT_END.finditer(data):
        yield data[position : mark.end()]
        position = mark.end()
    if position < len(data):
        yield data[position:]


def parsed(event: bytes) -> tuple[str, bytes] | None:
    """Returns name (empty if none) and data of one event; None for one without data: a comment, or blank lines."""
    name, parts = "", []
    for line in event.removeprefix(BYTE_ORDER_MARK).splitlines():
        if line.startswith(b"data:"):
            parts.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"error:"):  # of older releases of llama.cpp
            name = "error"
            parts.append(line[6:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
    data = b"\n".join(parts)
    return (name, data) if data.strip() else None


def events(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields name (empty if none) and data of each of these whole events, except for those without data."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in data.split(b"\n\n"):
        event = parsed(block)
        if event is not None:
            yield event


def begins_like_events(data: bytes) -> bool:
    """Returns whether the first line, as far as it has arrived, may belong to an event stream."""
    line = re.split(rb"[\r\n]", data.removeprefix(BYTE_ORDER_MARK).lstrip(b"\r\n"), maxsplit=1)[0]
    return any(line.startswith(field) or field.startswith(line) for field in _FIELDS)


class Numbered:
    """A converter to events that have numbers. ``last`` returns the number of the last event, -1 without one."""

    def __init__(self, convert: Callable[[bytes], bytes], last: Callable[[], int]) -> None:
        self._convert = convert
        self.last = last

    def __call__(self, data: bytes) -> bytes:
        return self._convert(data)


def translated(feed: Callable[[str, bytes], bytes]) -> Callable[[bytes], bytes]:
    """Returns a function that takes whole events, feeds them one by one and joins the results. Malformed carries the
    results of the events before it.
    """

    def convert(data: bytes) -> bytes:
        parts: list[bytes] = []
        try:
            for name, event in events(data):
                parts.append(feed(name, event))
        except Malformed as fault:
            fault.before = b"".join(parts)
            raise
        return b"".join(parts)

    return convert


def chained(first: Callable[[bytes], bytes], second: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Returns a converter by way of a dialect between two others. Malformed carries the results of both."""

    def convert(data: bytes) -> bytes:
        try:
            between = first(data)
        except Malformed as fault:
            fault.before = second(fault.before)
            raise
        return second(between)

    return convert
