"""Server-sent events, only as far as the gateway has to look into them: the first event before anything is
committed, and the marks by which a stream is known to be complete.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

from gateway.calls import NOT_JSON, Kind

DONE = b"[DONE]"
_MARK_MOST = 3  # bytes of a mark between two events that the chunk before may hold
_TAIL = 256  # enough to see a mark that two chunks share
FIRST_EVENT_MOST = 1_048_576


class NotEvents(Exception):
    """The bytes are no event stream."""


def first_event_end(buffer: bytes | bytearray) -> int:
    """Index after the first event that holds data, or -1 while it is incomplete. Raises NotEvents."""
    position = 0
    while True:
        ends = [(found, len(mark)) for mark in (b"\n\n", b"\r\n\r\n") if (found := buffer.find(mark, position)) >= 0]
        if not ends:
            if len(buffer) > FIRST_EVENT_MOST:
                raise NotEvents("no event within the first megabyte")
            return -1
        end, width = min(ends)
        if _is_data(buffer[position:end]):
            return end + width
        position = end + width


def _is_data(event: bytes | bytearray) -> bool:
    data = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    if not data:
        if all(not line or line.startswith((b":", b"event:", b"id:", b"retry:")) for line in event.splitlines()):
            return False
        raise NotEvents("not an event stream")
    if data[0] == DONE:
        raise NotEvents("the stream ended before it began")
    try:
        value = msgspec.json.decode(b"\n".join(data))
    except NOT_JSON as error:
        raise NotEvents("the first event is not JSON") from error
    if not isinstance(value, dict) or value.get("error"):
        raise NotEvents("the first event is an error")
    return True


def whole_events_end(buffer: bytes) -> int:
    """Index after the last event that is complete, 0 if none is."""
    ends = [found + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (found := buffer.rfind(mark)) >= 0]
    return max(ends, default=0)


class WholeEvents:
    """Holds back what is not yet a whole event. An event may come in a thousand pieces: each is looked at once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail = b""
        self.size = 0

    def take(self, chunk: bytes) -> bytes:
        """The events that this chunk completes."""
        seen = self._tail + chunk
        end = whole_events_end(seen)
        if not end:
            self._hold(chunk, seen[-_MARK_MOST:])
            return b""
        cut = end - len(self._tail)
        whole = self.rest() + chunk[:cut]
        self._hold(chunk[cut:], chunk[cut:][-_MARK_MOST:])
        return whole

    def rest(self) -> bytes:
        """What is held back, and no longer will be."""
        held, self._parts, self._tail, self.size = b"".join(self._parts), [], b"", 0
        return held

    def _hold(self, part: bytes, tail: bytes) -> None:
        if part:
            self._parts.append(part)
            self._tail = tail
            self.size += len(part)


def events(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name (empty if none) and data of each of these whole events that has data."""
    for block in data.replace(b"\r\n", b"\n").split(b"\n\n"):
        name, parts = "", []
        for line in block.split(b"\n"):
            if line.startswith(b"data:"):
                parts.append(line[5:].removeprefix(b" "))
            elif line.startswith(b"event:"):
                name = line[6:].strip().decode("utf-8", "replace")
        if parts:
            yield name, b"\n".join(parts)


def translated(feed: Callable[[str, bytes], bytes]) -> Callable[[bytes], bytes]:
    """What takes whole events, from what takes them one by one."""
    return lambda data: b"".join([feed(name, event) for name, event in events(data)])


class Marks(msgspec.Struct, frozen=True):
    """How a stream says that it is complete, that it has failed, and how many tokens it had."""

    done: re.Pattern[bytes]
    error: re.Pattern[bytes]
    tokens: re.Pattern[bytes]


_CHUNKS = Marks(
    re.compile(rb"\ndata:\s*\[DONE\]"),
    re.compile(rb'\ndata:\s*\{\s*"error"\s*:\s*\{'),
    re.compile(rb'"completion_tokens"\s*:\s*(\d{1,9})'),
)
_TOKENS = re.compile(rb'"output_tokens"\s*:\s*(\d{1,9})')
_MESSAGES = Marks(re.compile(rb"\nevent:\s*message_stop"), re.compile(rb"\nevent:\s*error"), _TOKENS)
_RESPONSES = Marks(
    re.compile(rb"\nevent:\s*response\.(?:completed|incomplete)"),
    re.compile(rb"\nevent:\s*(?:error|response\.failed)"),
    _TOKENS,
)
_MARKS = {Kind.CHAT: _CHUNKS, Kind.COMPLETION: _CHUNKS, Kind.MESSAGE: _MESSAGES, Kind.RESPONSE: _RESPONSES}


class Progress:
    """What has been seen of a stream so far."""

    def __init__(self, kind: Kind) -> None:
        self._marks = _MARKS[kind]
        self._tail = b"\n"
        self.is_done = False
        self.has_error = False
        self.output_tokens = 0

    def see(self, chunk: bytes) -> None:
        seen, marks = self._tail + chunk, self._marks
        if marks.done.search(seen):
            self.is_done = True
        if marks.error.search(seen):
            self.has_error = True
        if b'_tokens"' in seen:
            for tokens in marks.tokens.findall(seen):
                self.output_tokens = max(self.output_tokens, int(tokens))
        self._tail = seen[-_TAIL:]
