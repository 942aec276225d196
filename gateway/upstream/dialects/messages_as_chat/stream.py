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
    AnswerText,
    ChatUsage,
    ExtraContent,
    Message,
    Numbered,
    Usage,
    first_choice,
    message_id,
    stop_details,
    stop_reason,
    usage,
)
from gateway.upstream.dialects.origin import UNKNOWN, Origin
from gateway.upstream.dialects.thoughts import Source
from gateway.upstream.upstream_errors import is_blank

_DONE = b"[DONE]"
_EXPLANATION_MOST = 8192  # characters of a refusal that are sent again at the end


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _CallPiece(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: ExtraContent | None = None


class _Delta(AnswerText, frozen=True, kw_only=True):
    tool_calls: list[_CallPiece] | None = None


class _Choice(Numbered, frozen=True, kw_only=True):
    delta: _Delta | None = None


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

    def __init__(self, include_usage: bool = True, origin: Origin = UNKNOWN) -> None:  # noqa: ARG002
        self._origin = origin
        self._has_begun = False
        self._has_ended = False
        self._has_refused = False
        self._explanation = ""
        self._finish_reason: str | None = None
        self._usage: ChatUsage | None = None
        self._order = Order(origin)
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
            model = chunk.model or self._origin.model
            events.append(MessageStart(Message(message_id(chunk.id), model, [], None, Usage())))
        choice = first_choice(chunk.choices or ())
        if choice is not None:
            self._finish_reason = choice.finish_reason or self._finish_reason
            if choice.delta:
                events += self._grown(choice.delta)
        return events

    def _grown(self, delta: _Delta) -> list[Event]:
        events: list[Event] = []
        thought = delta.thought()
        if thought:
            events += self._order.add_text("thought", thought[1], Source(self._origin.family, thought[0]).signature)
        if delta.content:
            events += self._order.add_text("content", delta.content)
        if delta.refusal:
            self._has_refused = True
            self._explanation = (self._explanation + delta.refusal)[:_EXPLANATION_MOST]
            events += self._order.add_text("refusal", delta.refusal)
        for piece in delta.tool_calls or ():
            events += self._called(piece, piece.function or _NO_FUNCTION)
        return events

    def _called(self, piece: _CallPiece, function: _Function) -> list[Event]:
        before = self._latest
        key = self._call_key(piece, function)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = self._order.add(Block(key, is_call=True))
            if before is not None and before.has_new_name and not (piece.id or function.name):
                call.name = before.name
        call.id, call.name = call.id or piece.id, call.name or function.name
        if piece.extra_content is not None:
            call.signature = call.signature or piece.extra_content.thought_signature
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
                key = self._key_of_index[piece.index] = f"index {piece.index} call {len(self._calls)}"
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
        ending = Ending(reason, stop_details=stop_details(self._explanation))
        return [*self._order.end(), MessageDelta(ending, usage(self._usage)), MessageStop()]


def _is_another(piece: _CallPiece, function: _Function, call: Block) -> bool:
    """Returns whether a piece begins another call under the same index, after the call before it is complete: with a
    name and a new id, or with a name alone where the server sends no ids. There a repeated name is another call only
    once it has arguments, for some servers repeat the name in each piece.
    """
    if piece.id:
        return bool(piece.id != call.id and function.name) and call.is_complete()
    has_arguments = bool(function.arguments and not function.arguments.isspace())
    if not function.name:
        return has_arguments and call.has_new_name
    if not call.is_complete():
        return function.name != call.name and bool(call.name) and not call.pieces
    call.has_new_name = True
    return function.name != call.name or has_arguments
