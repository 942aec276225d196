"""The framing of server-sent events: where an event ends, and its name and data. A line ends in LF, CRLF or CR."""

import re
from collections.abc import Callable, Iterator

from gateway.json.malformed import Malformed

DONE = b"[DONE]"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # may stand before the first event
EVENT_END = re.compile(rb"\n\r?\n|\r\r\n?")
_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_END_MOST = 2  # bytes of an event's end that the chunk before may hold
_FIELDS = (b"data", b"event", b"id", b"retry", b"error", b":")


class NotEvents(Exception):
    """The bytes are no event stream."""


def whole_events_end(buffer: bytes) -> int:
    """Index after the last event that is complete, 0 if none is."""
    ends = [found + len(mark) for mark in _ENDS if (found := buffer.rfind(mark)) >= 0]
    return max(ends, default=0)


class WholeEvents:
    """Holds back what is not yet a whole event. An event may come in a thousand pieces: each byte is read once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail = b""
        self.size = 0

    def take(self, chunk: bytes) -> bytes:
        """Returns the events that this chunk completes."""
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
        """Returns what is held back, and no longer holds it."""
        held, self._parts, self._tail, self.size = b"".join(self._parts), [], b"", 0
        return held

    def _hold(self, part: bytes, tail: bytes) -> None:
        if part:
            self._parts.append(part)
            self._tail = tail
            self.size += len(part)


def split(data: bytes) -> Iterator[bytes]:
    """Whole events, each with its end; last what is left without one."""
    position = 0
    for mark in EVENT_END.finditer(data):
        yield data[position : mark.end()]
        position = mark.end()
    if position < len(data):
        yield data[position:]


def parsed(event: bytes) -> tuple[str, bytes] | None:
    """Name (empty if none) and data of one event; None when it has no data: a comment, or blank lines."""
    name, parts = "", []
    for line in event.removeprefix(BYTE_ORDER_MARK).splitlines():
        if line.startswith(b"data:"):
            parts.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"error:"):  # llama.cpp before it had an event for it
            name = "error"
            parts.append(line[6:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
    data = b"\n".join(parts)
    return (name, data) if data.strip() else None


def events(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name (empty if none) and data of each of these whole events that has data."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in data.removeprefix(BYTE_ORDER_MARK).split(b"\n\n"):
        event = parsed(block)
        if event is not None:
            yield event


def begins_like_events(data: bytes) -> bool:
    """Whether the first line may be one of an event stream, as far as it has come."""
    line = re.split(rb"[\r\n]", data.removeprefix(BYTE_ORDER_MARK).lstrip(b"\r\n"), maxsplit=1)[0]
    return any(line.startswith(field) or field.startswith(line) for field in _FIELDS)


def translated(feed: Callable[[str, bytes], bytes]) -> Callable[[bytes], bytes]:
    """Takes whole events and feeds them one by one. Malformed keeps what came of those before."""

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
