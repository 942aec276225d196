"""Translates the events of a messages stream to chat completion chunks, one event at a time.

A chunk is a fixed frame around its delta. Only the delta is encoded, because this runs once per piece of text.
"""

import time
from typing import Any

import msgspec

from gateway.json.lenient import decoded
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_as_messages.reply import (
    THOUGHTS,
    Block,
    StopDetails,
    Usage,
    arguments_of,
    call_of,
    chat_usage,
    detail_of,
    explanation,
    finish_reason,
    reply_id,
)
from gateway.upstream.dialects.messages_imitators import as_event
from gateway.upstream.dialects.origin import UNKNOWN, Origin

THOUGHT_MOST = 4 * 1_048_576  # characters of a thought that is kept for the next turn: more than any model generates
DONE = b"data: [DONE]\n\n"
_DONE_DATA = b"[DONE]"
_EVENTS = {f"message_{part}" for part in ("start", "delta", "stop")} | {
    f"content_block_{part}" for part in ("start", "delta", "stop")
}


class StartedMessage(msgspec.Struct, frozen=True):
    id: str | None = None
    model: str | None = None
    usage: Usage | None = None


class Delta(msgspec.Struct, frozen=True):
    """A delta of a block, of which those of text, thinking and input are read, or that of a message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class Event(msgspec.Struct, frozen=True):
    """An event of any type; each type has some of the fields."""

    type: str = ""
    index: int | None = None
    message: StartedMessage | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Usage | None = None


class OpenCall(msgspec.Struct):
    """A tool call whose block has not stopped."""

    index: int  # among the calls of the answer
    input_at_start: str
    has_arguments: bool = False


class OpenThought(msgspec.Struct):
    """A thinking block that has not stopped."""

    type: str
    index: int  # among the thoughts of the answer
    data: str | None
    pieces: list[str]
    signature: str = ""
    size: int = 0  # characters of the pieces and the signature
    is_over: bool = False

    def add(self, text: str | None, signature: str | None) -> None:
        """Adds a piece. A thought that is too long to be kept is shown only."""
        self.size += len(text or "") + len(signature or "")
        if self.size > THOUGHT_MOST:
            self.pieces, self.signature, self.is_over = [], "", True
        elif not self.is_over:
            self.signature += signature or ""
            self.pieces.append(text or "")


_event = msgspec.json.Decoder(Event)
_encode = msgspec.json.Encoder().encode


class Stream:
    """The translation of one stream."""

    def __init__(self, include_usage: bool = True, origin: Origin = UNKNOWN) -> None:
        self._include_usage = include_usage
        self._origin = origin
        self._start = b""  # of every chunk, once the message has begun
        self._end = b"}]" + (b',"usage":null' if include_usage else b"") + b"}\n\n"
        self._usage = Usage()
        self._blocks: dict[int, OpenCall | OpenThought | None] = {}  # None for a block of any other type
        self._latest = 0  # index of the block that started last
        self._calls = self._thoughts = 0
        self._has_finished = False
        self._is_done = False

    def feed(self, event: str, data: bytes) -> bytes:
        """Returns the chunks for one event. As in the official client, the type inside the data counts, not the name of
        the event, except for a ping. Raises Malformed.
        """
        if self._is_done or event == "ping" or data.startswith(_DONE_DATA):
            return b""
        read = _read(event, data)
        match read.type or event:
            case "content_block_delta":
                return self._block_delta(read.index, read.delta or Delta())
            case "message_start":
                return self._message_start(read.message or StartedMessage())
            case "content_block_start":
                return self._block_start(read.index, read.content_block or Block(""))
            case "content_block_stop":
                return self._ended(self._blocks.get(self._index(read.index)))
            case "message_delta":
                return self._message_delta(read.delta or Delta(), read.usage or Usage())
            case "message_stop":
                return self._message_stop()
            case "error":
                raise Malformed("the provider's stream continued with an error")
        return b""  # a ping, or an unknown type

    def _index(self, index: int | None) -> int:
        """Returns the index of a block: some servers send none."""
        return self._latest if index is None else index

    def _message_start(self, message: StartedMessage) -> bytes:
        """Starts the message. A second start is ignored, as in the official client."""
        if self._start:
            return b""
        self._start = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            _encode(reply_id(message.id)),
            int(time.time()),
            _encode(message.model or self._origin.model),
        )
        self._usage = message.usage or self._usage
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}')

    def _block_start(self, given: int | None, block: Block) -> bytes:
        index = self._latest = self._latest_and_one() if given is None else given
        if block.type in THOUGHTS:
            self._blocks[index] = OpenThought(block.type, self._thoughts, block.data, [], block.signature or "")
            self._thoughts += 1
            return self._thought(index, block.thinking)
        if block.type != "tool_use":
            self._blocks[index] = None
            return self._text(block.text) if block.type == "text" and block.text else b""
        first = call_of(block, "", self._origin)
        call = self._blocks[index] = OpenCall(self._calls, arguments_of(block))
        self._calls += 1
        function = {"name": first.function.name, "arguments": ""}
        return self._call({"index": call.index, "id": first.id, "type": "function", "function": function})

    def _latest_and_one(self) -> int:
        return self._latest + 1 if self._blocks else 0

    def _block_delta(self, given: int | None, delta: Delta) -> bytes:
        if delta.type == "text_delta":
            return self._text(delta.text)
        index = self._index(given)
        if delta.type in ("thinking_delta", "signature_delta"):
            return self._thought(index, delta.thinking, delta.signature)
        if delta.type != "input_json_delta":
            return b""
        if index not in self._blocks:
            raise Malformed("the input of a tool call that has not begun")
        call = self._blocks[index]
        return self._arguments(call, delta.partial_json) if isinstance(call, OpenCall) else b""

    def _thought(self, index: int, text: str | None, signature: str | None = None) -> bytes:
        thought = self._blocks.get(index)
        if isinstance(thought, OpenThought):
            thought.add(text, signature)
        return self._chunk(_encode({"reasoning_content": text})) if text else b""

    def _message_delta(self, delta: Delta, usage: Usage) -> bytes:
        self._usage = _later(self._usage, usage)
        reason, refusal = delta.stop_reason, explanation(delta.stop_details)
        if reason is None or self._has_finished:
            return b""
        return (self._chunk(_encode({"refusal": refusal})) if refusal else b"") + self._finish(reason)

    def _message_stop(self) -> bytes:
        if not self._start:
            raise Malformed("the stream ended before it began")
        finish = b"" if self._has_finished else self._finish(None)
        self._is_done = True
        if not self._include_usage:
            return finish + DONE
        return finish + self._start + b'],"usage":%b}\n\n' % _encode(chat_usage(self._usage)) + DONE

    def _ended(self, block: OpenCall | OpenThought | None) -> bytes:
        """Completes a block. A tool without parameters may have sent no input at all, but clients expect JSON. A
        thought is sent once more, with its signature, for the next turn.
        """
        if isinstance(block, OpenCall):
            return self._arguments(block, block.input_at_start) if not block.has_arguments else b""
        if block is None or block.is_over:
            return b""
        block.is_over = True
        whole = Block(block.type, thinking="".join(block.pieces), signature=block.signature, data=block.data)
        detail = detail_of(whole, block.index)
        return self._chunk(_encode({"reasoning_details": [detail]})) if detail else b""

    def _text(self, text: str | None) -> bytes:
        return self._chunk(_encode({"content": text})) if text else b""

    def _arguments(self, call: OpenCall, piece: str | None) -> bytes:
        if not piece:
            return b""
        call.has_arguments = True
        return self._call({"index": call.index, "function": {"arguments": piece}})

    def _call(self, piece: dict[str, object]) -> bytes:
        return self._chunk(_encode({"tool_calls": [piece]}))

    def _finish(self, stop_reason: str | None) -> bytes:
        """Ends the answer and the blocks that had no stop event."""
        self._has_finished = True
        ended = [self._ended(call) for call in self._blocks.values()]
        return b"".join(ended) + self._chunk(b"{}", _encode(finish_reason(stop_reason)))

    def _chunk(self, delta: bytes, reason: bytes = b"null") -> bytes:
        """Returns a chunk, after the start of the message where the server left it out."""
        began = b"" if self._start else self._message_start(StartedMessage())
        choice = b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b' % (delta, reason)
        return began + self._start + choice + self._end


def _read(event: str, data: bytes) -> Event:
    """Decodes an event. The data of an unknown event may be anything. Raises Malformed."""
    if not data.strip():
        return Event()
    try:
        return decoded(_event, data, as_event)
    except Malformed:
        if event and event not in _EVENTS:
            return Event()
        raise


def _later(before: Usage, after: Usage) -> Usage:
    """Merges cumulative counts: a later count replaces an earlier one, an absent one leaves it."""

    def latest(name: str) -> Any:
        count = getattr(after, name)
        return getattr(before, name) if count is None else count

    return Usage(*[latest(name) for name in Usage.__struct_fields__])
