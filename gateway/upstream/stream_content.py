"""The first content of a stream: text, reasoning, a tool call, a refusal, audio or the end.

A preamble before it commits nothing: a role-only delta, `response.created`, `message_start`, the start of an empty
block, pings, comments. The next candidate can still hide a fault in it. The judgement depends on the bytes only, not on
their packets, because events are inspected one by one.
"""

from typing import Any

from gateway.json.lenient import NOT_DECODED, read
from gateway.request.calls import Kind
from gateway.upstream.made_state import made_by_first_event
from gateway.upstream.sse import BYTE_ORDER_MARK, DONE, EVENT_END, NotEvents, begins_like_events, parsed
from gateway.upstream.upstream_errors import UpstreamError, announced_error, error_in

HOLD_MOST = 65_536  # bytes of whole events: a longer preamble is committed
EVENT_MOST = 1_048_576  # bytes: a longer event is neither a preamble nor an error
_END_MOST = 2
_BEGIN = 16  # bytes that show whether this is an event stream
_NOT_CONTENT = frozenset({"role", "name"})  # fields of a chat delta
_RESPONSE_PREAMBLE = frozenset({"response.created", "response.in_progress", "response.queued", "keepalive"})


def event_type(name: str, value: object) -> str:
    """Returns the type in the JSON, which official clients read, else the event's name."""
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) and kind else name


def error_in_event(wire: Kind, name: str, value: object) -> UpstreamError | None:
    """Returns the error that this event reports, or None."""
    kind = event_type(name, value)
    if wire is Kind.RESPONSE and kind == "response.failed":
        response = value.get("response") if isinstance(value, dict) else None
        return error_in(response) or UpstreamError()
    if name == "error" or kind == "error":
        return error_in(value) or UpstreamError()
    return announced_error(value)


ENDED_IN_ERROR = UpstreamError("The provider ended its answer with the finish reason `error`.", code="server_error")


def ended_empty_in_error(value: dict[str, Any]) -> bool:
    """Returns whether each choice of a chunk or completion has the finish reason `error` and no content."""
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices:
        return False
    return all(
        isinstance(choice, dict)
        and choice.get("finish_reason") == "error"
        and not _choice_content({**choice, "finish_reason": None})
        for choice in choices
    )


def has_content(wire: Kind, name: str, value: dict[str, Any]) -> bool:
    """Returns whether this event holds text, reasoning, a tool call, a refusal, audio or the end of the answer."""
    match wire:
        case Kind.MESSAGE:
            return _message_content(event_type(name, value), value)
        case Kind.RESPONSE:
            return _response_content(event_type(name, value), value)
        case _:
            choices = value.get("choices")
            return any(_choice_content(each) for each in choices or ()) if isinstance(choices, list) else False


def _choice_content(choice: object) -> bool:
    if not isinstance(choice, dict):
        return False
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta") or choice.get("message")
    if not isinstance(delta, dict):
        return False
    return any(isinstance(each, str | list | dict) and each for key, each in delta.items() if key not in _NOT_CONTENT)


def _message_content(kind: str, value: dict[str, Any]) -> bool:
    match kind:
        case "content_block_start":
            block = value.get("content_block")
            if not isinstance(block, dict):
                return False
            return block.get("type") not in ("text", "thinking") or bool(block.get("text") or block.get("thinking"))
        case "content_block_delta":
            delta = value.get("delta")
            return isinstance(delta, dict) and any(bool(each) for key, each in delta.items() if key != "type")
        case "message_delta":
            delta = value.get("delta")
            return isinstance(delta, dict) and bool(delta.get("stop_reason"))
        case _:
            return kind == "message_stop"


def _response_content(kind: str, value: dict[str, Any]) -> bool:
    if kind in _RESPONSE_PREAMBLE:
        return False
    if kind == "response.output_item.added":
        item = value.get("item")
        if not isinstance(item, dict) or item.get("type") not in ("message", "reasoning"):
            return True
        return bool(item.get("content") or item.get("summary") or item.get("encrypted_content"))
    if kind.endswith("part.added"):
        part = value.get("part")
        return isinstance(part, dict) and bool(part.get("text") or part.get("refusal"))
    if kind.endswith(".delta"):
        return bool(value.get("delta"))
    return True


class Preamble:
    """Reads a stream's bytes until its first content."""

    def __init__(self, wire: Kind) -> None:
        self._wire = wire
        self._start = self._searched = 0
        self._has_begun = self._has_data = False
        self.body = bytearray()  # all bytes so far
        self.error: UpstreamError | None = None  # in place of content
        self.is_documented_end = False  # the error is an end that the dialect documents (`response.failed`)
        self.made: tuple[str, ...] = ()  # the ids of what the provider keeps, as its first event has them

    def feed(self, chunk: bytes) -> bool:
        """Returns whether the preamble is over: by content, by an error, or because it is too long to hold. Raises
        NotEvents.
        """
        self.body += chunk
        if not self._has_begun:
            begin = bytes(self.body[:_BEGIN])
            if BYTE_ORDER_MARK.startswith(begin):
                return False
            if not begins_like_events(begin):
                raise NotEvents("the body is not an event stream")
            self._has_begun = len(begin) == _BEGIN
            if begin.startswith(BYTE_ORDER_MARK):
                self._start = max(self._start, len(BYTE_ORDER_MARK))
        while (mark := EVENT_END.search(self.body, max(self._start, self._searched - _END_MOST))) is not None:
            event = bytes(self.body[self._start : mark.start()])
            self._start = self._searched = mark.end()
            if len(event) > EVENT_MOST or self._is_over(event) or self._start > HOLD_MOST:
                return True
        self._searched = len(self.body)
        return len(self.body) - self._start > EVENT_MOST

    def end(self) -> bool:
        """Returns, at the end of the body, whether an event without its blank line has ended the preamble."""
        return self._is_over(bytes(self.body[self._start :]))

    def _is_over(self, event: bytes) -> bool:
        named_data = parsed(event)
        if named_data is None:
            return False
        name, data = named_data
        if data.strip() == DONE:
            if not self._has_data:
                raise NotEvents("the stream ended before it began")
            return True
        try:
            value = read(data)
        except NOT_DECODED as error:
            if self._has_data:
                return False
            raise NotEvents("the first event is not JSON") from error
        if not isinstance(value, dict):
            if self._has_data:
                return False
            raise NotEvents("the first event is not an object")
        if not self._has_data and self._wire in (Kind.RESPONSE, Kind.MESSAGE):
            self.made = made_by_first_event(value)
        self._has_data = True
        self.error = error_in_event(self._wire, name, value)
        if self._wire in (Kind.CHAT, Kind.COMPLETION) and ended_empty_in_error(value):
            self.error = self.error or ENDED_IN_ERROR
        if self.error is not None:
            self.is_documented_end = self._wire is Kind.RESPONSE and event_type(name, value) == "response.failed"
            return True
        return has_content(self._wire, name, value)
