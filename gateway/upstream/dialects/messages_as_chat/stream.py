"""Translates the chunks of a streamed chat completion to the events of a streamed Anthropic message.

Chunks hold only new content; events assign it to blocks, one for each stretch of text and each call. The stop reason
and the usage come last, whenever they arrived.
"""

import msgspec

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_chunks import (
    DONE,
    NO_FUNCTION,
    Calls,
    ChatUsage,
    Chunk,
    Delta,
    chunk_of,
    first_choice,
)
from gateway.upstream.dialects.chat_order import Block, Order
from gateway.upstream.dialects.messages_as_chat.events import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Ending,
    Event,
    InputDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    written,
)
from gateway.upstream.dialects.messages_as_chat.reply import (
    ENDED_IN_ERROR,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
    UseIds,
    message_id,
    stop_details,
    stop_reason,
    usage,
)
from gateway.upstream.dialects.origin import UNKNOWN, Origin
from gateway.upstream.dialects.thoughts import Source
from gateway.upstream.dialects.tool_input import is_object, tool_input

_EXPLANATION_MOST = 8192  # characters of a refusal that are sent again at the end


class _Blocks:
    """Makes the events of blocks. The input of a call whose arguments are not an object is made from all of them at the
    end.
    """

    def __init__(self, origin: Origin) -> None:
        self._begun = 0
        self._use_ids = UseIds(origin)

    def begin(self, block: Block) -> list[Event]:
        self._begun += 1
        return [BlockStart(self._begun - 1, self._started(block))]

    def grow(self, block: Block, piece: str) -> list[Event]:
        return [] if _is_odd(block) else [self._delta(block, piece)]

    def end(self, block: Block) -> list[Event]:
        events: list[Event] = [self._delta(block, _input(block))] if _is_odd(block) else []
        if block.signature and not block.is_call:
            events.append(BlockDelta(self._begun - 1, SignatureDelta(block.signature)))
        return [*events, BlockStop(self._begun - 1)]

    def _started(self, block: Block) -> TextBlock | ThinkingBlock | ToolUseBlock:
        if block.is_call:
            name = self._use_ids.origin.tool_name(block.name or "")
            return ToolUseBlock(self._use_ids.made(block.id, block.signature), name, {})
        return ThinkingBlock("", "") if block.signature else TextBlock("")

    def _delta(self, block: Block, piece: str) -> BlockDelta:
        index = self._begun - 1
        if block.is_call:
            return BlockDelta(index, InputDelta(piece))
        return BlockDelta(index, ThinkingDelta(piece) if block.signature else TextDelta(piece))


def _is_odd(block: Block) -> bool:
    return block.is_call and bool(block.pieces) and not is_object(block.pieces[0])


def _input(block: Block) -> str:
    return msgspec.json.encode(tool_input("".join(block.pieces))).decode()


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
        self._order: Order[Event] = Order(_Blocks(origin))
        self._calls = Calls()

    def feed(self, event: str, data: bytes) -> bytes:  # noqa: ARG002
        """Returns whole events for the client, if any; `[DONE]` gives the last ones. Raises Malformed."""
        if self._has_ended or not data.strip():
            return b""
        if data.startswith(DONE):
            return written(self._last_events())
        return written(self._events(chunk_of(data)))

    def _events(self, chunk: Chunk) -> list[Event]:
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

    def _grown(self, delta: Delta) -> list[Event]:
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
            block = self._calls.block_of(piece, self._order)
            events += self._order.grow(block, (piece.function or NO_FUNCTION).arguments or "")
        return events

    def _last_events(self) -> list[Event]:
        if not self._has_begun:
            raise Malformed("the stream ended before it began")
        if self._finish_reason == "error":
            raise Malformed(ENDED_IN_ERROR)
        self._has_ended = True
        reason = stop_reason(self._finish_reason, has_refused=self._has_refused, has_calls=bool(self._calls))
        ending = Ending(reason, stop_details=stop_details(self._explanation))
        return [*self._order.end(), MessageDelta(ending, usage(self._usage)), MessageStop()]
