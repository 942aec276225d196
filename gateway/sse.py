"""Server-sent events, only as far as the gateway has to look into them: the first event before anything is
committed, and the marks by which a stream is known to be complete.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

from gateway.calls import NOT_JSON, Kind

DONE = b"[DONE]"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # may stand before the first event
_ENDS = (b"\n\n", b"\n\r\n")  # of an event, after whatever else ends its last line
_END = re.compile(rb"\n\r?\n")
_MARK_MOST = 2  # bytes of a mark between two events that the chunk before may hold
FIRST_EVENT_MOST = 1_048_576


class NotEvents(Exception):
    """The bytes are no event stream."""


class FirstEvent:
    """Finds the first event that holds data, looking at each byte once however many reads and comments come before."""

    def __init__(self) -> None:
        self._start = self._searched = 0

    def end(self, buffer: bytes | bytearray) -> int:
        """Index after it in all that has come so far, or -1 while it is incomplete. Raises NotEvents."""
        if not self._start and buffer.startswith(BYTE_ORDER_MARK):
            self._start = len(BYTE_ORDER_MARK)
        while True:
            found = _END.search(buffer, max(self._start, self._searched - _MARK_MOST))
            if found is None:
                if len(buffer) > FIRST_EVENT_MOST:
                    raise NotEvents("no event within the first megabyte")
                self._searched = len(buffer)
                return -1
            if _is_data(buffer[self._start : found.start()]):
                return found.end()
            self._start = self._searched = found.end()


def _is_data(event: bytes | bytearray) -> bool:
    if event.startswith(b":") and b"\n" not in event:
        return False
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
    if not isinstance(value, dict):
        raise NotEvents("the first event is no object")
    return True


def whole_events_end(buffer: bytes) -> int:
    """Index after the last event that is complete, 0 if none is."""
    ends = [found + len(mark) for mark in _ENDS if (found := buffer.rfind(mark)) >= 0]
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
    """How a stream says that it is complete, by which events that it has failed, and how many tokens it had."""

    done: re.Pattern[bytes]
    failures: frozenset[str]
    tokens: re.Pattern[bytes]


_ERROR = frozenset({"error"})
_TOKENS = re.compile(rb'"output_tokens"\s*:\s*(\d{1,9})')
_CHUNKS = Marks(re.compile(rb"\ndata:\s*\[DONE\]"), _ERROR, re.compile(rb'"completion_tokens"\s*:\s*(\d{1,9})'))
_MESSAGES = Marks(re.compile(rb"\nevent:\s*message_stop"), _ERROR, _TOKENS)
_RESPONSES = Marks(re.compile(rb"\nevent:\s*response\.(?:completed|incomplete)"), _ERROR | {"response.failed"}, _TOKENS)
_INPUT_TOKENS = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(\d{1,9})')
_CACHED = tuple(re.compile(rb'"cache_%s_input_tokens"\s*:\s*(\d{1,9})' % part) for part in (b"creation", b"read"))
_MARKS = {Kind.CHAT: _CHUNKS, Kind.COMPLETION: _CHUNKS, Kind.MESSAGE: _MESSAGES, Kind.RESPONSE: _RESPONSES}
# Without one of these no event is an error. A text cannot hold the first one: its quotes would be escaped.
_MAY_FAIL = re.compile(rb'"error"|\nevent:\s*(?:error|response\.failed)|"response\.failed"')


class Progress:
    """What has been seen of a stream so far."""

    def __init__(self, kind: Kind) -> None:
        self._marks = _MARKS[kind]
        self._before = b"\n"
        self.is_done = False
        self.has_error = False
        self.input_tokens = self.output_tokens = 0
        self._cached = [0, 0]

    @property
    def cached_tokens(self) -> int:
        """Of a prompt, and not among its ``input_tokens``: as Anthropic counts."""
        return sum(self._cached)

    def see(self, data: bytes) -> bytes:
        """Whole events in; out come those before an error."""
        seen, marks = self._before + data, self._marks
        if _MAY_FAIL.search(seen):
            data = self._before_error(data)
            seen = self._before + data
        self._before = b"\n"
        if marks.done.search(seen):
            self.is_done = True
        if b'_tokens"' in seen:
            for tokens in marks.tokens.findall(seen):
                self.output_tokens = max(self.output_tokens, int(tokens))
            for tokens in _INPUT_TOKENS.findall(seen):
                self.input_tokens = max(self.input_tokens, int(tokens))
            if b'"cache_' in seen:
                for k, pattern in enumerate(_CACHED):
                    self._cached[k] = max(self._cached[k], *(int(tokens) for tokens in pattern.findall(seen)), 0)
        return data

    def skip(self) -> None:
        """A part of an event went by that is too long to be held: what is seen next is not the begin of one."""
        self._before = b""

    def _before_error(self, data: bytes) -> bytes:
        position = 0
        for end in (*(mark.end() for mark in _END.finditer(data)), len(data)):
            if any(self._is_error(name, event) for name, event in events(data[position:end])):
                self.has_error = True
                return data[:position]
            position = end
        return data

    def _is_error(self, name: str, data: bytes) -> bool:
        if name in self._marks.failures:
            return True
        try:
            value = msgspec.json.decode(data)
        except NOT_JSON:
            return False
        return isinstance(value, dict) and (bool(value.get("error")) or value.get("type") in self._marks.failures)
