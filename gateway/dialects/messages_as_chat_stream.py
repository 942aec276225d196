"""The chunks of a streamed chat completion as the events of a streamed Anthropic message.

Chunks say only what is new; events say where it belongs: each stretch of text and each call is a block that begins,
grows and ends before the next one begins. How the message ended and what it cost come last, whenever they were told.
"""

import msgspec

from gateway.dialects.malformed import Malformed
from gateway.dialects.messages_as_chat_reply import (
    NOT_OF_THE_DIALECT,
    ChatUsage,
    Message,
    TextBlock,
    ToolUseBlock,
    Usage,
    is_input,
    message_id,
    stop_reason,
    tool_use_id,
    usage,
)

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
    choices: list[_Choice]
    error: object = None
    id: str | None = None
    model: str | None = None
    usage: ChatUsage | None = None


class _MessageStart(msgspec.Struct, frozen=True, tag="message_start"):
    message: Message


class _BlockStart(msgspec.Struct, frozen=True, tag="content_block_start"):
    index: int
    content_block: TextBlock | ToolUseBlock


class _TextDelta(msgspec.Struct, frozen=True, tag="text_delta"):
    text: str


class _InputDelta(msgspec.Struct, frozen=True, tag="input_json_delta"):
    partial_json: str


class _BlockDelta(msgspec.Struct, frozen=True, tag="content_block_delta"):
    index: int
    delta: _TextDelta | _InputDelta


class _BlockStop(msgspec.Struct, frozen=True, tag="content_block_stop"):
    index: int


class _Ending(msgspec.Struct, frozen=True):
    stop_reason: str
    stop_sequence: None = None


class _MessageDelta(msgspec.Struct, frozen=True, tag="message_delta"):
    delta: _Ending
    usage: Usage


class _MessageStop(msgspec.Struct, frozen=True, tag="message_stop"):
    pass


_Event = _MessageStart | _BlockStart | _BlockDelta | _BlockStop | _MessageDelta | _MessageStop

_HEADS = {
    kind: f"event: {kind.__struct_config__.tag}\ndata: ".encode()
    for kind in (_MessageStart, _BlockStart, _BlockDelta, _BlockStop, _MessageDelta, _MessageStop)
}
_NO_FUNCTION = _Function()
_chunk = msgspec.json.Decoder(_Chunk)
_encoder = msgspec.json.Encoder()


class Stream:
    """One answer. ``include_usage`` is for other dialects: here every message ends with its usage."""

    def __init__(self, include_usage: bool = True) -> None:  # noqa: ARG002
        self._has_begun = False
        self._has_ended = False
        self._has_refused = False
        self._finish_reason: str | None = None
        self._usage: ChatUsage | None = None
        self._open: str | None = None  # what the open block holds: "content", "refusal" or the key of a call
        self._call_keys: set[str] = set()
        self._key_of_index: dict[int, str] = {}
        self._open_id: str | None = None
        self._open_input: list[str] = []
        self._block_count = 0

    def feed(self, event: str, data: bytes) -> bytes:  # noqa: ARG002
        """Whole events for the client, if any; `[DONE]` brings the last ones. Raises Malformed."""
        if self._has_ended:
            return b""
        try:
            events = self._last_events() if data == _DONE else self._events(_chunk.decode(data))
            return b"".join([_HEADS[type(told)] + _encoder.encode(told) + b"\n\n" for told in events])
        except NOT_OF_THE_DIALECT as error:
            raise Malformed(f"not a chunk of a chat completion: {error}") from error

    def _events(self, chunk: _Chunk) -> list[_Event]:
        if chunk.error:  # beside choices, as some servers tell it
            raise Malformed("the provider's stream went on with an error")
        events: list[_Event] = []
        self._usage = chunk.usage or self._usage  # some servers count in every chunk: the last one is right
        # Azure's first chunk holds neither id nor choices: the message is not known yet.
        if not self._has_begun and (chunk.choices or chunk.id):
            self._has_begun = True
            events.append(_MessageStart(Message(message_id(chunk.id), chunk.model or "", [], None, Usage())))
        for choice in chunk.choices[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
            if choice.delta:
                self._grow(choice.delta, events)
        return events

    def _grow(self, delta: _Delta, events: list[_Event]) -> None:
        if delta.content:
            self._say("content", delta.content, events)
        if delta.refusal:
            self._has_refused = True
            self._say("refusal", delta.refusal, events)
        for piece in delta.tool_calls or ():
            self._call(piece, events)

    def _say(self, kind: str, text: str, events: list[_Event]) -> None:
        if self._open != kind:
            self._begin(kind, TextBlock(""), events)
        events.append(_BlockDelta(self._block_count - 1, _TextDelta(text)))

    def _call(self, piece: _CallPiece, events: list[_Event]) -> None:
        key = self._call_key(piece)
        function = piece.function or _NO_FUNCTION
        if key != self._open:
            if key in self._call_keys:
                raise Malformed("a tool call goes on after another block has begun")
            if not function.name:
                raise Malformed("a tool call begins without a name")
            self._call_keys.add(key)
            self._open_id, self._open_input = piece.id, []
            self._begin(key, ToolUseBlock(tool_use_id(piece.id), function.name, {}), events)
        if function.arguments:
            self._open_input.append(function.arguments)
            events.append(_BlockDelta(self._block_count - 1, _InputDelta(function.arguments)))

    def _call_key(self, piece: _CallPiece) -> str:
        """The index, whatever the id says: some servers make a new id for each piece. Others give no index; then the
        id tells calls apart, or that a name is given anew.
        """
        if piece.index is not None:
            key = self._key_of_index.setdefault(piece.index, f"index {piece.index}")
            if key == self._open and self._is_another(piece):
                key = self._key_of_index[piece.index] = f"index {piece.index} id {piece.id}"
            return key
        if piece.id:
            return f"id {piece.id}"
        if self._open in self._call_keys and not (piece.function and piece.function.name):
            return str(self._open)
        return f"call {len(self._call_keys)}"

    def _is_another(self, piece: _CallPiece) -> bool:
        """Some servers give all calls the same index: with a new id, a name, and the call before it complete."""
        has_begun = piece.id and piece.id != self._open_id and piece.function and piece.function.name
        return bool(has_begun) and is_input("".join(self._open_input))

    def _begin(self, kind: str, block: TextBlock | ToolUseBlock, events: list[_Event]) -> None:
        self._close(events)
        self._open = kind
        events.append(_BlockStart(self._block_count, block))
        self._block_count += 1

    def _close(self, events: list[_Event]) -> None:
        if self._open is not None:
            events.append(_BlockStop(self._block_count - 1))
            self._open = None

    def _last_events(self) -> list[_Event]:
        if not self._has_begun:
            raise Malformed("the stream ended before it began")
        self._has_ended = True
        events: list[_Event] = []
        self._close(events)
        reason = stop_reason(self._finish_reason, has_refused=self._has_refused, has_calls=bool(self._call_keys))
        events.append(_MessageDelta(_Ending(reason), usage(self._usage)))
        events.append(_MessageStop())
        return events
