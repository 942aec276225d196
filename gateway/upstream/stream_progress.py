"""The progress of a stream after its first content: whether it is complete, whether it has failed, and its usage.

Events are searched for marks as bytes, many at a time; only events with a mark are parsed.
"""

import re

from gateway.json.lenient import NOT_DECODED, read
from gateway.request.calls import Kind
from gateway.upstream.made_state import made_by_message, made_by_response
from gateway.upstream.sse import DONE, EVENT_END, events, parsed, split
from gateway.upstream.stream_content import ENDED_IN_ERROR, error_in_event, event_type
from gateway.upstream.stream_usage import StreamUsage
from gateway.upstream.upstream_errors import UpstreamError
from shared_state.records import TokenCounts

_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_MESSAGE_DONE = re.compile(rb"message_stop|message_delta")
_RESPONSE_DONE = re.compile(rb"response\.(?:completed|incomplete|failed|cancelled)")
_ERROR_NAME = re.compile(rb"(?:^|[\r\n])event:\s*error")
_NULL_CHOICES = re.compile(rb'"choices"\s*:\s*null')
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d{1,9})')
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


def _may_fail(data: bytes) -> bool:
    """Returns whether one of these marks, which every error has, is present. Text cannot hold them: its quotes would be
    escaped.
    """
    if b'"error' in data or b"error:" in data or b'"detail"' in data or b"response.failed" in data:
        return True
    return b"event:" in data and _ERROR_NAME.search(data) is not None


class Progress:
    """The state of a stream so far. ``choices``: the number of answers requested; ``is_translated``: the client gets
    another dialect, so no error in the stream itself.
    """

    def __init__(self, wire: Kind, choices: int = 1, *, is_translated: bool = False) -> None:
        self._wire = wire
        self._choices = choices
        self._is_translated = is_translated
        self._finished: set[int] = set()
        self._usage = StreamUsage(wire)
        self._last = b""
        self._is_within = False
        self.is_done = False  # its terminator has arrived
        self.has_finished = False  # the answer is complete, so the body may end here
        self.error: UpstreamError | None = None  # with which the provider ended it
        self.has_error = False  # and the client cannot read it in the stream itself
        self.made: tuple[str, ...] = ()  # the ids of what the provider keeps, as the end names them

    def tokens(self) -> TokenCounts:
        """Returns the tokens as the provider counted them so far."""
        return self._usage.tokens()

    def cache_share(self, counts: TokenCounts) -> float:
        """Returns the share of the prompt that the provider read from its cache, -1 where it did not report it."""
        return self._usage.cache_share(counts)

    @property
    def sequence_number(self) -> int:
        """The sequence number of a response's last event, -1 without one."""
        numbers = _SEQUENCE.findall(self._last)
        return int(numbers[-1]) if numbers else -1

    @property
    def terminator(self) -> bytes:
        """The event that ends a complete stream of this dialect, for streams whose provider left it out."""
        match self._wire:
            case Kind.MESSAGE:
                return b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
            case Kind.RESPONSE:
                return b""
            case _:
                return b"data: [DONE]\n\n"

    def skip(self) -> None:
        """Notes that a part of an event too long to hold was passed on: the next bytes belong to the same event."""
        self._is_within = True

    def see(self, data: bytes) -> bytes:
        """Takes whole events and returns those for the client: all before an error, none after the terminator."""
        if self.is_done or self.has_error:
            return b""
        if self._is_within:
            end = EVENT_END.search(data)
            if end is None:
                return data
            self._is_within = False
            return data[: end.end()] + self.see(data[end.end() :])
        if self._wire is Kind.MESSAGE:
            return self._see_each(data) if _MESSAGE_DONE.search(data) or _may_fail(data) else self._counted(data)
        if self._wire is Kind.RESPONSE:
            self._last = data or self._last
            return self._see_each(data) if _RESPONSE_DONE.search(data) or _may_fail(data) else data
        if b"[DONE]" in data or _FINISH.search(data) or _may_fail(data):
            return self._see_each(data)
        return self._counted(data)

    def _counted(self, data: bytes) -> bytes:
        if b'_tokens"' in data:
            for _, event in events(data):
                if b'_tokens"' in event:
                    self._usage.see(event)
        if self._wire is not Kind.MESSAGE and b"null" in data and _NULL_CHOICES.search(data):
            return _NULL_CHOICES.sub(b'"choices":[]', data)
        return data

    def _see_each(self, data: bytes) -> bytes:
        """Reads event by event, up to the event that ends the stream."""
        kept = []
        for event in split(data):
            named_data = parsed(event)
            if named_data is not None:
                self._see_event(*named_data)
            if self.has_error:
                break
            kept.append(self._counted(event))
            if self.is_done:
                break
        return b"".join(kept)

    def _see_event(self, name: str, data: bytes) -> None:
        if data.strip() == DONE:
            # Some servers send it after `message_stop`; without that event it ends nothing.
            self.is_done = self._wire not in (Kind.MESSAGE, Kind.RESPONSE)
            return
        try:
            value = read(data)
        except NOT_DECODED:
            return
        kind = event_type(name, value)
        error = error_in_event(self._wire, name, value)
        if error is not None:
            self.error = error
            # The client reads the dialect's own end; any other error is rendered anew.
            is_own_end = self._wire is Kind.RESPONSE and kind == "response.failed"
            self.is_done = is_own_end and not self._is_translated
            self.has_error = not self.is_done
        elif isinstance(value, dict):
            self._see_end(kind, value)

    def _see_end(self, kind: str, value: dict[str, object]) -> None:
        match self._wire:
            case Kind.MESSAGE:
                delta = value.get("delta")
                is_end = kind == "message_delta" and isinstance(delta, dict) and bool(delta.get("stop_reason"))
                self.has_finished = self.has_finished or is_end
                self.made = made_by_message(delta) or self.made
                self.is_done = kind == "message_stop"
            case Kind.RESPONSE:
                self.is_done = kind in _RESPONSE_ENDS
                self.made = made_by_response(value.get("response")) if self.is_done else ()
            case _:
                choices = value.get("choices")
                for each in choices if isinstance(choices, list) else ():
                    if isinstance(each, dict) and each.get("finish_reason"):
                        if each["finish_reason"] == "error":
                            self.error = ENDED_IN_ERROR  # for the deployment; the client reads it in the chunk
                        self._finished.add(each["index"] if isinstance(each.get("index"), int) else 0)
                self.has_finished = len(self._finished) >= max(1, self._choices)
