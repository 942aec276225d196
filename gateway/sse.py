"""Server-sent events, only as far as the gateway has to look into them: the first event before anything is
committed, and the marks by which a stream is known to be complete.
"""

import re

import msgspec

from gateway.calls import NOT_JSON

DONE = b"[DONE]"
_TAIL = 256  # enough to see a mark that two chunks share
_FIRST_EVENT_MOST = 1_048_576
_TOKENS = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,9})')
_ERROR = re.compile(rb'\ndata:\s*\{\s*"error"\s*:\s*\{')
_DONE = re.compile(rb"\ndata:\s*\[DONE\]")


class Malformed(Exception):
    """The bytes are no event stream."""


def first_event_end(buffer: bytes) -> int:
    """Index after the first event that holds data, or -1 while it is incomplete. Raises Malformed."""
    position = 0
    while True:
        ends = [(found, len(mark)) for mark in (b"\n\n", b"\r\n\r\n") if (found := buffer.find(mark, position)) >= 0]
        if not ends:
            if len(buffer) > _FIRST_EVENT_MOST:
                raise Malformed("no event within the first megabyte")
            return -1
        end, width = min(ends)
        if _is_data(buffer[position:end]):
            return end + width
        position = end + width


def _is_data(event: bytes) -> bool:
    data = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    if not data:
        if all(not line or line.startswith((b":", b"event:", b"id:", b"retry:")) for line in event.splitlines()):
            return False
        raise Malformed("not an event stream")
    if data[0] == DONE:
        raise Malformed("the stream ended before it began")
    try:
        value = msgspec.json.decode(b"\n".join(data))
    except NOT_JSON as error:
        raise Malformed("the first event is not JSON") from error
    if not isinstance(value, dict) or value.get("error"):
        raise Malformed("the first event is an error")
    return True


def whole_events_end(buffer: bytes) -> int:
    """Index after the last event that is complete, 0 if none is."""
    ends = [found + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (found := buffer.rfind(mark)) >= 0]
    return max(ends, default=0)


class Progress:
    """What has been seen of a stream so far."""

    def __init__(self) -> None:
        self._tail = b"\n"
        self.is_done = False
        self.has_error = False
        self.output_tokens = 0

    def see(self, chunk: bytes) -> None:
        seen = self._tail + chunk
        if DONE in seen and _DONE.search(seen):
            self.is_done = True
        if b'"error"' in seen and _ERROR.search(seen):
            self.has_error = True
        if b'"completion_tokens"' in seen:
            for tokens in _TOKENS.findall(seen):
                self.output_tokens = max(self.output_tokens, int(tokens))
        self._tail = seen[-_TAIL:]
