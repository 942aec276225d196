"""Orders the blocks of a streamed message: a message sends them one after the other, but a provider may interleave its
calls.

The open block is sent piece by piece. Pieces of another block wait until the input of the call before it is complete or
the stream has ended: no event of a chat stream marks the end of a call.
"""

from collections import deque

import msgspec

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.messages_as_chat.events import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    InputDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from gateway.upstream.dialects.messages_as_chat.reply import TextBlock, ThinkingBlock, ToolUseBlock, UseIds
from gateway.upstream.dialects.origin import Origin
from gateway.upstream.dialects.tool_input import is_object, is_whole, tool_input

HELD_MOST = 4 * 1_048_576  # characters of the open call and all that waits for it: more than any model generates
_BLOCK_COST = 256  # characters that an empty block counts as


class Block(msgspec.Struct):
    """A stretch of text or of reasoning, or a call."""

    key: str  # distinguishes it from other blocks
    is_call: bool
    signature: str = ""  # of reasoning, and of a call that Gemini signed
    id: str | None = None  # of a call, as far as it has arrived
    name: str | None = None  # of a call, as far as it has arrived
    pieces: list[str] = []  # of text only while it waits
    is_over: bool = False
    has_new_name: bool = False  # its name came again after its arguments were complete

    def is_complete(self) -> bool:
        if self.is_over or not self.is_call:
            return True
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith("}") and is_whole("".join(self.pieces))

    def is_odd(self) -> bool:
        """Returns whether the arguments are not an object, so that the input is made from all of them at the end."""
        return self.is_call and bool(self.pieces) and not is_object(self.pieces[0])


class Order:
    """The blocks of one message. Methods return the events to send now, and raise Malformed for an invalid stream."""

    def __init__(self, origin: Origin) -> None:
        self._open: Block | None = None
        self._waiting: deque[Block] = deque()
        self._begun = 0
        self._held = 0
        self._use_ids = UseIds(origin)

    def add_text(self, key: str, text: str, signature: str = "") -> list[Event]:
        """Adds text, or reasoning with its ``signature``."""
        last = self._waiting[-1] if self._waiting else self._open
        if last is None or last.key != key:
            last = self.add(Block(key, is_call=False, signature=signature))
        return self.grow(last, text)

    def add(self, block: Block) -> Block:
        self._hold(_BLOCK_COST)
        self._waiting.append(block)
        return block

    def grow(self, block: Block, piece: str) -> list[Event]:
        """Adds a piece, which may be empty: a call begins when it has a name."""
        if block.is_call and not block.pieces and piece.isspace():
            piece = ""  # white space before the arguments
        if block.is_over:
            return []  # arguments after a complete object
        is_open = block is self._open
        if piece and (block.is_call or not is_open):
            self._hold(len(piece))
            block.pieces.append(piece)
        events: list[Event] = [self._delta(block, piece)] if piece and is_open and not block.is_odd() else []
        return events + self._advance() if self._waiting else events

    def end(self) -> list[Event]:
        """Sends the waiting blocks as they are, at the end of the stream."""
        events: list[Event] = []
        while self._waiting:
            events += self._begin(self._waiting.popleft())
        return events + self._close()

    def _advance(self) -> list[Event]:
        events: list[Event] = []
        while self._waiting and (not self._waiting[0].is_call or self._waiting[0].name):
            if self._open is not None and not self._open.is_complete():
                break
            events += self._begin(self._waiting.popleft())
        return events

    def _begin(self, block: Block) -> list[Event]:
        events = self._close()
        started = self._started(block)
        self._open = block
        self._begun += 1
        events.append(BlockStart(self._begun - 1, started))
        if block.pieces and not block.is_odd():
            events.append(self._delta(block, "".join(block.pieces)))
        return events

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

    def _close(self) -> list[Event]:
        block, self._open = self._open, None
        if block is None:
            return []
        self._held -= sum(map(len, block.pieces)) + _BLOCK_COST
        events: list[Event] = [self._delta(block, _input(block))] if block.is_odd() else []
        if block.signature and not block.is_call:
            events.append(BlockDelta(self._begun - 1, SignatureDelta(block.signature)))
        block.pieces, block.is_over = [], True
        return [*events, BlockStop(self._begun - 1)]

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > HELD_MOST:
            raise Malformed("too much of an answer with interleaved calls")


def _input(block: Block) -> str:
    return msgspec.json.encode(tool_input("".join(block.pieces))).decode()
