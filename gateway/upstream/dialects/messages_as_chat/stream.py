"""Translates the chunks of a streamed chat completion to the events of a streamed Anthropic message.

Chunks hold only new content; events assign it to blocks, one for each stretch of text and each call. The stop reason
and the usage come last, whenever they arrived.
"""

import msgspec

from gateway.json.lenient import decoded
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_imitators import as_chat_chunk
from gateway.upstream.dialects.messages_as_chat.events import (
    Ending,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    written,
)
from gateway.upstream.dialects.messages_as_chat.order import Block, Order
from gateway.upstream.dialects.messages_as_chat.reply import (
    ENDED_IN_ERROR,
    ChatUsage,
    Message,
    Usage,
    message_id,
    stop_reason,
    usage,
)
from gateway.upstream.upstream_errors import is_blank

_DONE = b"[DONE]"


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _CallPiece(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallPiece] | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[_Choice] | None = None
    error: object = None
    id: str | None = None
    model: str | None = None
    usage: ChatUsage | None = None


_NO_FUNCTION = _Function()
_chunk = msgspec.json.Decoder(_Chunk)


class Stream:
    """The translation of one stream. ``include_usage`` is for other dialects: a message always ends with its usage."""

    def __init__(self, include_usage: bool = True) -> None:  # noqa: ARG002
        self._has_begun = False
        self._has_ended = False
        self._has_refused = False
        self._finish_reason: str | None = None
        self._usage: ChatUsage | None = None
        self._order = Order()
        self._calls: dict[str, Block] = {}
        self._latest: Block | None = None
        self._key_of_index: dict[int, str] = {}

    def feed(self, event: str, data: bytes) -> bytes:  # noqa: ARG002
        """Returns whole events for the client, if any; `[DONE]` gives the last ones. Raises Malformed."""
        if self._has_ended or not data.strip():
            return b""
        if data.startswith(_DONE):
            return written(self._last_events())
        return written(self._events(decoded(_chunk, data, as_chat_chunk)))

    def _events(self, chunk: _Chunk) -> list[Event]:
        if not is_blank(chunk.error):  # next to choices, as some servers send it
            raise Malformed("the provider's stream continued with an error")
        events: list[Event] = []
        self._usage = chunk.usage or self._usage  # some servers count in every chunk: the last count is right
        # Azure's first chunk has neither id nor choices: it does not begin the message.
        if not self._has_begun and (chunk.choices or chunk.id):
            self._has_begun = True
            events.append(MessageStart(Message(message_id(chunk.id), chunk.model or "", [], None, Usage())))
        for choice in (chunk.choices or ())[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
            if choice.delta:
                events += self._grown(choice.delta)
        return events

    def _grown(self, delta: _Delta) -> list[Event]:
        events: list[Event] = []
        if delta.content:
            events += self._order.add_text("content", delta.content)
        if delta.refusal:
            self._has_refused = True
            events += self._order.add_text("refusal", delta.refusal)
        for piece in delta.tool_calls or ():
            events += self._called(piece, piece.function or _NO_FUNCTION)
        return events

    def _called(self, piece: _CallPiece, function: _Function) -> list[Event]:
        key = self._call_key(piece, function)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = self._order.add(Block(key, is_call=True))
        call.id, call.name = call.id or piece.id, call.name or function.name
        self._latest = call
        return self._order.grow(call, function.arguments or "")

    def _call_key(self, piece: _CallPiece, function: _Function) -> str:
        """Returns the key of a call: its index, whatever its id, because some servers make a new id for each piece.
        Others send no index, or only now and then; there the id distinguishes calls, or a repeated name.
        """
        latest = self._latest
        if piece.index is not None:
            continues = latest and not (piece.id or function.name or latest.key in self._key_of_index.values())
            key_at_first = latest.key if latest and continues else f"index {piece.index}"
            key = self._key_of_index.setdefault(piece.index, key_at_first)
            if key in self._calls and _is_another(piece, function, self._calls[key]):
                key = self._key_of_index[piece.index] = f"index {piece.index} id {piece.id}"
            return key
        if piece.id:
            return f"id {piece.id}"
        return latest.key if latest and not function.name else f"call {len(self._calls)}"

    def _last_events(self) -> list[Event]:
        if not self._has_begun:
            raise Malformed("the stream ended before it began")
        if self._finish_reason == "error":
            raise Malformed(ENDED_IN_ERROR)
        self._has_ended = True
        reason = stop_reason(self._finish_reason, has_refused=self._has_refused, has_calls=bool(self._calls))
        return [*self._order.end(), MessageDelta(Ending(reason), usage(self._usage)), MessageStop()]


def _is_another(piece: _CallPiece, function: _Function, call: Block) -> bool:
    """Returns whether a piece begins another call under the same index: it has a new id and a name, and the call before
    it is complete.
    """
    return bool(piece.id and piece.id != call.id and function.name) and call.is_complete()
