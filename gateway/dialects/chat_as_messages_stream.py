"""The events of a messages stream become chat completion chunks, one event at a time.

A chunk is a fixed frame around its delta: only the delta is encoded, for this runs once per piece of text.
"""

import time
from typing import Any

import msgspec

from gateway.dialects.chat_as_messages_reply import (
    Block,
    StopDetails,
    Usage,
    arguments_of,
    call_of,
    chat_usage,
    decoded,
    explanation,
    finish_reason,
    text_of,
)
from gateway.dialects.malformed import Malformed

DONE = b"data: [DONE]\n\n"


class Event(msgspec.Struct, frozen=True):
    type: str


class StartedMessage(msgspec.Struct, frozen=True):
    id: str
    model: str
    usage: Usage | None = None


class MessageStart(msgspec.Struct, frozen=True):
    message: StartedMessage


class BlockStart(msgspec.Struct, frozen=True):
    index: int
    content_block: Block


class Delta(msgspec.Struct, frozen=True):
    """A delta of any type, of which text_delta and input_json_delta are looked into."""

    type: str
    text: str | None = None
    partial_json: str | None = None


class BlockDelta(msgspec.Struct, frozen=True):
    index: int
    delta: Delta


class BlockStop(msgspec.Struct, frozen=True):
    index: int


class Stop(msgspec.Struct, frozen=True):
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class MessageDelta(msgspec.Struct, frozen=True):
    delta: Stop
    usage: Usage | None = None


class OpenCall(msgspec.Struct):
    """A use of a tool whose block has not stopped. ``index`` is its place among the calls."""

    index: int
    input_at_start: str
    has_arguments: bool = False


_event = msgspec.json.Decoder(Event)
_message_start = msgspec.json.Decoder(MessageStart)
_block_start = msgspec.json.Decoder(BlockStart)
_block_delta = msgspec.json.Decoder(BlockDelta)
_block_stop = msgspec.json.Decoder(BlockStop)
_message_delta = msgspec.json.Decoder(MessageDelta)
_encode = msgspec.json.Encoder().encode


class Stream:
    def __init__(self, include_usage: bool = True) -> None:
        self._include_usage = include_usage
        self._start = b""  # of every chunk, once the message has begun
        self._end = b"}]" + (b',"usage":null' if include_usage else b"") + b"}\n\n"
        self._usage = Usage()
        self._blocks: dict[int, OpenCall | None] = {}  # those that have not stopped; None for what is no call
        self._calls = 0
        self._has_finished = False
        self._is_done = False

    def feed(self, event: str, data: bytes) -> bytes:
        """Raises Malformed."""
        match event or decoded(_event, data).type:
            case "content_block_delta":
                return self._block_delta(decoded(_block_delta, data))
            case "message_start":
                return self._message_start(decoded(_message_start, data).message)
            case "content_block_start":
                return self._block_start(decoded(_block_start, data))
            case "content_block_stop":
                return self._block_stop(decoded(_block_stop, data))
            case "message_delta":
                return self._message_delta(decoded(_message_delta, data))
            case "message_stop":
                return self._message_stop()
        return b""  # a ping, or of a type that came after this was written

    def _message_start(self, message: StartedMessage) -> bytes:
        if self._start:
            raise Malformed("a second message in one stream")
        self._start = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            _encode(message.id),
            int(time.time()),
            _encode(message.model),
        )
        self._usage = message.usage or Usage()
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}')

    def _block_start(self, event: BlockStart) -> bytes:
        block = event.content_block
        if block.type != "tool_use":
            self._blocks[event.index] = None
            return self._text(text_of(block)) if block.type == "text" else b""
        first = call_of(block, "")
        call = self._blocks[event.index] = OpenCall(self._calls, arguments_of(block))
        self._calls += 1
        function = {"name": first.function.name, "arguments": ""}
        return self._call({"index": call.index, "id": first.id, "type": "function", "function": function})

    def _block_delta(self, event: BlockDelta) -> bytes:
        delta = event.delta
        if event.index not in self._blocks:
            raise Malformed("a delta of a block that has not started")
        if delta.type == "text_delta":
            if delta.text is None:
                raise Malformed("a text_delta without text")
            return self._text(delta.text)
        call = self._blocks[event.index]
        if delta.type != "input_json_delta" or call is None:
            return b""
        if delta.partial_json is None:
            raise Malformed("an input_json_delta without partial_json")
        return self._arguments(call, delta.partial_json)

    def _block_stop(self, event: BlockStop) -> bytes:
        """A tool without parameters may have shown no input at all: clients want their JSON none the less."""
        return self._ended(self._blocks.pop(event.index, None))

    def _message_delta(self, event: MessageDelta) -> bytes:
        self._usage = _later(self._usage, event.usage or Usage())
        reason, refusal = event.delta.stop_reason, explanation(event.delta.stop_details)
        if reason is None or self._has_finished:
            return b""
        return (self._chunk(_encode({"refusal": refusal})) if refusal else b"") + self._finish(reason)

    def _message_stop(self) -> bytes:
        finish = b"" if self._has_finished else self._finish(None)
        if self._is_done:
            raise Malformed("a second end of the message")
        self._is_done = True
        if not self._include_usage:
            return finish + DONE
        return finish + self._start + b'],"usage":%b}\n\n' % _encode(chat_usage(self._usage)) + DONE

    def _ended(self, call: OpenCall | None) -> bytes:
        return self._arguments(call, call.input_at_start) if call and not call.has_arguments else b""

    def _text(self, text: str) -> bytes:
        return self._chunk(_encode({"content": text})) if text else b""

    def _arguments(self, call: OpenCall, piece: str) -> bytes:
        if not piece:
            return b""
        call.has_arguments = True
        return self._call({"index": call.index, "function": {"arguments": piece}})

    def _call(self, piece: dict[str, object]) -> bytes:
        return self._chunk(_encode({"tool_calls": [piece]}))

    def _finish(self, stop_reason: str | None) -> bytes:
        """Blocks that were never said to stop end here."""
        self._has_finished = True
        ended = [self._ended(call) for call in self._blocks.values()]
        return b"".join(ended) + self._chunk(b"{}", _encode(finish_reason(stop_reason)))

    def _chunk(self, delta: bytes, reason: bytes = b"null") -> bytes:
        if not self._start or self._is_done:
            raise Malformed("an event outside of the message")
        choice = b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b' % (delta, reason)
        return self._start + choice + self._end


def _later(before: Usage, after: Usage) -> Usage:
    """Counts are cumulative: what the later event says holds, and what it leaves out stays."""

    def latest(name: str) -> Any:
        count = getattr(after, name)
        return getattr(before, name) if count is None else count

    return Usage(*[latest(name) for name in Usage.__struct_fields__])
